package library

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/staddle/staddle/types"
)

// feed is a peer that gives pieces in order and tells of each.
type feed struct {
	*peer
	given atomic.Int64
	each  func(given int64) // called before a piece leaves; may be nil
	ended atomic.Int64      // calls that ended because nobody wanted any more
}

func (f *feed) Pieces(ctx context.Context, _ types.DatasetID, want []types.Hash, to func(int, []byte) error) error {
	for i, h := range want {
		if f.each != nil {
			f.each(f.given.Load())
		}
		if ctx.Err() != nil {
			f.ended.Add(1)
			return context.Cause(ctx)
		}
		b, err := f.of.Piece(h)
		if err != nil {
			return err
		}
		f.given.Add(1)
		if err := to(i, b); err != nil {
			return err
		}
	}
	return nil
}

const filmSize = 20<<20 + 4321

// cinema is a library that holds nothing and gets a film from a feed.
func cinema(t *testing.T) (far *shelf, from *feed, ref Ref, film []byte) {
	t.Helper()
	folder := t.TempDir()
	film = noise(9, filmSize)
	ok(t, os.WriteFile(filepath.Join(folder, "film.mkv"), film, 0o600))
	s := open(t, t.TempDir(), nil)
	p := s.mustPut(t, folder)
	from = &feed{peer: &peer{of: s.Library}}
	far = open(t, t.TempDir(), from)
	ref = p.Ref()
	ref.Path = "film.mkv"
	_, err := far.Stat(t.Context(), ref) // the table of contents is here
	ok(t, err)
	from.given.Store(0)
	return far, from, ref, film
}

// taker counts what it has taken and may fail.
type taker struct {
	taken atomic.Int64
	check func(p []byte, at int64) error
}

func (k *taker) Write(p []byte) (int, error) {
	if err := k.check(p, k.taken.Load()); err != nil {
		return 0, err
	}
	k.taken.Add(int64(len(p)))
	return len(p), nil
}

// TestReadAhead: nothing is fetched that lies more than 8 MiB, or 1 MiB at the
// beginning, behind what the reader has taken.
func TestReadAhead(t *testing.T) {
	t.Parallel()
	far, from, ref, film := cinema(t)
	k := &taker{}
	most, reached := int64(0), make(chan struct{})
	k.check = func(p []byte, at int64) error {
		if !bytes.Equal(p, film[at:at+int64(len(p))]) {
			return errors.New("other bytes")
		}
		if at >= 4<<20 { // a slow reader finds all that may be there
			select {
			case <-reached:
			case <-t.Context().Done():
			}
		}
		return nil
	}
	from.each = func(given int64) {
		taken := k.taken.Load()
		ahead := (given+1)*types.PieceSize - taken
		if most = max(most, ahead); most == ahead && ahead >= aheadMost-(aheadStep+2)*types.PieceSize {
			select {
			case <-reached:
			default:
				close(reached)
			}
		}
		if limit := min(aheadFirst+4*taken, aheadMost) + 2*types.PieceSize; ahead > limit {
			t.Errorf("%d bytes ahead after %d, limit %d", ahead, taken, limit)
		}
	}
	n, err := far.Cat(t.Context(), ref, k, 0, -1)
	if err != nil || n != filmSize {
		t.Fatalf("%d bytes: %v", n, err)
	}
}

// TestFirstByte: the reader has the first bytes before the rest is there.
func TestFirstByte(t *testing.T) {
	t.Parallel()
	far, from, ref, _ := cinema(t)
	began := make(chan struct{})
	var once sync.Once
	from.each = func(given int64) {
		if given == 3 {
			<-began
		}
	}
	k := &taker{check: func([]byte, int64) error { once.Do(func() { close(began) }); return nil }}
	n, err := far.Cat(t.Context(), ref, k, 5<<20, 4<<20)
	if err != nil || n != 4<<20 {
		t.Fatalf("%d bytes: %v", n, err)
	}
	if got := from.given.Load(); got > 18 {
		t.Errorf("%d pieces for 4 MiB", got)
	}
}

// TestReaderLeaves: a reader that goes away ends the fetching.
func TestReaderLeaves(t *testing.T) {
	t.Parallel()
	far, from, ref, _ := cinema(t)
	k := &taker{check: func(_ []byte, at int64) error {
		if at >= 1<<20 {
			return errGone
		}
		return nil
	}}
	_, err := far.Cat(t.Context(), ref, k, 0, -1)
	wantIs(t, err, errGone)
	if got := from.given.Load() * types.PieceSize; got > 10<<20 {
		t.Errorf("%d bytes were fetched for one MiB", got)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	from.each = func(given int64) {
		if given > 30 {
			cancel(errGone)
		}
	}
	_, err = far.Cat(ctx, ref, &taker{check: func([]byte, int64) error { return nil }}, 10<<20, -1)
	wantIs(t, err, errGone)
	if len(far.flying.by) > 0 {
		t.Errorf("%d pieces are marked as under way", len(far.flying.by))
	}
	n, err := far.Cat(t.Context(), ref, &taker{check: func([]byte, int64) error { return nil }}, 0, -1)
	if err != nil || n != filmSize || from.given.Load() > filmSize/types.PieceSize+4 {
		t.Errorf("%d bytes, %d pieces in all: %v", n, from.given.Load(), err)
	}
}

// TestManyReaders: what several read at once is fetched once.
func TestManyReaders(t *testing.T) {
	t.Parallel()
	far, from, ref, film := cinema(t)
	var work sync.WaitGroup
	for range 12 {
		work.Go(func() {
			var b bytes.Buffer
			if _, err := far.Cat(t.Context(), ref, &b, 1<<20, 6<<20); err != nil || !bytes.Equal(b.Bytes(), film[1<<20:7<<20]) {
				t.Errorf("%d bytes: %v", b.Len(), err)
			}
		})
	}
	work.Wait()
	if got := from.given.Load(); got > 6*4+2 {
		t.Errorf("%d pieces were fetched for 6 MiB", got)
	}
}

// TestSourceFails: what came before is written, then the error comes.
func TestSourceFails(t *testing.T) {
	t.Parallel()
	far, from, ref, film := cinema(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	from.each = func(given int64) {
		if given == 6 {
			cancel(errGone)
		}
	}
	var b bytes.Buffer
	n, err := far.Cat(ctx, ref, &b, 0, -1)
	wantIs(t, err, errGone)
	if n > 6*types.PieceSize || !bytes.Equal(b.Bytes(), film[:n]) {
		t.Errorf("%d bytes", n)
	}
}

// TestReadAheadOfText: a megabyte of text may lie in one piece, or be spread
// unevenly; the reader gets all of it.
func TestReadAheadOfText(t *testing.T) {
	t.Parallel()
	text := append(bytes.Repeat([]byte("all work and no play\n"), 300_000), prose(3, 4<<20)...)
	text = append(append(noise(5, 300_000), text...), bytes.Repeat([]byte("x"), 9<<20)...)
	folder := t.TempDir()
	ok(t, os.WriteFile(filepath.Join(folder, "text.txt"), text, 0o600))
	s := open(t, t.TempDir(), nil)
	p := s.mustPut(t, folder)
	ref := p.Ref()
	ref.Path = "text.txt"
	for _, from := range []int64{0, 299_999, 5 << 20, int64(len(text)) - 1} {
		far := open(t, t.TempDir(), &feed{peer: &peer{of: s.Library}})
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		var b bytes.Buffer
		_, err := far.Cat(ctx, ref, &b, from, -1)
		cancel()
		if err != nil || !bytes.Equal(b.Bytes(), text[from:]) {
			t.Errorf("from %d: %d bytes: %v", from, b.Len(), err)
		}
	}
}
