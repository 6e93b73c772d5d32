package validate

import (
	"bytes"
	"slices"

	"github.com/staddle/staddle/keys"
	"github.com/staddle/staddle/lines"
	"github.com/staddle/staddle/types"
)

// Sizes of a service test (H5).
const (
	drawnPieces  = 4
	maxSmash     = 4 // chunks of a host whose SMASH is asked for in an epoch
	statementDom = "staddle/serve/statement/1"
)

// Statement is what a drawn tester says of a host's service in an epoch (H5).
type Statement struct {
	Epoch     types.Epoch
	Host      types.Account
	Validator types.Account
	Drawn     uint8        // pieces that were asked for, 1 to 4
	Came      uint8        // of these, those that came whole before the bundles were due
	Smash     []types.Hash // drawn chunks to whose SMASH the host answered wrong, ascending
	Signature types.Signature
}

// Served reports whether the host gave everything that was asked for.
func (s *Statement) Served() bool { return s.Came == s.Drawn }

func (s *Statement) encodeSigned(e *types.Encoder) {
	e.Uint(uint64(s.Epoch))
	e.Bytes(s.Host[:])
	e.Bytes(s.Validator[:])
	e.Uint(uint64(s.Drawn))
	e.Uint(uint64(s.Came))
	encodeHashes(e, s.Smash)
}

// EncodeTo appends [epoch, host, validator, drawn, came, [chunk, ...], signature].
func (s *Statement) EncodeTo(e *types.Encoder) {
	e.Array(7)
	s.encodeSigned(e)
	e.Bytes(s.Signature[:])
}

// DecodeFrom reads the tuple. It does not check the signature.
func (s *Statement) DecodeFrom(d *types.Decoder) {
	d.Tuple(7)
	s.Epoch = d.Epoch()
	s.Host, s.Validator = d.Account(), d.Account()
	s.Drawn, s.Came = uint8(d.Limit(drawnPieces)), uint8(d.Limit(drawnPieces))
	s.Smash = decodeAscending(d, maxSmash)
	d.Fixed(s.Signature[:])
	if d.Err() == nil && (s.Drawn == 0 || s.Came > s.Drawn) {
		d.Fail("%d pieces came of %d", s.Came, s.Drawn)
	}
}

// Digest is what the tester signs.
func (s *Statement) Digest(chain types.ChainID) types.Hash {
	var e types.Encoder
	e.Array(6)
	s.encodeSigned(&e)
	return types.H(statementDom, chain[:], e.Data())
}

func (s *Statement) verify(chain types.ChainID) bool {
	d := s.Digest(chain)
	return keys.Verify(s.Validator, d[:], s.Signature)
}

func compareStatements(a, b Statement) int {
	if c := bytes.Compare(a.Host[:], b.Host[:]); c != 0 {
		return c
	}
	return bytes.Compare(a.Validator[:], b.Validator[:])
}

// votesNeeded is how many of the drawn testers must say the same: 2 of 3, 5 of 7.
func votesNeeded(drawn int) int { return max(1, (2*drawn+2)/3) }

// findings is what the statements of the drawn testers of a host make together.
func findings(list []Statement, host types.Account, drawn int) (f lines.Findings) {
	need, not := votesNeeded(drawn), 0
	var smash []types.Hash
	for i := range list {
		if list[i].Host != host {
			continue
		}
		if !list[i].Served() {
			not++
		}
		smash = append(smash, list[i].Smash...)
	}
	f.NotServed = not >= need
	slices.SortFunc(smash, compareHashes)
	for len(smash) > 0 {
		n := 1
		for n < len(smash) && smash[n] == smash[0] {
			n++
		}
		if n >= need {
			f.Smash = append(f.Smash, smash[0])
		}
		smash = smash[n:]
	}
	return f
}

func compareHashes(a, b types.Hash) int { return bytes.Compare(a[:], b[:]) }

func encodeHashes(e *types.Encoder, list []types.Hash) {
	e.Array(len(list))
	for i := range list {
		e.Bytes(list[i][:])
	}
}

// decodeAscending reads hashes, each once, in order; none reads as nil.
func decodeAscending(d *types.Decoder, limit int) []types.Hash {
	var list []types.Hash
	for i := range d.Array(limit) {
		list = append(list, d.Hash())
		if i > 0 && compareHashes(list[i-1], list[i]) >= 0 {
			d.Fail("hash %d does not ascend", i)
		}
	}
	return list
}
