package library

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/staddle/staddle/store"
	"github.com/staddle/staddle/types"
)

// A child process does one job and is killed in the middle of it. Its words are
// in the environment: what, store, folder or target, store of the peer, root.
const childEnv = "STADDLE_LIBRARY_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		if err := child(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func child(args []string) error {
	l, err := childLibrary(args[1], nil)
	if err != nil {
		return err
	}
	ctx := context.Background()
	how := map[string]PutOptions{"put": public, "place": placedPut}
	if o, put := how[args[0]]; put {
		fmt.Println("ready")
		_, err := l.Put(ctx, args[2], o, Watch{})
		return err
	}
	near, err := childLibrary(args[3], nil)
	if err != nil {
		return err
	}
	l.Source = &peer{of: near}
	ref, err := ParseRef(args[4])
	if err != nil {
		return err
	}
	fmt.Println("ready")
	_, err = l.Get(ctx, ref, args[2], GetOptions{}, Watch{})
	return err
}

func childLibrary(dir string, src Source) (*Library, error) {
	st, err := store.Open(dir, store.Options{SegmentSize: 8 << 20})
	if err != nil {
		return nil, err
	}
	return New(Config{
		State: st, Pieces: st.Pieces(), Reserve: Rooms(st.Pieces().Reserve), Source: src,
		Now: func() types.Millis { return 1 },
	})
}

// killed runs a child and kills it after a time from its start of work. It says
// whether the child was still at work.
func killed(t *testing.T, after time.Duration, args ...string) bool {
	t.Helper()
	exe, err := os.Executable()
	ok(t, err)
	c := exec.Command(exe, args...)
	c.Env = append(os.Environ(), childEnv+"=1")
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	ok(t, err)
	ok(t, c.Start())
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("child says %q, %v", line, errors.Join(err, c.Wait()))
	}
	timer := time.AfterFunc(after, func() { _ = c.Process.Kill() })
	defer timer.Stop()
	err = c.Wait()
	if exit := new(exec.ExitError); errors.As(err, &exit) && exit.ExitCode() != -1 {
		t.Fatalf("child failed by itself: %v", err)
	}
	return err != nil
}

// moments are random times to kill at, within a job that takes about long.
func moments(t *testing.T, n int, long time.Duration) (out []time.Duration) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d, job takes %v", seed, long)
	r := rand.New(rand.NewPCG(seed, 1))
	for range n {
		out = append(out, time.Duration(r.Int64N(int64(long))))
	}
	return out
}

// TestKilledPut: whatever the moment, the store is sound and holds the dataset or
// nothing; repeating the put ends well and leaves nothing else behind.
func TestKilledPut(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	plant(t, folder)
	ok(t, os.WriteFile(filepath.Join(folder, "more.bin"), noise(9, 12<<20), 0o644))
	began := time.Now()
	whole := open(t, t.TempDir(), nil)
	p := whole.mustPut(t, folder)
	want := whole.usage(t).Live

	dir, caught := t.TempDir(), 0
	for i, after := range moments(t, 6, time.Since(began)) {
		if killed(t, after, "put", dir, folder) {
			caught++
		}
		s := open(t, dir, nil)
		s.sound(t)
		all, err := s.Datasets()
		ok(t, err)
		if len(all) > 0 {
			wholeHere(t, s, p.Ref())
		}
		if i%2 == 1 { // begin anew
			ok(t, s.Tidy())
			for range all {
				ok(t, s.Remove(p.Ref()))
			}
			if u := s.usage(t); u.Live != 0 {
				t.Fatalf("after %v: usage %+v", after, u)
			}
		}
		s.close(t)
	}
	t.Logf("%d killed at work", caught)
	s := open(t, dir, nil)
	before := s.usage(t).Live
	if again := s.mustPut(t, folder); again.Ref() != p.Ref() || again.Stored != want-before {
		t.Fatalf("root %s, stored %d with %d of %d kept", again.Attachment.Index, again.Stored, before, want)
	}
	wholeHere(t, s, p.Ref())
	left, err := s.Leftovers()
	ok(t, err)
	if u := s.usage(t); u.Live != want || len(left) != 0 {
		t.Fatalf("usage %+v, want %d live; left %+v", u, want, left)
	}
}

// TestKilledGet: whatever the moment, the target is whole or not there, and what
// was fetched is not fetched again.
func TestKilledGet(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	plant(t, folder)
	ok(t, os.WriteFile(filepath.Join(folder, "more.bin"), noise(9, 12<<20), 0o644))
	near := open(t, t.TempDir(), nil)
	p := near.mustPut(t, folder)
	want := tree(t, folder)
	ref := p.Ref()
	began := time.Now()
	_, err := open(t, t.TempDir(), &peer{of: near.Library}).Get(t.Context(), ref, filepath.Join(t.TempDir(), "x"), GetOptions{}, Watch{})
	ok(t, err)
	long := time.Since(began)
	near.close(t)

	dir, out, caught := t.TempDir(), filepath.Join(t.TempDir(), "out"), 0
	for _, after := range moments(t, 6, long) {
		if killed(t, after, "get", dir, out, near.dir, ref.String()) {
			caught++
		}
		s := open(t, dir, nil)
		s.sound(t)
		s.close(t)
		_, err := os.Stat(out)
		if err == nil {
			if d := cmp.Diff(want, tree(t, out)); d != "" {
				t.Fatal(d)
			}
			ok(t, os.RemoveAll(out))
		} else if !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	t.Logf("%d killed at work", caught)
	near = open(t, near.dir, nil)
	from := &peer{of: near.Library}
	s := open(t, dir, from)
	before := s.usage(t).Live
	got, err := s.Get(t.Context(), ref, out, GetOptions{}, Watch{})
	ok(t, err)
	if got.Bytes+before != int64(p.Attachment.Size) {
		t.Fatalf("fetched %d with %d of %d held", got.Bytes, before, p.Attachment.Size)
	}
	if d := cmp.Diff(want, tree(t, out)); d != "" {
		t.Fatal(d)
	}
	wholeHere(t, s, ref)
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(out), ".*")); len(left) > 0 {
		t.Fatalf("left over: %q", left)
	}
}
