package swarm

import (
	"errors"
	"fmt"

	"github.com/staddle/staddle/types"
)

// Reason says on the wire why something was refused. Numbers are never reused.
type Reason uint32

// Reasons.
const (
	ReasonNotHosted Reason = 1 // this peer has no such piece
	ReasonUnpaid    Reason = 2 // the window is used up, or the lock
	ReasonBusy      Reason = 3 // a limit is full; try later
	ReasonQuota     Reason = 4 // nothing is free any more
	ReasonDenied    Reason = 5 // on the host's deny list
	ReasonMalformed Reason = 6 // breaks the protocol
	ReasonFailed    Reason = 7 // the host could not read it
	ReasonReceipt   Reason = 8 // the receipt does not hold
)

// resetBase lifts reasons above those of the transport.
const resetBase = 64

// String is the reason in words.
func (r Reason) String() string {
	words := [...]string{"no reason", "not hosted", "unpaid", "busy", "quota", "denied", "malformed", "failed", "bad receipt"}
	if int(r) < len(words) {
		return words[r]
	}
	return fmt.Sprintf("reason %d", uint32(r))
}

// Refusal is an error that a peer gave, or gets.
type Refusal struct {
	Reason Reason
	Text   string // for people; hostile when it came from a peer
}

// Error names the reason.
func (r *Refusal) Error() string {
	if r.Text == "" {
		return r.Reason.String()
	}
	return fmt.Sprintf("%s: %q", r.Reason, r.Text)
}

// Is compares reasons; a target with a text wants the same text.
func (r *Refusal) Is(target error) bool {
	other, ok := target.(*Refusal)
	return ok && other.Reason == r.Reason && (other.Text == "" || other.Text == r.Text)
}

// Errors of peers and of Pieces, for errors.Is.
var (
	ErrNotHosted = &Refusal{Reason: ReasonNotHosted}
	ErrUnpaid    = &Refusal{Reason: ReasonUnpaid}
	ErrBusy      = &Refusal{Reason: ReasonBusy}
	ErrQuota     = &Refusal{Reason: ReasonQuota}
	ErrDenied    = &Refusal{Reason: ReasonDenied}
	ErrMalformed = &Refusal{Reason: ReasonMalformed}
	ErrFailed    = &Refusal{Reason: ReasonFailed}
	ErrReceipt   = &Refusal{Reason: ReasonReceipt}
)

// Errors of a fetch.
var (
	// ErrWrongBytes: a peer sent what was not asked for, or other bytes.
	ErrWrongBytes = errors.New("peer sent wrong bytes")
	// ErrIncomplete: no peer is left that has, gives or may be paid for the rest.
	ErrIncomplete = errors.New("not everything could be fetched")
)

// refusalOf is what the peer is told about an error of Pieces.
func refusalOf(err error) *Refusal {
	var own *Refusal
	var missing *types.Missing
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &missing):
		return ErrNotHosted
	}
	return ErrFailed
}

func refuse(r Reason, format string, args ...any) *Refusal {
	return &Refusal{Reason: r, Text: fmt.Sprintf(format, args...)}
}
