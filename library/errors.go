package library

import (
	"context"
	"errors"
	"fmt"

	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/types"
)

// What callers tell apart with errors.Is.
var (
	ErrNotHeld   = errors.New("not held here")
	ErrBad       = errors.New("verification failed")
	ErrOccupied  = errors.New("target is not empty")
	ErrAmbiguous = errors.New("not a reference")
	ErrSealed    = errors.New("sealed: there is no key for it here")
)

// NotHeld says what is not held here and was not to be found. It is an
// ErrNotHeld.
type NotHeld struct{ What string }

// Error names the thing.
func (e *NotHeld) Error() string { return e.What + " is not held here" }

// Is makes the error an ErrNotHeld.
func (e *NotHeld) Is(target error) bool { return target == ErrNotHeld }

// BadError names data that is not what its name says: damaged on disk, or a lie
// of a source. It is an ErrBad.
type BadError struct {
	What string
	Err  error
}

// Error names the thing and the reason.
func (e *BadError) Error() string { return fmt.Sprintf("%s is damaged: %v", e.What, e.Err) }

// Is makes the error an ErrBad.
func (e *BadError) Is(target error) bool { return target == ErrBad }

// Unwrap gives the reason.
func (e *BadError) Unwrap() error { return e.Err }

// Offline is the Source that has nothing.
type Offline struct{}

// Attachment gives *NotHeld.
func (Offline) Attachment(_ context.Context, dataset types.DatasetID) (types.Attachment, error) {
	return types.Attachment{}, &NotHeld{"dataset " + Ref{Dataset: dataset}.String()}
}

// Nodes gives *NotHeld.
func (Offline) Nodes(_ context.Context, _ types.DatasetID, want []cid.Cid) ([]types.Node, error) {
	if len(want) == 0 {
		return nil, nil
	}
	return nil, &NotHeld{fmt.Sprintf("block %s (and %d more)", want[0], len(want)-1)}
}

// Pieces gives *NotHeld.
func (Offline) Pieces(_ context.Context, _ types.DatasetID, want []types.Hash, _ func(int, []byte) error) error {
	if len(want) == 0 {
		return nil
	}
	return &NotHeld{fmt.Sprintf("piece %s (and %d more)", want[0].Short(), len(want)-1)}
}

func isMissing(err error) (cid.Cid, bool) {
	var gap *types.Missing
	if errors.As(err, &gap) {
		return gap.CID, true
	}
	return cid.Undef, false
}
