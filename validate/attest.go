package validate

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/replica"
	"github.com/staddle/staddle/types"
)

// Reading of a lot before a validator vouches for it (H1.6).
const (
	attestLeaves = 16 // random leaves of a lot
	attestPieces = 2  // plain pieces that are compared, where there is no encoding
	atOnce       = 8  // requests to hosts at the same time

	attestBatch    = 64 // lots of one transaction
	attestPatience = 8  // blocks after which one that is not in a block is made again
)

// ErrFalse marks a host whose answer does not fit what it committed.
var ErrFalse = errors.New("host's answer is false")

// attest reads leaves of the committed lots that this account was drawn for and
// says so on chain. A host that does not answer is asked again at the next tip,
// until the lot's deadline draws another validator.
func (v *Validator) attest(ctx context.Context, now *consensus.View) error {
	if err := v.follow(); err != nil {
		return err
	}
	lots, err := v.toAttest(now)
	if err != nil {
		return err
	}
	v.dropWaiting(now.Height())
	lots = slices.DeleteFunc(lots, func(j *job) bool {
		_, waiting := v.waiting[j.lot.Attempt]
		return waiting
	})
	if len(lots) == 0 {
		return nil
	}
	good := v.readLots(ctx, lots)
	if len(good) == 0 {
		return nil
	}
	return v.submitAttestations(good, now.Height())
}

// dropWaiting forgets attestations that had their time to enter a block.
func (v *Validator) dropWaiting(now types.Height) {
	for a, since := range v.waiting {
		if since+attestPatience < now || now < since {
			delete(v.waiting, a)
		}
	}
}

// follow remembers the lots that events named this account a validator of. What
// to do is read from the newest state.
func (v *Validator) follow() error {
	for {
		var at types.Cursor
		if _, err := v.load(rowCursor, &at); err != nil {
			return err
		}
		undo, do, err := v.cfg.Chain.Updates(at, updatesATime)
		if err != nil {
			return fmt.Errorf("follow the chain: %w", err)
		}
		if len(undo) == 0 && len(do) == 0 {
			return nil
		}
		var rows []types.Row
		for _, u := range do {
			for _, id := range v.named(u.Events) {
				rows = append(rows, types.Row{Key: keyLots + string(id[:]), Value: types.Be64(uint64(u.Block.Header.Height))})
			}
			at = types.Cursor{Height: u.Block.Header.Height, Root: u.Block.Name}
		}
		if len(do) == 0 {
			last := undo[len(undo)-1].Block
			at = types.Cursor{Height: last.Header.Height - 1, Root: last.Header.Previous}
		}
		rows = append(rows, types.Row{Key: rowCursor, Value: types.Marshal(&at)})
		if err := v.save(rows...); err != nil {
			return err
		}
	}
}

// named lists the lots whose attestor this account became.
func (v *Validator) named(events []types.Event) (lots []types.LotID) {
	for _, e := range events {
		switch e := e.(type) {
		case types.Drawn:
			if slices.Contains(e.Now.Attestors, v.me) {
				lots = append(lots, e.Lot)
			}
		case types.Moved:
			if slices.Contains(e.Now.Attestors, v.me) {
				lots = append(lots, e.Lot)
			}
		}
	}
	return lots
}

// job is a lot to attest to.
type job struct {
	id      types.LotID
	lot     *types.LotRecord
	entries []replica.Entry
	data    *types.Attachment
	ranges  []types.Range
	plain   bool
	sponsor types.Account
}

// toAttest compares the remembered lots with the state and forgets old ones.
func (v *Validator) toAttest(now *consensus.View) (jobs []*job, err error) {
	var old []types.Row
	err = v.cfg.Store.Scan(table, keyLots, "", func(key string, value []byte) error {
		id := types.LotID([]byte(key[len(keyLots):]))
		l, err := now.Lot(id)
		if err != nil {
			return err
		}
		if l != nil && l.Status == types.LotCommitted {
			if i := slices.Index(l.Attestors, v.me); i >= 0 && l.Attested>>i&1 == 0 {
				j, err := newJob(now, id, l)
				if err != nil {
					return err
				}
				jobs = append(jobs, j)
			}
			return nil
		}
		if len(value) != 8 || binary.BigEndian.Uint64(value)+keepLots < uint64(now.Height()) {
			old = append(old, types.Row{Key: key})
		}
		return nil
	})
	if err == nil && len(old) > 0 {
		err = v.save(old...)
	}
	return jobs, err
}

func newJob(now *consensus.View, id types.LotID, l *types.LotRecord) (*job, error) {
	p, err := now.Plan(l.Plan)
	if err != nil || p == nil {
		return nil, fmt.Errorf("plan of lot %s (there: %t): %w", id.Short(), p != nil, err)
	}
	d, err := now.Dataset(p.Plan.Dataset)
	if err != nil || d == nil {
		return nil, fmt.Errorf("dataset of lot %s (there: %t): %w", id.Short(), d != nil, err)
	}
	j := &job{id: id, lot: l, data: &d.Attachment, plain: p.Plan.Encoding == 0, sponsor: p.Sponsor}
	if j.entries, err = now.LotEntries(id, l); err != nil {
		return nil, err
	}
	j.ranges, err = now.Ranges(j.data, l.First, l.Count)
	return j, err
}

// readLots gives the lots whose leaves are in order.
func (v *Validator) readLots(ctx context.Context, lots []*job) []*job {
	var mu sync.Mutex // guards good
	var good []*job
	var g errgroup.Group
	g.SetLimit(atOnce)
	for _, j := range lots {
		g.Go(func() error {
			if err := v.readLot(ctx, j); err != nil {
				v.cfg.Report("attest: lot %s of host %s: %v", j.id.Short(), j.lot.Host.Short(), err)
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			good = append(good, j)
			return nil
		})
	}
	_ = g.Wait() // no goroutine gives an error
	slices.SortFunc(good, func(a, b *job) int { return bytes.Compare(a.id[:], b.id[:]) })
	return good
}

func (v *Validator) readLot(ctx context.Context, j *job) error {
	q := &replica.LeafRequest{Lot: j.id, Attempt: j.lot.Attempt}
	for range attestLeaves {
		n, err := v.chance(j.lot.Leaves)
		if err != nil {
			return err
		}
		q.Leaves = append(q.Leaves, n)
	}
	raw, err := v.ask(ctx, v.cfg.Patience, j.lot.Host, call{replica.LeafProtocol, q, replica.MaxLeafAnswer})
	if err != nil {
		return err
	}
	var a replica.LeafAnswer
	if err := types.Unmarshal(raw, &a); err != nil {
		return fmt.Errorf("%w: %w", ErrFalse, err)
	}
	r := q.Check(&a, replica.LotTerms{Root: j.lot.Root, Leaves: j.lot.Leaves, Ranges: j.lot.Count})
	if !r.Good() {
		return fmt.Errorf("%w: %w", ErrFalse, errors.Join(r.Reasons...))
	}
	if j.plain {
		return v.comparePlain(ctx, j, q, &a)
	}
	return nil
}

// chance is a random number below n, by 128 random bits.
func (v *Validator) chance(n uint64) (uint64, error) {
	var b [16]byte
	if _, err := io.ReadFull(v.cfg.Chance, b[:]); err != nil {
		return 0, fmt.Errorf("random bytes: %w", err)
	}
	return bits.Rem64(binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:]), max(n, 1)), nil
}

// comparePlain holds leaves that are not encoded against the dataset itself:
// the range's two roots are one, and leaves are cut out of pieces with the right
// digests, as far as anybody gives them.
func (v *Validator) comparePlain(ctx context.Context, j *job, q *replica.LeafRequest, a *replica.LeafAnswer) error {
	for i := range j.entries {
		if e := &j.entries[i]; e.Encoded != e.Plain || !e.Modulus.IsZero() {
			return fmt.Errorf("%w: range %d is plain and has two roots", ErrFalse, i)
		}
	}
	seen := map[types.Hash]bool{}
	for i, leaf := range q.Leaves {
		if len(seen) == attestPieces {
			return nil
		}
		digest, at, err := v.pieceOf(ctx, j, leaf)
		if err != nil {
			return err
		}
		if seen[digest] {
			continue
		}
		seen[digest] = true
		piece := v.pieceFrom(ctx, digest, j.sponsor, j.lot.Host)
		if piece == nil {
			continue // nobody gives it now; the roots still bind the host
		}
		var p replica.Proof
		if err := types.Unmarshal(a.Proofs[i], &p); err != nil {
			return fmt.Errorf("%w: %w", ErrFalse, err)
		}
		if !bytes.Equal(p.Leaf, leafOf(piece, at)) {
			return fmt.Errorf("%w: leaf %d is not of piece %s", ErrFalse, leaf, digest.Short())
		}
	}
	return nil
}

// pieceOf finds the piece that a leaf of the lot lies in, and the leaf's place
// inside.
func (v *Validator) pieceOf(ctx context.Context, j *job, leaf uint64) (types.Hash, uint64, error) {
	for i := range j.entries {
		if leaf >= j.entries[i].Leaves {
			leaf -= j.entries[i].Leaves
			continue
		}
		digests, err := v.cfg.Digests(ctx, j.data, j.ranges[i])
		if err != nil {
			return types.Hash{}, 0, fmt.Errorf("digests of range %d: %w", i, err)
		}
		k := leaf / replica.PieceLeaves
		if k >= uint64(len(digests)) || types.RangeOf(digests) != j.ranges[i].ID {
			return types.Hash{}, 0, fmt.Errorf("%w: digests are not those of range %s", ErrFalse, j.ranges[i].ID.Short())
		}
		return digests[k], leaf % replica.PieceLeaves, nil
	}
	return types.Hash{}, 0, fmt.Errorf("leaf %d beyond the lot", leaf)
}

// pieceFrom asks accounts one after another; nil when none gives the piece.
func (v *Validator) pieceFrom(ctx context.Context, digest types.Hash, from ...types.Account) []byte {
	for _, a := range from {
		b, err := v.fetchOnce(ctx, a, digest)
		if err == nil {
			return b
		}
	}
	return nil
}

// fetchOnce fetches a piece under a new key and checks it.
func (v *Validator) fetchOnce(ctx context.Context, from types.Account, digest types.Hash) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, v.cfg.Patience)
	defer cancel()
	b, err := v.cfg.Strangers.FetchOnce(ctx, from, digest)
	if err != nil {
		return nil, err
	}
	if len(b) > types.PieceSize || types.Digest(types.RawCID(b)) != digest {
		return nil, fmt.Errorf("%w: %d bytes are not piece %s", ErrFalse, len(b), digest.Short())
	}
	return b, nil
}

// leafOf cuts a leaf out of a plain piece, padded with zeros.
func leafOf(piece []byte, at uint64) []byte {
	leaf := make([]byte, replica.LeafSize)
	if from := at * replica.LeafSize; from < uint64(len(piece)) {
		copy(leaf, piece[from:])
	}
	return leaf
}

// submitAttestations puts the lots on chain in batches. A batch that the rules
// refuse, as a lot moved on meanwhile, goes lot by lot.
func (v *Validator) submitAttestations(good []*job, now types.Height) error {
	var errs []error
	for batch := range slices.Chunk(good, attestBatch) {
		err := v.submitBatch(batch, now)
		if err != nil && len(batch) > 1 {
			for _, j := range batch {
				errs = append(errs, v.submitBatch([]*job{j}, now))
			}
			continue
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (v *Validator) submitBatch(batch []*job, now types.Height) error {
	body := new(types.Attestations)
	var names types.Encoder
	for _, j := range batch {
		body.List = append(body.List, types.Attestation{Lot: j.id, Attempt: j.lot.Attempt, Root: j.lot.Root})
		names.Bytes(j.lot.Attempt[:])
	}
	name := "attest/" + types.H("staddle/attest/name/1", names.Data()).Short()
	if err := v.cfg.Chain.Submit(types.KindAttest, body, name); err != nil {
		return err
	}
	for _, j := range batch {
		v.waiting[j.lot.Attempt] = now
	}
	v.attested.Add(uint64(len(batch)))
	return nil
}
