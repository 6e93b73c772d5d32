package gateway

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/keys"
	"github.com/staddle/staddle/lines"
	"github.com/staddle/staddle/settle"
	"github.com/staddle/staddle/types"
)

// Stats count feedback since the start.
type Stats struct {
	Taken          [settle.FailedBandwidthLog + 1]uint64 // by settle.FeedbackKind
	WrongSignature uint64
	WrongEpoch     uint64
	NoValidator    uint64 // of that epoch
	Replayed       uint64
	TooMany        uint64 // of one validator and epoch
}

// notes remembers feedback: one row each, under "f/", epoch, validator, digest.
type notes struct {
	journal Journal
	limit   int

	mu     sync.Mutex
	count  map[string]int // by epoch and validator; loaded when first asked for
	pruned types.Epoch    // rows of epochs before are gone
	totals Stats
}

const (
	notesTable  = "gateway"
	notesPrefix = "f/"
	pruneBatch  = 1024
)

func newNotes(j Journal, limit int) *notes {
	return &notes{journal: j, limit: limit, count: map[string]int{}}
}

func (n *notes) stats() Stats {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.totals
}

// add counts one thing.
func (n *notes) add(f func(*Stats)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f(&n.totals)
}

// take checks a feedback and hands it on: an epoch that closed at most eight
// epochs ago, one of its validators, that validator's signature, and not a
// second time.
func (g *Gateway) take(ctx context.Context, w http.ResponseWriter, v *consensus.View, t *target) error {
	n := t.notice
	n.Node = g.cfg.Owner.Address()
	e, ok, err := epochAt(v, t.seconds)
	if err != nil {
		return err
	}
	if !ok {
		g.notes.add(func(s *Stats) { s.WrongEpoch++ })
		return deny(http.StatusNotFound, "no epoch with time %d is known", t.seconds)
	}
	n.Epoch = e
	if err := g.signed(v, n); err != nil {
		return err
	}
	if err := g.notes.once(v.Epochal(), n, v.Chain); err != nil {
		return err
	}
	if g.cfg.Effects != nil {
		if err := g.cfg.Effects.Note(ctx, n); err != nil {
			return fmt.Errorf("feedback %s: %w", n.Kind, err)
		}
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (g *Gateway) signed(v *consensus.View, n *lines.Notice) error {
	frozen, err := v.Frozen(n.Epoch)
	if err != nil {
		return fmt.Errorf("state at the checkpoint of epoch %d: %w", n.Epoch, err)
	}
	ok, err := g.people.validates(frozen, n.Validator)
	if err != nil {
		return err
	}
	if !ok {
		g.notes.add(func(s *Stats) { s.NoValidator++ })
		return deny(http.StatusForbidden, "account %s is no validator of epoch %d", n.Validator.Short(), n.Epoch)
	}
	digest := n.Digest(v.Chain)
	if !keys.Verify(n.Validator, digest[:], n.Signature) {
		g.notes.add(func(s *Stats) { s.WrongSignature++ })
		return deny(http.StatusForbidden, "wrong signature of validator %s", n.Validator.Short())
	}
	return nil
}

// once remembers a notice before it has an effect: after a crash in between it
// is lost, and never counted twice.
func (n *notes) once(running types.Epoch, x *lines.Notice, chain types.ChainID) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.prune(running); err != nil {
		return err
	}
	digest := x.Digest(chain)
	group := notesPrefix + string(types.Be64(uint64(x.Epoch))) + string(x.Validator[:])
	row := group + string(digest[:])
	_, seen, err := n.journal.Get(notesTable, row)
	if err != nil {
		return err
	}
	if seen {
		n.totals.Replayed++
		return deny(http.StatusConflict, "this was said before")
	}
	have, err := n.counted(group)
	if err != nil {
		return err
	}
	if have >= n.limit {
		n.totals.TooMany++
		return deny(http.StatusTooManyRequests, "validator %s has said %d things about epoch %d", x.Validator.Short(), have, x.Epoch)
	}
	err = n.journal.Save(nil, []types.Row{{Table: notesTable, Key: row, Value: []byte{1}}})
	if errors.Is(err, errFull) {
		n.totals.TooMany++
		return deny(http.StatusTooManyRequests, "no room for more feedback")
	}
	if err != nil {
		return err
	}
	n.count[group] = have + 1
	n.totals.Taken[x.Kind]++
	return nil
}

func (n *notes) counted(group string) (int, error) {
	if have, ok := n.count[group]; ok {
		return have, nil
	}
	have := 0
	err := n.journal.Scan(notesTable, group, "", func(string, []byte) error { have++; return nil })
	return have, err
}

// prune forgets epochs that nobody may speak of any more.
func (n *notes) prune(running types.Epoch) error {
	if running <= keep+1 || n.pruned == running-keep-1 {
		return nil
	}
	oldest := running - keep - 1
	var rows []types.Row
	enough := errors.New("enough for one write")
	err := n.journal.Scan(notesTable, notesPrefix, "", func(key string, _ []byte) error {
		rest := strings.TrimPrefix(key, notesPrefix)
		if len(rest) < 8 || types.Epoch(binary.BigEndian.Uint64([]byte(rest[:8]))) >= oldest || len(rows) == pruneBatch {
			return enough
		}
		rows = append(rows, types.Row{Table: notesTable, Key: key})
		return nil
	})
	if err != nil && !errors.Is(err, enough) {
		return err
	}
	if len(rows) > 0 {
		if err := n.journal.Save(nil, rows); err != nil {
			return err
		}
	}
	if len(rows) < pruneBatch {
		n.pruned = oldest
		n.count = map[string]int{}
	}
	return nil
}
