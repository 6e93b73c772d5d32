package settle

import (
	"strconv"

	"github.com/staddle/staddle/types"
)

// FeedbackKind is the endpoint of a node that a validator calls.
type FeedbackKind uint8

// What validators tell nodes (document 003).
const (
	RejectedSmash      FeedbackKind = iota // to a farmer: your proof was wrong
	FailedChunkClaim                       // to a farmer: nobody pays, or no active contract
	OverReplication                        // to each farmer: at least twice as many as asked for
	UnderReplication                       // to each buyer: fewer than minrep
	FailedBandwidthLog                     // to the claimant: the peer does not say the same
	feedbackEnd
)

var feedbackNames = [feedbackEnd]string{"rejectedsmash", "failedchunkclaim", "overreplication", "underreplication", "failedbandwidthlog"}

// String is the endpoint's name.
func (k FeedbackKind) String() string { return feedbackNames[min(k, feedbackEnd-1)] }

// Feedback is one call that a validator makes after a stage. A stage writes it
// to Params.Report as a line.
type Feedback struct {
	Kind    FeedbackKind
	Node    types.Address // who is told
	Chunk   types.Hash    // all but FailedBandwidthLog
	Rep     int           // OverReplication: replicas asked for
	Farmers int           // OverReplication, UnderReplication: replicas found
	Peer    types.Address // FailedBandwidthLog
	Receipt string        // FailedBandwidthLog: receipt of the unmatched claim
}

// Append adds the line without LF; it has the keys that its kind needs.
func (f *Feedback) Append(dst []byte, g Grammar) []byte {
	dst = append(append(dst, `{"feedback":"`...), f.Kind.String()...)
	dst = g.appendAddress(append(dst, `","node":"`...), f.Node)
	if f.Kind == FailedBandwidthLog {
		dst = g.appendAddress(append(dst, `","peer":"`...), f.Peer)
		return append(append(append(dst, `","receipt":"`...), f.Receipt...), `"}`...)
	}
	dst = append(g.appendChunk(append(dst, `","chunkID":"`...), f.Chunk), '"')
	if f.Kind == OverReplication {
		dst = strconv.AppendInt(append(dst, `,"rep":`...), int64(f.Rep), 10)
	}
	if f.Kind == OverReplication || f.Kind == UnderReplication {
		dst = strconv.AppendInt(append(dst, `,"n":`...), int64(f.Farmers), 10)
	}
	return append(dst, '}')
}

func scanFeedback(s *scanner) (f Feedback) {
	s.lit(`{"feedback":"`)
	for f.Kind < feedbackEnd && !s.skip(feedbackNames[f.Kind]) {
		f.Kind++
	}
	s.lit(`","node":"`)
	f.Node = s.address()
	if f.Kind == FailedBandwidthLog {
		s.lit(`","peer":"`)
		f.Peer = s.address()
		s.lit(`","receipt":"`)
		f.Receipt = s.text(MaxReceipt, tokenText)
		s.lit(`"}`)
		return f
	}
	s.lit(`","chunkID":"`)
	f.Chunk = s.chunk()
	s.lit(`"`)
	if f.Kind == OverReplication {
		s.lit(`,"rep":`)
		f.Rep = int(s.integer(1, MaxRep))
	}
	if f.Kind == OverReplication || f.Kind == UnderReplication {
		s.lit(`,"n":`)
		f.Farmers = int(s.integer(0, MaxParties))
	}
	s.lit(`}`)
	return f
}

// ParseFeedback reads one line of a report, canonical form only. The error is a
// Code.
func ParseFeedback(line []byte, g Grammar) (Feedback, error) {
	if len(line) > MaxLine {
		return Feedback{}, ErrLong
	}
	s := scanner{line: line, Grammar: g}
	f := scanFeedback(&s)
	if code := s.end(); code != Accepted {
		return Feedback{}, code
	}
	return f, nil
}
