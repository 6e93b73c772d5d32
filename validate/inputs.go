package validate

import (
	"bytes"

	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/types"
)

// Limits of what an epoch's result is made from.
const (
	MaxLogs       = 1 << 16 // accounts with logs
	MaxStatements = 1 << 16
	MaxAbsent     = 1 << 10 // datasets whose index nobody gives
	MaxInputs     = 8 << 20 // bytes
	inputsVersion = 1
)

// Used is a log that was read: whose, and the root that it committed.
type Used struct {
	Account types.Account
	Root    types.Hash
}

// Inputs names everything that an epoch's result follows from, besides the
// state: who has the chain and these logs gets the same bytes. A kind 12 carries
// its Root.
type Inputs struct {
	Epoch      types.Epoch
	Height     types.Height // of the block whose state counts, after the bundles were due
	Block      cid.Cid      // its name
	Logs       []Used       // committed logs that were available (ST3), ascending by account
	Statements []Statement  // on service (H5), ascending by host, validator
	Absent     []types.Hash // datasets that give no lines, as their index cannot be had, ascending
}

// Root is what validators sign of the inputs.
func (in *Inputs) Root() types.Hash { return types.H("staddle/settle/input/1", types.Marshal(in)) }

// EncodeTo appends [version, epoch, height, block, [[account, root], ...],
// [statement, ...], [dataset, ...]].
func (in *Inputs) EncodeTo(e *types.Encoder) {
	e.Array(7)
	e.Uint(inputsVersion)
	e.Uint(uint64(in.Epoch))
	e.Uint(uint64(in.Height))
	e.Link(in.Block)
	encodeUsed(e, in.Logs)
	encodeStatements(e, in.Statements)
	encodeHashes(e, in.Absent)
}

// DecodeFrom reads the tuple and refuses lists out of order.
func (in *Inputs) DecodeFrom(d *types.Decoder) {
	d.Tuple(7)
	if v := d.Uint(); d.Err() == nil && v != inputsVersion {
		d.Fail("inputs of version %d, want %d", v, inputsVersion)
	}
	in.Epoch, in.Height, in.Block = d.Epoch(), d.Height(), d.Link()
	if d.Err() == nil && !in.Block.Defined() {
		d.Fail("inputs without a block")
	}
	in.Logs = decodeUsed(d)
	in.Statements = decodeStatements(d)
	for i := range in.Statements {
		if in.Statements[i].Epoch != in.Epoch {
			d.Fail("statement %d is of epoch %d, want %d", i, in.Statements[i].Epoch, in.Epoch)
		}
	}
	in.Absent = decodeAscending(d, MaxAbsent)
}

func encodeUsed(e *types.Encoder, list []Used) {
	e.Array(len(list))
	for i := range list {
		e.Array(2)
		e.Bytes(list[i].Account[:])
		e.Bytes(list[i].Root[:])
	}
}

func decodeUsed(d *types.Decoder) []Used {
	var list []Used
	for i := range d.Array(MaxLogs) {
		d.Tuple(2)
		list = append(list, Used{d.Account(), d.Hash()})
		if d.Err() != nil {
			return nil
		}
		if i > 0 && bytes.Compare(list[i-1].Account[:], list[i].Account[:]) >= 0 {
			d.Fail("log %d does not ascend", i)
		}
	}
	return list
}

func encodeStatements(e *types.Encoder, list []Statement) {
	e.Array(len(list))
	for i := range list {
		list[i].EncodeTo(e)
	}
}

func decodeStatements(d *types.Decoder) []Statement {
	var list []Statement
	for i := range d.Array(MaxStatements) {
		var s Statement
		s.DecodeFrom(d)
		if d.Err() != nil {
			return nil
		}
		if i > 0 && compareStatements(list[i-1], s) >= 0 {
			d.Fail("statement %d does not ascend", i)
		}
		list = append(list, s)
	}
	return list
}

// Proposal is a result that somebody computed. A validator signs
// Collation.Digest of it.
type Proposal struct {
	Inputs Inputs
	Result cid.Cid
	Rows   uint32
}

// Collation is the body of the kind 12, without signers.
func (p *Proposal) Collation() *types.Collation {
	return &types.Collation{Epoch: p.Inputs.Epoch, Input: p.Inputs.Root(), Result: p.Result, Rows: p.Rows}
}

// EncodeTo appends [inputs, result, rows].
func (p *Proposal) EncodeTo(e *types.Encoder) {
	e.Array(3)
	p.Inputs.EncodeTo(e)
	e.Link(p.Result)
	e.Uint(uint64(p.Rows))
}

// DecodeFrom reads the tuple.
func (p *Proposal) DecodeFrom(d *types.Decoder) {
	d.Tuple(3)
	p.Inputs.DecodeFrom(d)
	p.Result = d.Link()
	p.Rows = d.Uint32()
	if d.Err() == nil && !p.Result.Defined() {
		d.Fail("proposal without a result")
	}
}

// signedProposal is the result of an epoch that this validator signed.
type signedProposal struct {
	Proposal  Proposal
	Signature types.Signature
}

// EncodeTo appends [proposal, signature].
func (s *signedProposal) EncodeTo(e *types.Encoder) {
	e.Array(2)
	s.Proposal.EncodeTo(e)
	e.Bytes(s.Signature[:])
}

// DecodeFrom reads the tuple.
func (s *signedProposal) DecodeFrom(d *types.Decoder) {
	d.Tuple(2)
	s.Proposal.DecodeFrom(d)
	d.Fixed(s.Signature[:])
}
