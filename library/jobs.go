package library

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/staddle/staddle/types"
)

// Leftover is a put that was stopped or killed and not repeated yet. Its pieces
// are kept for the repetition.
type Leftover struct {
	Folder  string // hostile text
	Started types.Millis
	owner   string
	key     string
}

// EncodeTo appends [1, folder, started, owner].
func (j *Leftover) EncodeTo(e *types.Encoder) {
	e.Array(4)
	e.Uint(rowVersion)
	e.Text(j.Folder)
	e.Int(int64(j.Started))
	e.Text(j.owner)
}

// DecodeFrom reads the tuple.
func (j *Leftover) DecodeFrom(d *types.Decoder) {
	d.Tuple(4)
	version(d)
	j.Folder = d.Text(maxFolder)
	j.Started = d.Millis()
	j.owner = d.Text(maxOwner)
}

// job is a put that runs: its own row, and the rows of those before it on the
// same folder that did not end.
type job struct {
	Leftover
	earlier []Leftover
}

// begin notes a put before its first byte, under an owner that nobody had, whose
// name begins with kind.
func (l *Library) begin(folder, kind string) (*job, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	serial, err := l.serial()
	if err != nil {
		return nil, err
	}
	j := &job{Leftover: Leftover{
		Folder: strings.ToValidUTF8(folder, "\ufffd"), Started: l.Now(),
		owner: fmt.Sprintf("%s%d", kind, serial), key: fmt.Sprintf("%s%016x", jobsOf(folder), serial),
	}}
	if j.earlier, err = l.leftovers(jobsOf(folder)); err != nil {
		return nil, err
	}
	if err := l.State.Save(nil, []types.Row{
		{Table: tableSerial, Key: "put", Value: types.Be64(serial + 1)},
		{Table: tableJobs, Key: j.key, Value: types.Marshal(j)},
	}); err != nil {
		return nil, fmt.Errorf("note the start of the job: %w", err)
	}
	l.active[j.owner] = true
	return j, nil
}

// jobsOf is how the keys of jobs on a folder begin.
func jobsOf(folder string) string {
	return types.H("staddle/library/folder/1", []byte(folder)).String() + "/"
}

func (l *Library) serial() (uint64, error) {
	b, ok, err := l.State.Get(tableSerial, "put")
	if err != nil || !ok {
		return 1, err
	}
	if len(b) != 8 {
		return 0, &BadError{"the serial of puts", fmt.Errorf("%d bytes, want 8", len(b))}
	}
	return binary.BigEndian.Uint64(b), nil
}

// end forgets that the job runs.
func (l *Library) end(j *job) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.active, j.owner)
}

// leftovers lists job rows that no running put owns.
func (l *Library) leftovers(prefix string) (out []Leftover, err error) {
	err = l.State.Scan(tableJobs, prefix, "", func(key string, value []byte) error {
		j := Leftover{key: key}
		if err := types.Unmarshal(value, &j); err != nil {
			return &BadError{fmt.Sprintf("row %q of %s", key, tableJobs), err}
		}
		if !l.active[j.owner] {
			out = append(out, j)
		}
		return nil
	})
	return out, err
}

// Leftovers lists puts that did not end.
func (l *Library) Leftovers() ([]Leftover, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.leftovers("")
}

// Tidy lets go of what stopped puts have stored and no dataset uses.
func (l *Library) Tidy() error {
	l.mu.Lock()
	all, err := l.leftovers("")
	if err == nil {
		err = l.State.Save(nil, discard(all...))
	}
	l.mu.Unlock()
	return errors.Join(err, l.sweep())
}

// discard gives the rows that end jobs and mark their pieces for release.
func discard(jobs ...Leftover) (rows []types.Row) {
	for _, j := range jobs {
		rows = append(rows, types.Row{Table: tableJobs, Key: j.key}, trash(j.owner))
	}
	return rows
}

func trash(owner string) types.Row {
	return types.Row{Table: tableTrash, Key: owner, Value: []byte{}}
}

// sweep releases the pieces of owners that are marked. It is repeated after a
// crash.
func (l *Library) sweep() error {
	var owners []string
	err := l.State.Scan(tableTrash, "", "", func(owner string, _ []byte) error {
		owners = append(owners, owner)
		return nil
	})
	for _, owner := range owners {
		if err == nil {
			err = l.Pieces.Release(owner)
		}
		if err == nil {
			err = l.State.Save(nil, []types.Row{{Table: tableTrash, Key: owner}})
		}
	}
	if err != nil {
		return fmt.Errorf("release pieces of ended jobs: %w", err)
	}
	return nil
}

// Remove lets go of a dataset: its row, and the pieces that nothing else uses.
// The error wraps ErrNotHeld when there is no such dataset.
func (l *Library) Remove(ref Ref) error {
	ref, err := l.Resolve(ref)
	if err != nil {
		return err
	}
	felled, err := l.fell(ref.Dataset)
	if err != nil {
		return err
	}
	l.mu.Lock()
	h, err := l.Held(ref.Dataset)
	if err == nil {
		rows := append(felled, []types.Row{{Table: tableHeld, Key: string(ref.Dataset[:])}, {Table: tablePrivate, Key: string(ref.Dataset[:])}}...)
		for _, o := range h.owners {
			rows = append(rows, trash(o))
		}
		err = l.State.Save(nil, rows)
	}
	l.mu.Unlock()
	return errors.Join(err, l.sweep())
}
