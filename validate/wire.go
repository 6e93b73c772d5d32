package validate

import (
	"github.com/staddle/staddle/types"
)

// Protocol is how validators settle together: one frame there, one back.
const Protocol = "/staddle/settle/1"

// Limits of its frames, in bytes.
const (
	maxRequest  = MaxInputs + types.MaxSigners*110 + 1024
	maxAnswer   = MaxInputs + (MaxLogs+1)*80
	maxPart     = 4 << 20 // of a log
	maxReason   = 512
	wireVersion = 1
)

// op is what a request asks.
type op uint8

const (
	opHave       op = iota // what do you hold for an epoch, and what did you sign
	opLog                  // a part of an account's log
	opCheck                // is this result right
	opSign                 // sign it
	opInputs               // the inputs of an epoch's result
	opTell                 // take note of my statement
	opLateInputs           // the inputs of the result of an epoch's late logs
	opEnd
)

// request is a frame of the asking side. Which fields it has depends on Op.
type request struct {
	Op        op
	Epoch     types.Epoch    // opHave, opLog, opInputs, opLateInputs
	Account   types.Account  // opLog
	Offset    uint64         // opLog
	Proposal  *Proposal      // opCheck, opSign
	Signed    []types.Signed // opCheck, opSign: who signed it before
	Statement *Statement     // opTell
}

// EncodeTo appends [version, op, fields ...].
func (q *request) EncodeTo(e *types.Encoder) {
	head := func(fields int) {
		e.Array(2 + fields)
		e.Uint(wireVersion)
		e.Uint(uint64(q.Op))
	}
	switch q.Op {
	case opLog:
		head(3)
		e.Uint(uint64(q.Epoch))
		e.Bytes(q.Account[:])
		e.Uint(q.Offset)
	case opCheck, opSign:
		head(2)
		q.Proposal.EncodeTo(e)
		e.Array(len(q.Signed))
		for i := range q.Signed {
			e.Array(2)
			e.Bytes(q.Signed[i].By[:])
			e.Bytes(q.Signed[i].Signature[:])
		}
	case opTell:
		head(1)
		q.Statement.EncodeTo(e)
	default:
		head(1)
		e.Uint(uint64(q.Epoch))
	}
}

// DecodeFrom reads the tuple.
func (q *request) DecodeFrom(d *types.Decoder) {
	*q = request{}
	fields := d.Array(5)
	version(d)
	q.Op = op(d.Limit(uint64(opEnd - 1)))
	want := [opEnd]int{opHave: 3, opLog: 5, opCheck: 4, opSign: 4, opInputs: 3, opTell: 3, opLateInputs: 3}[q.Op]
	if d.Err() == nil && fields != want {
		d.Fail("request %d of %d fields, want %d", q.Op, fields, want)
	}
	switch {
	case d.Err() != nil:
	case q.Op == opLog:
		q.Epoch, q.Account, q.Offset = d.Epoch(), d.Account(), d.Uint()
	case q.Op == opCheck || q.Op == opSign:
		q.Proposal = new(Proposal)
		q.Proposal.DecodeFrom(d)
		for range d.Array(types.MaxSigners) {
			d.Tuple(2)
			s := types.Signed{By: d.Account()}
			d.Fixed(s.Signature[:])
			q.Signed = append(q.Signed, s)
		}
	case q.Op == opTell:
		q.Statement = new(Statement)
		q.Statement.DecodeFrom(d)
	default:
		q.Epoch = d.Epoch()
	}
}

func version(d *types.Decoder) {
	if n := d.Uint(); d.Err() == nil && n != wireVersion {
		d.Fail("version %d, want %d", n, wireVersion)
	}
}

// having answers opHave.
type having struct {
	Logs       []Used
	Statements []Statement
	Signed     *signedProposal // nil: nothing yet
}

// EncodeTo appends [version, logs, statements, [signed]?].
func (h *having) EncodeTo(e *types.Encoder) {
	e.Array(4)
	e.Uint(wireVersion)
	encodeUsed(e, h.Logs)
	encodeStatements(e, h.Statements)
	if h.Signed == nil {
		e.Array(0)
		return
	}
	e.Array(1)
	h.Signed.EncodeTo(e)
}

// DecodeFrom reads the tuple.
func (h *having) DecodeFrom(d *types.Decoder) {
	*h = having{}
	d.Tuple(4)
	version(d)
	h.Logs = decodeUsed(d)
	h.Statements = decodeStatements(d)
	if d.Array(1) == 1 {
		h.Signed = new(signedProposal)
		h.Signed.DecodeFrom(d)
	}
}

// part answers opLog: bytes of the encoded log from the offset on.
type part struct {
	Total uint64
	Bytes []byte
}

// EncodeTo appends [version, total, bytes].
func (p *part) EncodeTo(e *types.Encoder) {
	e.Array(3)
	e.Uint(wireVersion)
	e.Uint(p.Total)
	e.Bytes(p.Bytes)
}

// DecodeFrom reads the tuple.
func (p *part) DecodeFrom(d *types.Decoder) {
	d.Tuple(3)
	version(d)
	p.Total = d.Limit(MaxLogBytes)
	p.Bytes = d.Bytes(maxPart)
}

// verdict answers opCheck and opSign: the signature, zero for opCheck, or why
// not.
type verdict struct {
	Refused   string
	Signature types.Signature
}

// EncodeTo appends [version, reason, signature].
func (a *verdict) EncodeTo(e *types.Encoder) {
	e.Array(3)
	e.Uint(wireVersion)
	e.Text(a.Refused)
	e.Bytes(a.Signature[:])
}

// DecodeFrom reads the tuple.
func (a *verdict) DecodeFrom(d *types.Decoder) {
	d.Tuple(3)
	version(d)
	a.Refused = d.Text(maxReason)
	d.Fixed(a.Signature[:])
}
