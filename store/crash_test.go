package store

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/types"
)

// acknowledged is what the killed processes said they had stored.
type acknowledged struct {
	pieces map[types.Hash]string // digest -> owner, not released
	blocks []cid.Cid
	lots   []types.LotID
}

func (a *acknowledged) note(t *testing.T, line string) {
	t.Helper()
	switch line[0] {
	case '+':
		digest, owner, _ := strings.Cut(line[1:], " ")
		h, err := types.ParseHash(digest)
		if err != nil {
			t.Fatal(err)
		}
		a.pieces[h] = owner
	case '-':
		for h, owner := range a.pieces {
			if owner == line[1:] {
				delete(a.pieces, h)
			}
		}
	case 'n':
		c, err := cid.Parse(line[1:])
		if err != nil {
			t.Fatal(err)
		}
		a.blocks = append(a.blocks, c)
	case 'r':
		h, err := types.ParseHash(line[1:])
		if err != nil {
			t.Fatal(err)
		}
		a.lots = append(a.lots, h)
	}
}

func (a *acknowledged) check(t *testing.T, s *Store) {
	t.Helper()
	for h, owner := range a.pieces {
		if _, err := s.Pieces().Get(h); err != nil {
			t.Fatalf("acknowledged piece of %s: %v", owner, err)
		}
		if b, err := s.index().get(pieceOwner(owner).row(h)); err != nil || b == nil {
			t.Fatalf("acknowledged piece %s lost its owner %s: %v", h, owner, err)
		}
	}
	for _, c := range a.blocks {
		if _, err := s.Node(c); err != nil {
			t.Fatalf("acknowledged block: %v", err)
		}
	}
	for _, lot := range a.lots {
		if _, err := s.Replicas().Get(lot, 1, 2); err != nil {
			t.Fatalf("acknowledged replica: %v", err)
		}
	}
	noProblems(t, s)
}

func pieceOwner(name string) owner { return owner{kindPiece, name} }
func (s *Store) index() *index     { return s.records().index }
func child(dir string) *exec.Cmd   { return exec.Command(os.Args[0]) }

func noProblems(t testing.TB, s *Store) {
	t.Helper()
	if _, err := s.Verify(func(p Problem) error { return &p }); err != nil {
		t.Fatal(err)
	}
}

// TestAcknowledgedSurvivesKill is the law "an acknowledged byte survives
// kill -9", with real processes killed at random moments.
func TestAcknowledgedSurvivesKill(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	said := &acknowledged{pieces: map[types.Hash]string{}}
	for range 6 {
		killed(t, dir, said, rng.IntN(250))
		s, err := Open(dir, killOptions)
		if err != nil {
			t.Fatal(err)
		}
		said.check(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(said.pieces) == 0 || len(said.blocks) == 0 {
		t.Fatal("nothing was acknowledged")
	}
	t.Logf("%d pieces, %d blocks, %d replicas", len(said.pieces), len(said.blocks), len(said.lots))
}

// killed runs a process until it has said some lines, and kills it.
func killed(t *testing.T, dir string, said *acknowledged, lines int) {
	t.Helper()
	cmd := child(dir)
	cmd.Env = append(os.Environ(), "STORE_CHILD="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewScanner(out)
	for n := 0; in.Scan(); n++ {
		if n == lines {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
		said.note(t, in.Text()) // also what was said before the kill arrived
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != -1 {
		t.Fatalf("the process ended by itself: %v", err)
	}
}

func TestSecondProcessIsLockedOut(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, killOptions)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, killOptions); !errors.Is(err, ErrLocked) {
		t.Errorf("second open in this process: %v", err)
	}
	cmd := child(dir)
	cmd.Env = append(os.Environ(), "STORE_CHILD="+dir)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 3 || string(out) != "locked\n" {
		t.Errorf("second process: %q %v", out, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(dir, killOptions); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestPowerCut: what was synced survives also when the disk forgets any part of
// the rest.
func TestPowerCut(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	disk := vfs.NewCrashableMem()
	opt := Options{fs: disk, SegmentSize: leastSegment, Margin: 1}
	held := map[types.Hash]string{}
	for round := range uint64(12) {
		opt.fs = disk
		s := mustOpen(t, "/d", opt)
		for h, o := range held {
			if b, err := s.index().get(pieceOwner(o).row(h)); err != nil || b == nil {
				t.Fatalf("round %d: owner %s of %s: %v", round, o, h, err)
			}
			if _, err := s.Pieces().Get(h); err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
		}
		noProblems(t, s)
		crash := rng.IntN(40)
		for i := range 40 {
			if i == crash {
				disk = disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
				break
			}
			powerStep(t, s, rng, held, fmt.Sprint(round, "-", i))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func powerStep(t *testing.T, s *Store, rng *rand.Rand, held map[types.Hash]string, owner string) {
	t.Helper()
	res, err := s.Pieces().Reserve(owner, 100_000)
	if err != nil {
		t.Fatal(err)
	}
	b := noise(rng.Uint64(), 0, 1+rng.IntN(30_000))
	switch rng.IntN(4) {
	case 0:
		if _, err := res.PutLazy(b); err != nil {
			t.Fatal(err)
		}
	case 1:
		for h, o := range held {
			delete(held, h)
			if err := s.Pieces().Release(o); err != nil {
				t.Fatal(err)
			}
			break
		}
	case 2:
		if err := s.Compact(); err != nil {
			t.Fatal(err)
		}
	default:
		h, err := res.Put(b)
		if err != nil {
			t.Fatal(err)
		}
		held[h] = owner
	}
}

func mustOpen(t testing.TB, dir string, o Options) *Store {
	t.Helper()
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil && !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	})
	return s
}

func reserve(t testing.TB, s *Store, owner string, n int64) *Reservation {
	t.Helper()
	res, err := s.Pieces().Reserve(owner, n)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func putPiece(t testing.TB, res *Reservation, b []byte) types.Hash {
	t.Helper()
	h, err := res.Put(b)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// segmentOf gives the file and the place of a piece in a store that is open.
func segmentOf(t testing.TB, s *Store, h types.Hash) (string, place) {
	t.Helper()
	e, ok, err := s.index().entry(id{kindPiece, h})
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	return s.records().segs.get(e.segment).disk.shelf.(*folder).path(e.segment), e.place
}

// TestTornTail cuts the last segment at every kind of place behind what is
// indexed, and fills it with noise.
func TestTornTail(t *testing.T) {
	full := header{kind: kindPiece, key: types.Digest(types.RawCID([]byte("late"))), n: 4}
	full.sum = crc([]byte("late"))
	record := append(full.encode(), "late"...)
	for _, tt := range []struct {
		name string
		tail []byte
		kept bool
	}{
		{"whole record", record, true},
		{"cut payload", record[:len(record)-1], false},
		{"cut header", record[:recordHeader-1], false},
		{"one byte", record[:1], false},
		{"zeros", make([]byte, 5000), false},
		{"flipped payload", flip(record, len(record)-1), false},
		{"flipped header", flip(record, 20), false},
		{"noise", noise(1, 1, 3000), false},
		{"record and noise", append(bytes.Clone(record), noise(1, 1, 3000)...), true},
	} {
		t.Run(tt.name, func(t *testing.T) { tornTail(t, tt.tail, tt.kept) })
	}
}

func tornTail(t *testing.T, tail []byte, kept bool) {
	dir := t.TempDir()
	s := mustOpen(t, dir, Options{Margin: 1})
	first := putPiece(t, reserve(t, s, "a", 100), []byte("first"))
	name, _ := segmentOf(t, s, first)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, append(bytes.Clone(before), tail...), 0o600); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, dir, Options{Margin: 1})
	noProblems(t, s)
	want := int64(len(before))
	if kept {
		want += recordHeader + 4
	}
	if use, err := s.Usage(); err != nil || use.Disk != want || use.Live != 5 {
		t.Fatalf("%+v %v, want %d on disk", use, err, want)
	}
	if info, err := os.Stat(name); err != nil || info.Size() != want {
		t.Fatalf("file of %d bytes %v, want %d", info.Size(), err, want)
	}
	late := types.Digest(types.RawCID([]byte("late")))
	if has, err := s.Pieces().Has(late); err != nil || has {
		t.Fatalf("a piece without an owner is held: %v %v", has, err)
	}
	// Putting it again writes nothing when it was kept.
	putPiece(t, reserve(t, s, "b", 4), []byte("late"))
	if !kept {
		want += recordHeader + 4
	}
	if use, _ := s.Usage(); use.Disk != want || use.Live != 9 || use.Count != 2 {
		t.Fatalf("%+v, want %d on disk", use, want)
	}
	for _, h := range []types.Hash{first, late} {
		if _, err := s.Pieces().Get(h); err != nil {
			t.Fatal(err)
		}
	}
}

func flip(b []byte, i int) []byte {
	b = bytes.Clone(b)
	b[i] ^= 0x40
	return b
}

// TestSegmentTornAtBirth: a crash while a segment file is made leaves too little
// of it.
func TestSegmentTornAtBirth(t *testing.T) {
	for _, b := range [][]byte{nil, segmentHead(2)[:7], make([]byte, 16), segmentHead(2)} {
		dir := t.TempDir()
		s := mustOpen(t, dir, Options{Margin: 1})
		h := putPiece(t, reserve(t, s, "a", 100), []byte("first"))
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "segments", segmentName(2)), b, 0o600); err != nil {
			t.Fatal(err)
		}
		s = mustOpen(t, dir, Options{Margin: 1})
		putPiece(t, reserve(t, s, "a", 100), []byte("second"))
		if _, err := s.Pieces().Get(h); err != nil {
			t.Fatal(err)
		}
		noProblems(t, s)
	}
}

// TestReleaseEndsAfterCrash: the intention is durable first, the rest follows at
// the next start.
func TestReleaseEndsAfterCrash(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir, Options{Margin: 1})
	h := putPiece(t, reserve(t, s, "a", 100), []byte("first"))
	keep := putPiece(t, reserve(t, s, "b", 100), []byte("keep"))
	lot := types.LotID{7}
	rep, err := s.Replicas().Reserve(lot, 100)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(rep.Put(0, 0, []byte("x")), s.Replicas().SetFile(lot, "f", []byte("y"))); err != nil {
		t.Fatal(err)
	}
	for _, o := range []owner{pieceOwner("a"), lotOwner(lot)} {
		if err := s.index().set(o.releasing(), []byte{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, dir, Options{Margin: 1})
	if has, _ := s.Pieces().Has(h); has {
		t.Error("the piece is still held")
	}
	if has, _ := s.Pieces().Has(keep); !has {
		t.Error("another owner's piece is gone")
	}
	if _, err := s.Replicas().Get(lot, 0, 0); !errors.Is(err, ErrAbsent) {
		t.Errorf("the replica is still held: %v", err)
	}
	if names, err := s.Replicas().Files(lot); err != nil || len(names) != 0 {
		t.Errorf("files %v %v", names, err)
	}
	if use, err := s.Usage(); err != nil || use.Live != 4 || use.Count != 1 {
		t.Errorf("%+v %v", use, err)
	}
	noProblems(t, s)
}

// cutter takes a copy of the disk, as a power cut would leave it, before the
// sync of the journal with a given number.
type cutter struct {
	disk *vfs.MemFS
	mu   sync.Mutex
	at   int // counts down; 0: not armed
	left *vfs.MemFS
}

func (c *cutter) String() string { return "cut the power at a sync" }
func (c *cutter) MaybeError(op errorfs.Op) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	sync := op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSyncTo
	if c.at == 0 || !sync || !strings.HasSuffix(op.Path, ".log") {
		return nil
	}
	if c.at--; c.at == 0 {
		c.left = c.disk.CrashClone(vfs.CrashCloneCfg{})
	}
	return nil
}

func (c *cutter) arm(at int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = at
}

// TestReleaseIsWhole: the power goes at each sync of a large release; afterwards
// all is there or nothing.
func TestReleaseIsWhole(t *testing.T) {
	const n = 17*releaseStep + 1
	outcomes := map[int64]int{}
	for at := 1; ; at++ {
		c := &cutter{disk: vfs.NewCrashableMem()}
		s := mustOpen(t, "/d", Options{fs: errorfs.Wrap(c.disk, c), Margin: 1})
		res := reserve(t, s, "a", 8*n)
		for i := range uint64(n) {
			if _, err := res.PutLazy(types.Be64(i)); err != nil {
				t.Fatal(err)
			}
		}
		if err := res.Commit(); err != nil {
			t.Fatal(err)
		}
		c.arm(at)
		if err := s.Pieces().Release("a"); err != nil {
			t.Fatal(err)
		}
		c.arm(0)
		if c.left == nil {
			break // fewer syncs than that
		}
		s = mustOpen(t, "/d", Options{fs: c.left, Margin: 1})
		use, err := s.Usage()
		if err != nil || use.Count != 0 && use.Count != n {
			t.Fatalf("power cut at sync %d leaves %d of %d pieces: %v", at, use.Count, n, err)
		}
		outcomes[use.Count]++
		noProblems(t, s)
	}
	if outcomes[n] == 0 || outcomes[0] < 2 {
		t.Fatalf("outcomes %v, want some before and some within", outcomes)
	}
}

// TestAdoptedRecordIsSynced: a record found behind the last indexed one is only
// in memory when the process alone died; it must reach the disk before a put
// relies on it.
func TestAdoptedRecordIsSynced(t *testing.T) {
	var failing failWrites
	disk := vfs.NewCrashableMem()
	s, err := Open("/d", Options{fs: errorfs.Wrap(disk, &failing), Margin: 1})
	if err != nil {
		t.Fatal(err)
	}
	putPiece(t, reserve(t, s, "a", 100), []byte("first"))
	failing.set(errorfs.OpFileSyncData, errors.New("process dies here"))
	if _, err := reserve(t, s, "a", 100).Put([]byte("second")); err == nil {
		t.Fatal("acknowledged without a sync")
	}
	if s.Close() == nil {
		t.Fatal("closed without a word")
	}
	s = mustOpen(t, "/d", Options{fs: disk, Margin: 1})
	before, _ := s.Usage()
	h := putPiece(t, reserve(t, s, "a", 100), []byte("second"))
	if after, _ := s.Usage(); after.Disk != before.Disk || after.Count != 2 {
		t.Fatalf("before %+v, after %+v", before, after)
	}
	s = mustOpen(t, "/d", Options{fs: disk.CrashClone(vfs.CrashCloneCfg{}), Margin: 1})
	if _, err := s.Pieces().Get(h); err != nil {
		t.Fatal(err)
	}
}

// TestLazyIsBounded: lazy pieces do not pile up without end.
func TestLazyIsBounded(t *testing.T) {
	s := mustOpen(t, t.TempDir(), Options{Margin: 1})
	res := reserve(t, s, "a", 2*lazyBytes)
	start := s.records().sync.ended
	for i := range uint64(lazyBytes/types.PieceSize + 8) {
		if _, err := res.PutLazy(noise(1, i, types.PieceSize)); err != nil {
			t.Fatal(err)
		}
	}
	if syncs := s.records().sync.ended - start; syncs != 1 {
		t.Fatalf("%d syncs, want 1", syncs)
	}
}
