package validate

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/lines"
	"github.com/staddle/staddle/settle"
	"github.com/staddle/staddle/types"
)

// Names of the files of an epoch.
const (
	fileInputs   = "inputs.cbor"
	fileParams   = "params.txt"
	fileResult   = "result.txt"
	fileVerdict  = "verdictlog.txt"
	fileFeedback = "feedback.txt"
)

func logName(role types.LogRole, a types.Address) string {
	return fmt.Sprintf("%slog-%s.txt", role, a)
}

// left is what is left out of a payer's debts because its locks do not cover
// them.
type left uint8

const (
	leftPlans left = 1 + iota // its plans stop: no buyerlog
	leftAll                   // its receipts too
)

// scribe writes the literal logs of an epoch: those of all nodes.
type scribe struct {
	dir    string
	inputs *Inputs
	src    *lines.Source
	beacon types.Hash
	logs   map[types.Account]*evidence
	short  map[types.Account]left
	hosts  []types.Account // with lots, ascending; none for late logs
	late   bool            // late logs are settled: only what they add
	before []lines.Traffic // late: of all logs that the epoch's result read
	files  []settle.Input
	lines  uint64
}

// newScribe reads from the states what the lines follow from. base is the state
// at the inputs' block.
func (v *Validator) newScribe(ctx context.Context, base *consensus.View, in *Inputs) (*scribe, error) {
	frozen, err := base.Frozen(in.Epoch)
	if err != nil {
		return nil, fmt.Errorf("state of epoch %d: %w", in.Epoch, err)
	}
	rec, err := base.Epoch(in.Epoch)
	if err != nil {
		return nil, err
	}
	w := &scribe{inputs: in, beacon: rec.Beacon, logs: map[types.Account]*evidence{}, short: map[types.Account]left{}}
	w.src = &lines.Source{Epoch: in.Epoch, Frozen: frozen, Cut: base, Digests: v.digests(ctx, in.Absent)}
	for _, u := range in.Logs {
		if w.logs[u.Account], err = v.evidenceOf(base, in.Epoch, u); err != nil {
			return nil, err
		}
	}
	if rec.Collation != nil {
		w.late = true
		w.before, err = v.counted(ctx, base, rec.Collation)
		return w, err
	}
	list, err := frozen.Role(types.RoleHost)
	if err != nil {
		return nil, err
	}
	for _, a := range list {
		h, err := frozen.Host(a)
		if err != nil {
			return nil, err
		}
		if h.Lots > 0 {
			w.hosts = append(w.hosts, a)
		}
	}
	return w, nil
}

// digests leaves out datasets whose index nobody gives.
func (v *Validator) digests(ctx context.Context, absent []types.Hash) lines.Digests {
	return func(a *types.Attachment, r types.Range) ([]types.Hash, error) {
		if _, found := slices.BinarySearchFunc(absent, a.Dataset(), compareHashes); found {
			return nil, lines.ErrAbsent
		}
		list, err := v.cfg.Digests(ctx, a, r)
		if err != nil {
			return nil, &indexError{a.Dataset(), err}
		}
		return list, nil
	}
}

// indexError names the dataset whose index could not be had.
type indexError struct {
	dataset types.DatasetID
	err     error
}

// Error says which.
func (e *indexError) Error() string {
	return fmt.Sprintf("index of dataset %s: %v", e.dataset.Short(), e.err)
}

// Unwrap gives the reason.
func (e *indexError) Unwrap() error { return e.err }

// write makes all logs in dir anew.
func (w *scribe) write(dir string) error {
	w.dir, w.files, w.lines = dir, nil, 0
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, host := range w.hosts {
		if err := w.own(types.LogFarmer, host, func(emit lines.Emit) error { return w.src.Farmer(host, emit) }); err != nil {
			return err
		}
	}
	sponsors, err := w.sponsors()
	if err != nil {
		return err
	}
	for _, a := range sponsors {
		if w.short[a] > 0 {
			continue
		}
		if err := w.own(types.LogBuyer, a, func(emit lines.Emit) error { return w.src.Buyer(a, emit) }); err != nil {
			return err
		}
	}
	return errors.Join(w.traffic(), w.verdicts())
}

// sponsors are those who pay for what the hosts keep, ascending.
func (w *scribe) sponsors() (list []types.Account, err error) {
	for _, host := range w.hosts {
		ids, err := w.src.Frozen.Lots(host)
		if err != nil {
			return nil, err
		}
		for _, id := range ids {
			l, err := w.src.Frozen.Lot(id)
			if err != nil {
				return nil, err
			}
			p, err := w.src.Frozen.Plan(l.Plan)
			if err != nil || p == nil {
				return nil, fmt.Errorf("plan of lot %s (there: %t): %w", id.Short(), p != nil, err)
			}
			list = append(list, p.Sponsor)
		}
	}
	slices.SortFunc(list, func(a, b types.Account) int { return bytes.Compare(a[:], b[:]) })
	return slices.Compact(list), nil
}

// own writes a node's log: the derived lines with its exceptions, or without
// them when they do not fit.
func (w *scribe) own(role types.LogRole, a types.Account, derive func(lines.Emit) error) error {
	var x *lines.Exceptions
	if ev := w.logs[a]; ev != nil {
		x = ev.exceptions
	}
	id := a.Address()
	err := w.log(role, &id, func(emit lines.Emit) error { return x.Apply(role, id, derive, emit) })
	if errors.Is(err, lines.ErrException) {
		err = w.log(role, &id, derive)
	}
	return err
}

// log writes one file of lines. Nothing is left of an empty one.
func (w *scribe) log(role types.LogRole, id *types.Address, derive func(lines.Emit) error) (err error) {
	name := fileVerdict
	if id != nil {
		name = logName(role, *id)
	}
	path := filepath.Join(w.dir, name)
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(f, 1<<16)
	var tree types.LineTree
	err = derive(func(line []byte) error {
		tree.Add(line)
		_, err := out.Write(line)
		return errors.Join(err, out.WriteByte('\n'))
	})
	err = errors.Join(err, out.Flush(), f.Close())
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if tree.Count() == 0 {
		return os.Remove(path)
	}
	w.files = append(w.files, settle.Input{Path: path, Log: role, Owner: id, Digest: tree.Root()})
	w.lines += tree.Count()
	return nil
}

// traffic writes the bandwidthlogs: both sides of every receipt that anybody
// showed, a file for each node.
func (w *scribe) traffic() error {
	var all []lines.Traffic
	for _, u := range w.inputs.Logs {
		for _, t := range w.logs[u.Account].traffic {
			if w.short[t.Payer] < leftAll {
				all = append(all, t)
			}
		}
	}
	byNode := map[types.Address][][]byte{}
	var nodes []types.Address
	derive := func(emit lines.Emit) error { return w.src.Traffic(all, emit) }
	if w.late {
		derive = func(emit lines.Emit) error { return w.src.Late(w.before, all, emit) }
	}
	err := derive(func(line []byte) error {
		b, err := settle.ParseBandwidth(line, settle.Grammar{})
		if err != nil {
			return err
		}
		if byNode[b.ID] == nil {
			nodes = append(nodes, b.ID)
		}
		byNode[b.ID] = append(byNode[b.ID], bytes.Clone(line))
		return nil
	})
	if err != nil {
		return err
	}
	for _, id := range nodes { // lines ascend, so do their owners
		err := w.log(types.LogBandwidth, &id, func(emit lines.Emit) error {
			for _, line := range byNode[id] {
				if err := emit(line); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// verdicts writes the verdict log, host by host.
func (w *scribe) verdicts() error {
	return w.log(types.LogVerdict, nil, func(emit lines.Emit) error {
		for _, host := range w.hosts {
			drawn, err := w.src.Frozen.Testers(host, w.beacon)
			if err != nil {
				return err
			}
			if err := w.src.Verdicts(host, findings(w.inputs.Statements, host, len(drawn)), emit); err != nil {
				return err
			}
		}
		return nil
	})
}

// paramsText is the file of the run's parameters: one flag a line, as the
// filters take them.
func paramsText(p settle.Params) []byte {
	var b strings.Builder
	for _, s := range p.Settings() {
		fmt.Fprintf(&b, "--%s=%s\n", s.Name, s.Value)
	}
	return []byte(b.String())
}

func rowsText(rows []settle.Row) []byte {
	var b []byte
	for i := range rows {
		b = append(settle.AppendRow(b, &rows[i], settle.Grammar{}), '\n')
	}
	return b
}
