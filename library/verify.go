package library

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/staddle/staddle/types"
)

// maxProblems is how many problems a Report names; all are counted.
const maxProblems = 1000

// Problem is one thing that Verify found wrong.
type Problem struct {
	What   string     // "piece", "index", "roots" or "table of contents"
	Number uint32     // of a piece, from 1
	Digest types.Hash // of a piece
	Err    error
}

// Error tells the problem in one line.
func (p *Problem) Error() string {
	if p.What == "piece" {
		return fmt.Sprintf("piece %d (%s): %v", p.Number, p.Digest, p.Err)
	}
	return fmt.Sprintf("%s: %v", p.What, p.Err)
}

// Unwrap gives the cause.
func (p *Problem) Unwrap() error { return p.Err }

// Report is what Verify has looked at.
type Report struct {
	Attachment types.Attachment
	Name       string // of the dataset, as far as it is known; hostile text
	Sealed     bool   // there is no key here: bytes were checked, not what they hold
	Good       uint32 // pieces that are held and whole
	Missing    uint32 // pieces that are not held
	Bytes      uint64 // of good pieces
	Bad        uint32 // problems
	AtRisk     uint32 // pieces among them whose file has changed since it was put in place
	Problems   []Problem
}

// Err is nil when everything is held and whole, an ErrBad when something is
// damaged, an ErrNotHeld when something is only not there.
func (r *Report) Err() error {
	switch {
	case r.Bad > 0:
		return &BadError{fmt.Sprintf("dataset %s", r.Attachment.Dataset().Short()), &r.Problems[0]}
	case r.Missing > 0:
		return &NotHeld{fmt.Sprintf("%d of %d pieces", r.Missing, r.Attachment.Pieces)}
	}
	return nil
}

func (r *Report) add(p Problem) {
	if errors.Is(p.Err, ErrAtRisk) {
		r.AtRisk++
	}
	if r.Bad++; len(r.Problems) < maxProblems {
		r.Problems = append(r.Problems, p)
	}
}

// Verify reads every piece that is held and checks its hash, checks that the
// index names exactly the pieces, holds the range list and the UnixFS root
// against them, and reads the table of contents, if there is a key for it. It
// fetches nothing. An error
// says why it could not look; what it found is in the Report.
func (l *Library) Verify(ctx context.Context, ref Ref, w Watch) (Report, error) {
	ref, err := l.Resolve(ref)
	if err != nil {
		return Report{}, err
	}
	if _, err := l.Held(ref.Dataset); err != nil {
		return Report{}, err
	}
	here := &Library{Config: l.Config, placed: l.placed, active: map[string]bool{}}
	here.Source = Offline{}
	d := &dataset{l: here, ctx: ctx, watch: w, id: ref.Dataset}
	if d.held, err = l.Held(d.id); err != nil {
		return Report{}, err
	}
	v := &verifying{d: d, key: ref.Key, report: Report{Attachment: d.held.Attachment, Name: d.held.Name}}
	err = v.run()
	return v.report, err
}

type verifying struct {
	d      *dataset
	key    Key
	report Report
	done   uint64
}

func (v *verifying) run() error {
	if err := v.d.openIndex(); err != nil {
		return v.blame("index", err)
	}
	if err := v.d.index.Check(); err != nil {
		return v.blame("index", err)
	}
	if err := v.d.openIndex(); err != nil { // frees what the walk has cached
		return err
	}
	if err := v.d.each(v.d.whole(), v.window); err != nil {
		return err
	}
	if v.report.Missing+v.report.Bad > 0 {
		return nil // the rest could only repeat it
	}
	if err := v.d.checkRoots(v.d.l.State.Node, v.hold); err != nil {
		return v.blame("roots", err)
	}
	return v.contents()
}

// contents reads the table of contents, unless nobody here can.
func (v *verifying) contents() error {
	err := v.d.unseal(v.key)
	if v.report.Sealed = errors.Is(err, ErrSealed); v.report.Sealed {
		return nil
	}
	if v.report.Name = v.d.held.Name; err == nil {
		_, err = v.d.readTOC(cached)
	}
	if err != nil {
		return v.blame("table of contents", err)
	}
	return v.d.l.placed.forgive(v.d.held.owners)
}

// hold checks that a block which the pieces give is held.
func (v *verifying) hold(n types.Node) error {
	_, err := v.d.l.State.Node(n.CID)
	return err
}

// blame turns an error into a problem, unless the job was stopped. Of a dataset
// that was never whole, blocks may be missing.
func (v *verifying) blame(what string, err error) error {
	if v.d.ctx.Err() != nil {
		return err
	}
	if _, missing := isMissing(err); (missing || errors.Is(err, ErrNotHeld)) && !v.d.held.Whole {
		v.report.Missing = v.report.Attachment.Pieces - v.report.Good
		return nil
	}
	v.report.add(Problem{What: what, Err: err})
	return nil
}

// window checks a run of pieces on all cores.
func (v *verifying) window(first uint32, digests []types.Hash) error {
	found := make([]error, len(digests))
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, digest := range digests {
		g.Go(func() error {
			found[i] = v.piece(first+uint32(i), digest)
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i, err := range found {
		number := first + uint32(i)
		v.done += uint64(v.d.length(number))
		switch _, missing := isMissing(err); {
		case err == nil:
			v.report.Good++
			v.report.Bytes += uint64(v.d.length(number))
		case missing && !errors.Is(err, ErrAtRisk):
			v.report.Missing++
		default:
			v.report.add(Problem{What: "piece", Number: number, Digest: digests[i], Err: err})
		}
	}
	v.d.watch.progress(Progress{Phase: Verifying, Done: v.done, Total: v.report.Attachment.Size})
	return nil
}

func (v *verifying) piece(number uint32, digest types.Hash) error {
	b, err := v.d.l.Pieces.Get(digest)
	if err == nil && int64(len(b)) != v.d.length(number) {
		err = fmt.Errorf("%d bytes, want %d", len(b), v.d.length(number))
	}
	return err
}

// isGone reports whether err is about absence or about a job that was stopped.
func isGone(err error) bool {
	return errors.Is(err, ErrNotHeld) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
