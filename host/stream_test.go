package host

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/staddle/staddle/internal/chaintest"
	"github.com/staddle/staddle/replica"
	"github.com/staddle/staddle/types"
)

// TestRangeArrives lets encoder and host deal with a range of two pieces.
func TestRangeArrives(t *testing.T) {
	b := newBench(t, replica.RSAChain, []int{2}, 1500)
	rec, err := b.job(0, testKey(t, 0)).deliver(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b.mesh.Wait()
	want := []types.Commitment{{
		Lot: b.terms.lot, Attempt: b.rec.Attempt, Encoded: rec.Encoded, Plain: rec.Plain, Modulus: testKey(t, 0).Modulus().Hash(),
	}}
	if d := cmp.Diff(want, b.stored()); d != "" {
		t.Fatal(d)
	}
	if left := b.in.bytes.Load(); left != int64(b.terms.bytes()) {
		t.Fatalf("%d bytes count, want %d", left, b.terms.bytes())
	}
	for digest, p := range b.src {
		if digest == b.terms.ranges[0].ID {
			continue
		}
		for range 2 { // decoded, then out of the cache
			if got, err := b.h.Piece(t.Context(), digest); err != nil || !bytes.Equal(got, p) {
				t.Fatalf("piece %s: %d bytes, want %d: %v", digest.Short(), len(got), len(p), err)
			}
		}
	}
	if _, err := b.h.Piece(t.Context(), types.H("other")); !errors.Is(err, ErrNotHere) {
		t.Fatalf("error %v, want ErrNotHere", err)
	}
	proveAll(t, b)
}

// proveAll checks a leaf of each piece against the lot's root.
func proveAll(t *testing.T, b *bench) {
	t.Helper()
	entries, ok := b.in.kept.entries()
	if !ok {
		t.Fatal("the lot is not whole")
	}
	tree, err := replica.LotTree(entries)
	if err != nil {
		t.Fatal(err)
	}
	root := tree.Root()
	s, err := b.h.openLot(b.terms.lot, root.Hash)
	if err != nil {
		t.Fatal(err)
	}
	lot := replica.LotTerms{Root: root.Hash, Leaves: root.Leaves, Ranges: uint32(len(entries))}
	for leaf := uint64(0); leaf < root.Leaves; leaf += 97 {
		p, err := b.h.prove(s, leaf)
		if err != nil {
			t.Fatal(err)
		}
		if v, err := replica.CheckLeaf(b.terms.lot, lot, leaf, types.Marshal(p)); v != replica.Shown {
			t.Fatalf("leaf %d is %s: %v", leaf, v, err)
		}
	}
	if _, err := b.h.openLot(b.terms.lot, types.H("another root")); !errors.Is(err, ErrNotHere) {
		t.Fatalf("error %v, want ErrNotHere", err)
	}
}

// TestFalseStreams sends what an encoder must not: the host says why by number
// and keeps nothing of it.
func TestFalseStreams(t *testing.T) {
	b := newBench(t, replica.RSAChain, []int{1}, 1500)
	k := testKey(t, 0)
	good, rec := b.frames(0, k)
	piece := func(change func(p *pieceFrame)) func() []byte {
		return func() []byte {
			p := *good[0]
			p.Bytes = bytes.Clone(p.Bytes)
			change(&p)
			return types.Marshal(&frame{Piece: &p})
		}
	}
	records := func(change func(r *record)) func() []byte {
		return func() []byte {
			r := *rec
			change(&r)
			return types.Marshal(&frame{Record: &r})
		}
	}
	other := testKey(t, 1)
	bad := bytes.Clone(k.Modulus().Bytes())
	bad[255] &^= 1
	tests := []struct {
		name   string
		member int
		first  []byte
		second func() []byte
		want   uint32
	}{
		{"no such attempt", theEncoder, types.Marshal(&begin{Lot: b.terms.lot, Attempt: types.H("old"), Modulus: bad}), nil, ReasonLater},
		{"another lot", theEncoder, types.Marshal(&begin{Lot: types.H("x"), Attempt: b.rec.Attempt, Modulus: bad}), nil, ReasonLater},
		{"not the encoder", stranger, b.begin(0, k), nil, ReasonNotYou},
		{"no such range", theEncoder, b.begin(1, k), nil, ReasonNotYou},
		{"even modulus", theEncoder, types.Marshal(&begin{Lot: b.terms.lot, Attempt: b.rec.Attempt, Modulus: bad}), nil, ReasonModulus},
		{"garbage", theEncoder, []byte{1, 2, 3}, nil, ReasonForm},
		{"trailing byte", theEncoder, append(b.begin(0, k), 0), nil, ReasonForm},
		{"flipped byte", theEncoder, b.begin(0, k), piece(func(p *pieceFrame) { p.Bytes[700] ^= 1 }), ReasonPiece},
		{"flipped byte under its root", theEncoder, b.begin(0, k), piece(func(p *pieceFrame) {
			p.Bytes[700] ^= 1
			p.Root = replica.PieceRoot(p.Bytes)
			b.sign(0, p)
		}), ReasonPiece},
		{"wrong signature", theEncoder, b.begin(0, k), piece(func(p *pieceFrame) { p.Signature[3] ^= 1 }), ReasonPiece},
		{"signature for another place", theEncoder, b.begin(0, k), piece(func(p *pieceFrame) { p.Index, p.Signature = 1, good[0].Signature }), ReasonPiece},
		{"other length", theEncoder, b.begin(0, k), piece(func(p *pieceFrame) {
			p.Bytes = p.Bytes[:1024]
			p.Root = replica.PieceRoot(p.Bytes)
			b.sign(0, p)
		}), ReasonPiece},
		{"made under another modulus", theEncoder, b.begin(0, other), piece(func(*pieceFrame) {}), ReasonPiece},
		{"garbage instead of a piece", theEncoder, b.begin(0, k), func() []byte { return []byte{0x82, 9, 9} }, ReasonForm},
		{"record without pieces", theEncoder, b.begin(0, k), records(func(*record) {}), ReasonRecord},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, _, err := b.dial(tt.member, tt.first)
			if tt.second != nil {
				if err != nil {
					t.Fatalf("begin refused: %v", err)
				}
				if err := s.Send(tt.second()); err != nil {
					t.Fatal(err)
				}
				_, err = s.Receive(maxState)
			}
			var reset *chaintest.ResetError
			if !errors.As(err, &reset) || reset.Number != tt.want {
				t.Fatalf("error %v, want reason %d", err, tt.want)
			}
			b.mesh.Wait()
			if n := b.in.bytes.Load(); n != 0 || len(b.stored()) > 0 {
				t.Fatalf("%d bytes were kept", n)
			}
		})
	}
	t.Run("other roots in the record", func(t *testing.T) {
		for i, change := range []func(r *record){
			func(r *record) { r.Encoded[0] ^= 1 }, func(r *record) { r.Plain[0] ^= 1 }, func(r *record) { r.Count++ },
			func(r *record) { r.Modulus[0] ^= 1 }, func(r *record) { r.Signature[0] ^= 1 },
		} {
			s, has, err := b.dial(theEncoder, b.begin(0, k))
			if err != nil || has.has(0) != (i > 0) {
				t.Fatalf("held %t: %v", has.has(0), err)
			}
			_ = s.Send(piece(func(*pieceFrame) {})())
			_ = s.Send(records(change)())
			_, err = s.Receive(maxState)
			var reset *chaintest.ResetError
			if !errors.As(err, &reset) || reset.Number != ReasonRecord {
				t.Fatalf("record %d: error %v, want reason %d", i, err, ReasonRecord)
			}
		}
		b.mesh.Wait()
		if len(b.stored()) > 0 {
			t.Fatal("a false record was taken")
		}
	})
}

// TestStreamCutAnywhere breaks the connection after every so many bytes and at
// the borders of frames; the next one goes on, and the root is always the same.
func TestStreamCutAnywhere(t *testing.T) {
	k := testKey(t, 0)
	probe := newBench(t, replica.RSAChain, []int{1}, 1500)
	fs, rec := probe.frames(0, k)
	borders := []int{0}
	for _, v := range []types.Encodable{
		&begin{Modulus: k.Modulus().Bytes()}, &standing{Held: make([]byte, bitmapSize)}, &frame{Piece: fs[0]},
		&frame{Record: rec}, &standing{Record: rec},
	} {
		borders = append(borders, borders[len(borders)-1]+4+len(types.Marshal(v)))
	}
	var cuts []int
	for i, at := range borders {
		cuts = append(cuts, max(at-1, 0), at, at+1, at+4)
		if i > 0 {
			cuts = append(cuts, (borders[i-1]+at)/2)
		}
	}
	for at := 0; at < borders[len(borders)-1] && !testing.Short(); at += 211 {
		cuts = append(cuts, at)
	}
	for _, cut := range cuts {
		b := newBench(t, replica.RSAChain, []int{1}, 1500)
		o := b.job(0, k)
		b.mesh.Cut(func(_, _ types.Account, _ string) int { return cut })
		_, first := o.deliver(t.Context())
		b.mesh.Cut(nil)
		got, err := o.deliver(t.Context())
		for again := 0; err != nil && again < 5; again++ { // the host may see the dead stream last
			got, err = o.deliver(t.Context())
		}
		if err != nil || got.Encoded != rec.Encoded || got.Plain != rec.Plain {
			t.Fatalf("cut at %d (%v), then: %v", cut, first, err)
		}
		b.mesh.Wait()
		if all := b.stored(); len(all) != 1 || all[0].Encoded != rec.Encoded {
			t.Fatalf("cut at %d: %d reports", cut, len(all))
		}
	}
}

// TestRestartResumes ends the host in the middle of a range: the pieces before
// count, the root is the same.
func TestRestartResumes(t *testing.T) {
	b := newBench(t, replica.RSAChain, []int{2}, 1500)
	k := testKey(t, 0)
	fs, rec := b.frames(0, k)
	s, _, err := b.dial(theEncoder, b.begin(0, k))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send(types.Marshal(&frame{Piece: fs[1]})); err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	b.start()
	s, has, err := b.dial(theEncoder, b.begin(0, k))
	if err != nil || has.has(0) || !has.has(1) {
		t.Fatalf("held %x: %v", has.Held, err)
	}
	_ = s.Send(types.Marshal(&frame{Piece: fs[0]}))
	_ = s.Send(types.Marshal(&frame{Record: rec}))
	var done standing
	if err := b.h.read(s, maxState, &done); err != nil || *done.Record != *rec {
		t.Fatalf("answer %+v: %v", done.Record, err)
	}
	b.mesh.Wait()
	b.start()
	if all := b.in.whole(); len(all) != 1 || all[0].Encoded != rec.Encoded {
		t.Fatalf("after another restart: %+v", all)
	}
	proveAll(t, b)
	// An encoder that lost its key gets its own record back.
	again := b.job(0, testKey(t, 1))
	if got, err := again.deliver(t.Context()); err != nil || *got != *rec {
		t.Fatalf("record %+v: %v", got, err)
	}
}

// TestEncoderBeginsAnew: an encoder that crashed has lost its key. Under a new
// one the range starts again, and the bytes of the old one do not eat the room.
func TestEncoderBeginsAnew(t *testing.T) {
	b := newBench(t, replica.RSAChain, []int{1, 1}, 1500)
	old, _ := b.frames(0, testKey(t, 0))
	s, _, err := b.dial(theEncoder, b.begin(0, testKey(t, 0)))
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Send(types.Marshal(&frame{Piece: old[0]}))
	_ = s.Close()
	b.mesh.Wait()
	if n := b.in.bytes.Load(); n != types.PieceSize {
		t.Fatalf("%d bytes before the crash, want %d", n, types.PieceSize)
	}
	for r := range uint32(2) {
		if _, err := b.job(r, testKey(t, 1)).deliver(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	b.mesh.Wait()
	all := b.stored()
	if len(all) != 2 || all[0].Modulus != testKey(t, 1).Modulus().Hash() {
		t.Fatalf("reports %+v", all)
	}
	proveAll(t, b)
	// The bytes of a later attempt replace all of it.
	b.rec.Attempt = types.H("next attempt")
	b.start()
	if n := b.in.bytes.Load(); n != 0 || len(b.in.whole()) > 0 {
		t.Fatalf("%d bytes of the attempt before still count", n)
	}
	for digest := range b.src {
		if got, err := b.h.Piece(t.Context(), digest); !errors.Is(err, ErrNotHere) {
			t.Fatalf("piece of %d bytes is still there: %v", len(got), err)
		}
	}
}

// TestNewestStreamWins: a second stream for a range ends the first, which may be
// dead without knowing.
func TestNewestStreamWins(t *testing.T) {
	b := newBench(t, replica.RSAChain, []int{1}, 1500)
	first, _, err := b.dial(theEncoder, b.begin(0, testKey(t, 0)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.job(0, testKey(t, 0)).deliver(t.Context()); err != nil {
		t.Fatal(err)
	}
	var reset *chaintest.ResetError
	if _, err := first.Receive(maxState); !errors.As(err, &reset) || reset.Number != ReasonOther {
		t.Fatalf("error %v, want reason %d", err, ReasonOther)
	}
}

// TestManyRangesAtOnce brings the ranges of a lot by streams side by side.
func TestManyRangesAtOnce(t *testing.T) {
	b := newBench(t, replica.RSAChain, []int{1, 1, 1}, 3000)
	errs := make(chan error, 3)
	for r := range uint32(3) {
		o := b.job(r, testKey(t, int(r%2)))
		go func() {
			_, err := o.persist(t.Context())
			errs <- err
		}()
	}
	for range 3 {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	b.mesh.Wait()
	if all := b.stored(); len(all) != 3 {
		t.Fatalf("%d ranges, want 3", len(all))
	}
	proveAll(t, b)
}

// TestPlainRange: without an encoding the host fetches, over a restart.
func TestPlainRange(t *testing.T) {
	b := newBench(t, replica.Plain, []int{2, 2}, 1500)
	missing := types.Hash(sha256.Sum256(chaintest.Bytes("bench", 4*types.PieceSize)[0]))
	held := b.src[missing]
	delete(b.src, missing)
	if err := b.h.fetchRange(b.in, 0); err == nil {
		t.Fatal("a range without its piece is whole")
	}
	b.start()
	b.src[missing] = held
	for r := range uint32(2) {
		if err := b.h.fetchRange(b.in, r); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range b.stored() {
		if c.Encoded != c.Plain || !c.Modulus.IsZero() {
			t.Fatalf("commitment %+v of plain bytes", c)
		}
	}
	proveAll(t, b)
}

// TestLostBytesAreFound damages a kept piece in each way that shows.
func TestLostBytesAreFound(t *testing.T) {
	b := newBench(t, replica.Plain, []int{1}, 1500)
	if err := b.h.fetchRange(b.in, 0); err != nil {
		t.Fatal(err)
	}
	if err := b.h.verify(t.Context(), b.terms.lot); err != nil || len(b.h.hurt) > 0 {
		t.Fatalf("a good lot is hurt: %v", err)
	}
	spoiled := bytes.Repeat([]byte{7}, 2048)
	if err := b.in.put(0, 0, spoiled); err == nil {
		t.Fatal("there is room for the same piece twice")
	}
	if err := b.h.cfg.Replicas.SetFile(b.terms.lot, fileLot, types.Marshal(b.in.kept)); err != nil {
		t.Fatal(err)
	}
	room, err := b.h.cfg.Reserve(b.terms.lot, 4096)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(room.Put(0, 0, spoiled), room.Commit()); err != nil {
		t.Fatal(err)
	}
	if err := b.h.verify(t.Context(), b.terms.lot); !errors.Is(err, replica.ErrPiece) || !b.h.hurt[b.terms.lot] {
		t.Fatalf("error %v, want ErrPiece and the lot hurt", err)
	}
}

// TestH7 is the right to refuse, before anything is transferred.
func TestH7(t *testing.T) {
	b := newBench(t, replica.RSAChain, []int{1, 1}, 1500)
	set := b.terms.dataset.Attachment.Dataset()
	names := func(want types.Hash) func(types.Hash) bool {
		return func(h types.Hash) bool { return h == Hashed(want) }
	}
	tests := []struct {
		name   string
		policy Policy
		want   Reason
	}{
		{"everything is welcome", Policy{}, Welcome},
		{"just large enough", Policy{MaxLot: b.terms.bytes()}, Welcome},
		{"too large", Policy{MaxLot: b.terms.bytes() - 1}, TooLarge},
		{"sponsor", Policy{Accounts: []types.Account{chaintest.Account(sponsor)}}, UnwantedBuyer},
		{"publisher", Policy{Accounts: []types.Account{chaintest.Account(stranger)}}, UnwantedBuyer},
		{"another account", Policy{Accounts: []types.Account{chaintest.Account(9)}}, Welcome},
		{"kind of media", Policy{Media: []string{"audio/", "video/"}}, UnwantedMedia},
		{"other media", Policy{Media: []string{"image/"}}, Welcome},
		{"dataset", Policy{Denied: names(set)}, UnwantedBytes},
		{"range", Policy{Denied: names(b.terms.ranges[1].ID)}, UnwantedBytes},
		{"other range", Policy{Denied: names(types.H("x"))}, Welcome},
	}
	b.stop()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b.h.cfg.Policy = tt.policy
			in, why, err := b.h.openIntake(t.Context(), b.terms, b.rec)
			if err != nil || why != tt.want {
				t.Fatalf("reason %q, want %q: %v", why, tt.want, err)
			}
			if in != nil {
				if err := in.settle(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
	b.h.cfg.Policy = Policy{}
	b.h.cfg.Reserve = func(types.LotID, int64) (Room, error) { return nil, errors.New("disk full") }
	if _, why, err := b.h.openIntake(t.Context(), b.terms, b.rec); why != NoRoom || err != nil {
		t.Fatalf("reason %q, want %q: %v", why, NoRoom, err)
	}
	cfg := b.config(theHost)
	cfg.Policy.Media = []string{""}
	if _, err := New(cfg); err == nil {
		t.Fatal("a policy that refuses everything by mistake was taken")
	}
}

// fullRoom is a disk without space.
type fullRoom struct{ Room }

func (fullRoom) Put(uint32, uint32, []byte) error { return errors.New("disk full") }

// TestFullDisk: the encoder is told why, nothing counts, and with space again
// the range arrives.
func TestFullDisk(t *testing.T) {
	b := newBench(t, replica.RSAChain, []int{1}, 1500)
	good := b.in.room
	b.in.room = fullRoom{good}
	o := b.job(0, testKey(t, 0))
	var reset *chaintest.ResetError
	if _, err := o.deliver(t.Context()); !errors.As(err, &reset) || reset.Number != ReasonStore {
		t.Fatalf("error %v, want reason %d", err, ReasonStore)
	}
	b.mesh.Wait()
	if n := b.in.bytes.Load(); n != 0 {
		t.Fatalf("%d bytes count", n)
	}
	b.in.room = good
	if _, err := o.deliver(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestEndlessFrames: a frame above its limit ends the stream.
func TestEndlessFrames(t *testing.T) {
	b := newBench(t, replica.RSAChain, []int{1}, 1500)
	if _, _, err := b.dial(theEncoder, make([]byte, maxBegin+1)); err == nil {
		t.Fatal("an opening without end was read")
	}
	s, _, err := b.dial(theEncoder, b.begin(0, testKey(t, 0)))
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Send(make([]byte, maxFrame+1))
	if _, err := s.Receive(maxState); err == nil {
		t.Fatal("a frame without end was read")
	}
	b.mesh.Wait()
	if n := b.in.bytes.Load(); n != 0 {
		t.Fatalf("%d bytes count", n)
	}
}
