// Package storetest holds what every store must do, as one suite, and a store in
// memory for the tests of other packages.
package storetest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/staddle/staddle/store"
	"github.com/staddle/staddle/types"
)

// New is an empty store in memory that is closed when the test ends.
func New(t testing.TB) *store.Store {
	t.Helper()
	s, err := store.Memory(store.Options{SegmentSize: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil && !errors.Is(err, store.ErrClosed) {
			t.Error(err)
		}
	})
	return s
}

// Quota is what the stores handed to Run must allow, in bytes.
const Quota = 4 << 20

// Run checks the promises of a store. open gives an empty one with that Quota
// and small segments; reopen closes a store and opens it again.
func Run(t *testing.T, open func(testing.TB) *store.Store, reopen func(testing.TB, *store.Store) *store.Store) {
	tests := []struct {
		name string
		run  func(*testing.T, *store.Store)
	}{
		{"nodes", nodes},
		{"tables", tables},
		{"batch is all or nothing", batches},
		{"pieces", pieces},
		{"pieces refused", piecesRefused},
		{"owners", owners},
		{"reservation", reservation},
		{"released reservation", released},
		{"quota", quota},
		{"replicas", replicas},
		{"files of a lot", files},
		{"compaction", compaction},
		{"closed", closed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { tt.run(t, open(t)) })
	}
	t.Run("reopen", func(t *testing.T) { reopened(t, open(t), reopen) })
}

// Piece is n bytes that depend on seed.
func Piece(seed uint64, n int) []byte {
	out := make([]byte, 0, n+32)
	for i := uint64(0); len(out) < n; i++ {
		h := types.H("storetest", binary.BigEndian.AppendUint64(nil, seed), binary.BigEndian.AppendUint64(nil, i))
		out = append(out, h[:]...)
	}
	return out[:n]
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantIs(t testing.TB, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("error %v, want %v", err, target)
	}
}

func wantMissing(t testing.TB, err error, digest types.Hash) {
	t.Helper()
	var gap *types.Missing
	if !errors.As(err, &gap) || types.Digest(gap.CID) != digest {
		t.Fatalf("error %v, want missing %s", err, digest)
	}
}

func equal(t testing.TB, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Fatal(d)
	}
}

func nodes(t *testing.T, s *store.Store) {
	n := types.NewNode([]byte{0x81, 0x01})
	_, err := s.Node(n.CID)
	wantMissing(t, err, types.Digest(n.CID))
	equal(t, false, must[bool](t)(s.HasNode(n.CID)))
	b := s.Batch()
	b.PutNode(n)
	ok(t, b.Commit())
	equal(t, n.Bytes, must[[]byte](t)(s.Node(n.CID)))
	equal(t, true, must[bool](t)(s.HasNode(n.CID)))
	_, err = s.Node(types.RawCID(n.Bytes))
	wantMissing(t, err, types.Digest(n.CID)) // same digest, another codec
}

func scanned(t testing.TB, s *store.Store, table, prefix, from string) (rows []string) {
	t.Helper()
	ok(t, s.Scan(table, prefix, from, func(k string, v []byte) error {
		rows = append(rows, k+"="+string(v))
		return nil
	}))
	return rows
}

func tables(t *testing.T, s *store.Store) {
	b := s.Batch()
	for _, k := range []string{"b", "a/2", "a/1", "a/\xff", "a0"} {
		b.Set("one", k, []byte("v"+k))
	}
	b.Set("one", "empty", nil)
	b.Set("on", "e/a", []byte("other table"))
	ok(t, b.Commit())
	equal(t, []string{"a/1=va/1", "a/2=va/2", "a/\xff=va/\xff", "a0=va0", "b=vb", "empty="}, scanned(t, s, "one", "", ""))
	equal(t, []string{"a/2=va/2", "a/\xff=va/\xff"}, scanned(t, s, "one", "a/", "a/2"))
	equal(t, []string(nil), scanned(t, s, "one", "a/", "b"))
	equal(t, []string{"e/a=other table"}, scanned(t, s, "on", "", ""))
	v, found, err := s.Get("one", "empty")
	if err != nil || !found || len(v) != 0 {
		t.Fatalf("empty row: %q %v %v", v, found, err)
	}
	b = s.Batch()
	b.Delete("one", "b")
	b.Delete("one", "never was")
	ok(t, b.Commit())
	_, found, err = s.Get("one", "b")
	if err != nil || found {
		t.Fatalf("deleted row: %v %v", found, err)
	}
	stop := errors.New("stop")
	if err := s.Scan("one", "", "", func(string, []byte) error { return stop }); !errors.Is(err, stop) {
		t.Fatalf("scan gives %v", err)
	}
	// A scan sees neither deletions nor additions of its own function.
	ok(t, s.Scan("one", "a/", "", func(k string, _ []byte) error {
		b := s.Batch()
		b.Delete("one", k)
		b.Set("one", k+"+", nil)
		return b.Commit()
	}))
	equal(t, []string{"a/1+=", "a/2+=", "a/\xff+="}, scanned(t, s, "one", "a/", ""))
}

func batches(t *testing.T, s *store.Store) {
	n := types.NewNode([]byte{0x01})
	bad := map[string]func(*store.Batch){
		"wrong hash":   func(b *store.Batch) { b.PutNode(types.Node{CID: n.CID, Bytes: []byte{0x02}}) },
		"huge node":    func(b *store.Batch) { b.PutNode(types.NewNode(make([]byte, store.MaxNode+1))) },
		"no CID":       func(b *store.Batch) { b.PutNode(types.Node{Bytes: []byte{1}}) },
		"huge row":     func(b *store.Batch) { b.Set("t", "k", make([]byte, store.MaxRow+1)) },
		"long key":     func(b *store.Batch) { b.Set("t", string(make([]byte, store.MaxKey+1)), nil) },
		"no table":     func(b *store.Batch) { b.Set("", "k", nil) },
		"long table":   func(b *store.Batch) { b.Delete(string(make([]byte, store.MaxTable+1)), "k") },
		"used already": func(b *store.Batch) { _ = b.Commit() },
	}
	for name, do := range bad {
		b := s.Batch()
		if name != "used already" {
			b.PutNode(n)
			b.Set("t", "k", []byte("v"))
		}
		do(b)
		if err := b.Commit(); err == nil {
			t.Errorf("%s: committed", name)
		}
	}
	if has, err := s.HasNode(n.CID); err != nil || has {
		t.Errorf("a refused batch left its node: %v %v", has, err)
	}
	if _, found, err := s.Get("t", "k"); err != nil || found {
		t.Errorf("a refused batch left its row: %v %v", found, err)
	}
}

func pieces(t *testing.T, s *store.Store) {
	p := s.Pieces()
	res := must[*store.Reservation](t)(p.Reserve("a", 1<<20))
	for _, n := range []int{1, 1000, types.PieceSize} {
		want := Piece(uint64(n), n)
		digest := types.Digest(types.RawCID(want))
		_, err := p.Get(digest)
		wantMissing(t, err, digest)
		equal(t, digest, must[types.Hash](t)(res.Put(want)))
		equal(t, true, bytes.Equal(want, must[[]byte](t)(p.Get(digest))))
		equal(t, int64(n), must[int64](t)(p.Size(digest)))
		equal(t, want[n/2:n/2+n/3], must[[]byte](t)(p.ReadAt(digest, int64(n/2), int64(n/3))))
	}
	lazy := Piece(7, 777)
	digest := must[types.Hash](t)(res.PutLazy(lazy))
	equal(t, lazy, must[[]byte](t)(p.Get(digest)))
	ok(t, res.Sync())
	ok(t, res.Commit())
	for _, r := range [][2]int64{{-1, 1}, {0, 778}, {777, 1}, {1, -1}, {1 << 62, 1 << 62}} {
		if _, err := p.ReadAt(digest, r[0], r[1]); err == nil {
			t.Errorf("read at %d, %d bytes", r[0], r[1])
		}
	}
}

func piecesRefused(t *testing.T, s *store.Store) {
	p := s.Pieces()
	res := must[*store.Reservation](t)(p.Reserve("a", 1<<20))
	for _, n := range []int{0, types.PieceSize + 1} {
		if _, err := res.Put(make([]byte, n)); err == nil {
			t.Errorf("a piece of %d bytes is stored", n)
		}
	}
	for _, name := range []string{"", string(make([]byte, store.MaxOwner+1))} {
		if _, err := p.Reserve(name, 1); err == nil {
			t.Errorf("an owner's name of %d bytes is taken", len(name))
		}
		if err := p.Release(name); err == nil {
			t.Errorf("an owner's name of %d bytes is released", len(name))
		}
	}
	if _, err := p.Reserve("a", -1); err == nil {
		t.Error("a negative reservation is granted")
	}
}

func put(t testing.TB, s *store.Store, owner string, pieces ...[]byte) (digests []types.Hash) {
	t.Helper()
	total := 0
	for _, p := range pieces {
		total += len(p)
	}
	res := must[*store.Reservation](t)(s.Pieces().Reserve(owner, int64(total)))
	for _, p := range pieces {
		digests = append(digests, must[types.Hash](t)(res.Put(p)))
	}
	ok(t, res.Commit())
	return digests
}

func owned(t testing.TB, s *store.Store, owner string) (out []types.Hash) {
	t.Helper()
	ok(t, s.Pieces().Owned(owner, func(h types.Hash) error { out = append(out, h); return nil }))
	return out
}

func owners(t *testing.T, s *store.Store) {
	one, two, shared := Piece(1, 1000), Piece(2, 1000), Piece(3, 1000)
	a := put(t, s, "a", one, shared, one)
	b := put(t, s, "ab", two, shared)
	use := must[store.Usage](t)(s.Usage())
	equal(t, [3]int64{3000, 3, 0}, [3]int64{use.Live, use.Count, use.Reserved})
	want := []types.Hash{a[0], a[1]}
	slices.SortFunc(want, func(x, y types.Hash) int { return bytes.Compare(x[:], y[:]) })
	equal(t, want, owned(t, s, "a"))
	ok(t, s.Pieces().Release("a"))
	equal(t, []types.Hash(nil), owned(t, s, "a"))
	equal(t, false, must[bool](t)(s.Pieces().Has(a[0])))
	_, err := s.Pieces().ReadAt(a[0], 0, 1)
	wantMissing(t, err, a[0])
	equal(t, shared, must[[]byte](t)(s.Pieces().Get(b[1])))
	use = must[store.Usage](t)(s.Usage())
	equal(t, [2]int64{2000, 2}, [2]int64{use.Live, use.Count})
	ok(t, s.Pieces().Release("a")) // again: nothing to do
	ok(t, s.Pieces().Release("ab"))
	use = must[store.Usage](t)(s.Usage())
	equal(t, [2]int64{0, 0}, [2]int64{use.Live, use.Count})
	equal(t, a[:1], put(t, s, "c", one)) // what was released can come back
	equal(t, one, must[[]byte](t)(s.Pieces().Get(a[0])))
}

func reservation(t *testing.T, s *store.Store) {
	res := must[*store.Reservation](t)(s.Pieces().Reserve("a", 2500))
	must[types.Hash](t)(res.Put(Piece(1, 1000)))
	must[types.Hash](t)(res.Put(Piece(1, 1000))) // free
	must[types.Hash](t)(res.Put(Piece(2, 1000)))
	equal(t, int64(500), res.Left())
	_, err := res.Put(Piece(3, 501))
	wantIs(t, err, store.ErrQuota)
	use := must[store.Usage](t)(s.Usage())
	equal(t, [2]int64{500, 2000}, [2]int64{use.Reserved, use.Live})
	ok(t, res.Commit())
	use = must[store.Usage](t)(s.Usage())
	equal(t, [2]int64{0, 2000}, [2]int64{use.Reserved, use.Live})
	_, err = res.Put(Piece(3, 1))
	wantIs(t, err, store.ErrSettled)
	wantIs(t, res.Commit(), store.ErrSettled)
	wantIs(t, res.Release(), store.ErrSettled)
}

func released(t *testing.T, s *store.Store) {
	before := put(t, s, "a", Piece(1, 1000))
	res := must[*store.Reservation](t)(s.Pieces().Reserve("a", 5000))
	must[types.Hash](t)(res.Put(Piece(1, 1000)))
	gone := must[types.Hash](t)(res.Put(Piece(2, 1000)))
	ok(t, res.Release())
	equal(t, before, owned(t, s, "a"))
	equal(t, false, must[bool](t)(s.Pieces().Has(gone)))
	use := must[store.Usage](t)(s.Usage())
	equal(t, [2]int64{0, 1000}, [2]int64{use.Reserved, use.Live})
}

func quota(t *testing.T, s *store.Store) {
	p := s.Pieces()
	put(t, s, "a", Piece(1, 1000))
	_, err := p.Reserve("b", Quota-999)
	wantIs(t, err, store.ErrQuota)
	var q *store.QuotaError
	if !errors.As(err, &q) {
		t.Fatal(err)
	}
	equal(t, [3]int64{Quota - 999, Quota - 1000, Quota}, [3]int64{q.Want, q.Free, q.Quota})
	res := must[*store.Reservation](t)(p.Reserve("b", Quota-1000))
	_, err = p.Reserve("c", 1)
	wantIs(t, err, store.ErrQuota)
	_, err = s.Replicas().Reserve(types.LotID{1}, 1)
	wantIs(t, err, store.ErrQuota)
	ok(t, res.Release())
	ok(t, s.SetQuota(500))
	_, err = p.Reserve("c", 1)
	wantIs(t, err, store.ErrQuota)
	ok(t, p.Release("a"))
	must[*store.Reservation](t)(p.Reserve("c", 500))
	if s.SetQuota(-1) == nil {
		t.Fatal("a negative quota is set")
	}
}

func replicas(t *testing.T, s *store.Store) {
	r, lot, other := s.Replicas(), types.LotID{1}, types.LotID{2}
	res := must[*store.LotReservation](t)(r.Reserve(lot, 1<<20))
	big := Piece(9, types.PieceSize+256) // an encoding may be longer than the piece
	ok(t, res.Put(0, 0, big))
	ok(t, res.PutLazy(0, 255, Piece(1, 100)))
	ok(t, res.Put(63, 7, Piece(1, 100))) // same bytes, another place
	if err := res.Put(0, types.MaxRangePieces, big); err == nil {
		t.Fatal("piece 256 of a range is stored")
	}
	equal(t, int64(1<<20-len(big)-200), res.Left())
	have := must[store.Bitmap](t)(r.Have(lot, 0))
	equal(t, []any{true, false, true, false, 2}, []any{have.Has(0), have.Has(1), have.Has(255), have.Has(256), have.Count()})
	equal(t, store.Bitmap{}, must[store.Bitmap](t)(r.Have(other, 0)))
	equal(t, big[4096:8192], must[[]byte](t)(r.ReadAt(lot, 0, 0, 4096, 4096)))
	equal(t, true, bytes.Equal(big, must[[]byte](t)(r.Get(lot, 0, 0))))
	_, err := r.Get(other, 0, 0)
	wantIs(t, err, store.ErrAbsent)

	ok(t, res.Put(63, 7, Piece(2, 150))) // a new attempt replaces
	equal(t, Piece(2, 150), must[[]byte](t)(r.Get(lot, 63, 7)))
	use := must[store.Usage](t)(s.Usage())
	equal(t, [2]int64{int64(len(big)) + 250, 3}, [2]int64{use.Live, use.Count})
	ok(t, res.Commit())

	second := must[*store.LotReservation](t)(r.Reserve(other, 100))
	ok(t, second.Put(0, 0, Piece(1, 100)))
	ok(t, second.Commit())
	var lots []types.LotID
	ok(t, r.Lots(func(l types.LotID) error { lots = append(lots, l); return nil }))
	equal(t, []types.LotID{lot, other}, lots)
	ok(t, r.Drop(lot))
	equal(t, store.Bitmap{}, must[store.Bitmap](t)(r.Have(lot, 0)))
	use = must[store.Usage](t)(s.Usage())
	equal(t, [2]int64{100, 1}, [2]int64{use.Live, use.Count})
}

func files(t *testing.T, s *store.Store) {
	r, lot, other := s.Replicas(), types.LotID{1}, types.LotID{1, 1}
	ok(t, r.SetFile(lot, "modulus", []byte{1, 2}))
	ok(t, r.SetFile(lot, "leaves", nil))
	ok(t, r.SetFile(lot, "modulus", []byte{3}))
	ok(t, r.SetFile(other, "modulus", []byte{9}))
	equal(t, []string{"leaves", "modulus"}, must[[]string](t)(r.Files(lot)))
	b, found, err := r.File(lot, "modulus")
	equal(t, []any{[]byte{3}, true, error(nil)}, []any{b, found, err})
	ok(t, r.Drop(lot))
	_, found, err = r.File(lot, "modulus")
	equal(t, []any{false, error(nil)}, []any{found, err})
	_, found, _ = r.File(other, "modulus")
	equal(t, true, found)
	if r.SetFile(lot, "", nil) == nil || r.SetFile(lot, "x", make([]byte, store.MaxFile+1)) == nil {
		t.Fatal("a file without name or above the limit is stored")
	}
}

func compaction(t *testing.T, s *store.Store) {
	var keep, drop [][]byte
	for i := range uint64(60) {
		if p := Piece(i, 20_000); i%3 == 0 {
			keep = append(keep, p)
			put(t, s, "keep", p)
		} else {
			drop = append(drop, p)
			put(t, s, "drop", p)
		}
	}
	before := must[store.Usage](t)(s.Usage())
	ok(t, s.Pieces().Release("drop"))
	ok(t, s.Compact())
	ok(t, s.Trouble())
	after := must[store.Usage](t)(s.Usage())
	if after.Dead != 0 || after.Disk > before.Disk/2 || after.Live != int64(len(keep))*20_000 {
		t.Fatalf("before %+v, after %+v", before, after)
	}
	for _, p := range keep {
		equal(t, true, bytes.Equal(p, must[[]byte](t)(s.Pieces().Get(types.Digest(types.RawCID(p))))))
	}
	for _, p := range drop {
		equal(t, false, must[bool](t)(s.Pieces().Has(types.Digest(types.RawCID(p)))))
	}
	noProblems(t, s)
}

func noProblems(t testing.TB, s *store.Store) {
	t.Helper()
	seen := must[store.Verified](t)(s.Verify(func(p store.Problem) error { return fmt.Errorf("problem: %w", &p) }))
	use := must[store.Usage](t)(s.Usage())
	if seen.Records < use.Count || seen.Bytes != use.Disk {
		t.Fatalf("verified %+v of %+v", seen, use)
	}
}

func closed(t *testing.T, s *store.Store) {
	res := must[*store.Reservation](t)(s.Pieces().Reserve("a", 100))
	b := s.Batch()
	ok(t, s.Close())
	wantIs(t, s.Close(), store.ErrClosed)
	wantIs(t, b.Commit(), store.ErrClosed)
	_, err := res.Put([]byte{1})
	wantIs(t, err, store.ErrClosed)
	wantIs(t, res.Sync(), store.ErrClosed)
	wantIs(t, res.Release(), store.ErrClosed)
	_, err = s.Node(types.NodeCID(nil))
	wantIs(t, err, store.ErrClosed)
	_, err = s.Pieces().Get(types.Hash{})
	wantIs(t, err, store.ErrClosed)
	_, err = s.Pieces().Reserve("a", 1)
	wantIs(t, err, store.ErrClosed)
	wantIs(t, s.Scan("t", "", "", nil), store.ErrClosed)
	_, err = s.Replicas().Have(types.LotID{}, 0)
	wantIs(t, err, store.ErrClosed)
	_, err = s.Usage()
	wantIs(t, err, store.ErrClosed)
	wantIs(t, s.Compact(), store.ErrClosed)
}

func reopened(t *testing.T, s *store.Store, reopen func(testing.TB, *store.Store) *store.Store) {
	n := types.NewNode([]byte{0x05})
	b := s.Batch()
	b.PutNode(n)
	b.Set("tip", "x", n.CID.Bytes())
	ok(t, b.Commit())
	digests := put(t, s, "a", Piece(1, types.PieceSize), Piece(2, 10))
	res := must[*store.Reservation](t)(s.Pieces().Reserve("job", 100))
	lazy := must[types.Hash](t)(res.PutLazy(Piece(3, 50)))
	lot := must[*store.LotReservation](t)(s.Replicas().Reserve(types.LotID{4}, 100))
	ok(t, lot.Put(1, 2, Piece(4, 100)))
	before := must[store.Usage](t)(s.Usage())
	s = reopen(t, s)
	after := must[store.Usage](t)(s.Usage())
	before.Reserved = 0 // ends with the process
	equal(t, before, after)
	equal(t, n.Bytes, must[[]byte](t)(s.Node(n.CID)))
	for _, d := range append(digests, lazy) {
		must[[]byte](t)(s.Pieces().Get(d))
	}
	equal(t, []types.Hash{lazy}, owned(t, s, "job"))
	equal(t, Piece(4, 100), must[[]byte](t)(s.Replicas().Get(types.LotID{4}, 1, 2)))
	put(t, s, "a", Piece(5, 1000))
	noProblems(t, s)
}
