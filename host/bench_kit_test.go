package host

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/staddle/staddle/internal/chaintest"
	"github.com/staddle/staddle/replica"
	"github.com/staddle/staddle/store"
	"github.com/staddle/staddle/types"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testKey gives one of two keys that all tests share: drawing one takes long.
func testKey(t testing.TB, n int) *replica.Key {
	t.Helper()
	k, err := testKeys[n]()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

var testKeys = [2]func() (*replica.Key, error){
	sync.OnceValues(func() (*replica.Key, error) { return replica.GenerateKey(rand.Reader) }),
	sync.OnceValues(func() (*replica.Key, error) { return replica.GenerateKey(rand.Reader) }),
}

// port is a peer of a mesh as the host sees the network.
type port struct{ *chaintest.Port }

func (p port) Open(ctx context.Context, to types.Account, protocol string) (Stream, error) {
	s, err := p.Port.Open(ctx, to, protocol)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (p port) Handle(protocol string, serve func(Stream)) {
	p.Port.Handle(protocol, func(s *chaintest.Stream) { serve(s) })
}

// pieces is a Source out of datasets in memory.
type pieces map[types.Hash][]byte

func source(sets ...*chaintest.Dataset) pieces {
	all := pieces{}
	for _, d := range sets {
		for _, p := range d.Pieces {
			all[types.Digest(types.RawCID(p))] = p
		}
		for _, r := range d.Ranges {
			var list []byte
			for _, h := range d.Digests(r) {
				list = append(list, h[:]...)
			}
			all[r.ID] = list
		}
	}
	return all
}

func (p pieces) Digests(_ context.Context, _ *types.DatasetRecord, r types.Range) (out []types.Hash, err error) {
	list := p[r.ID]
	if list == nil {
		return nil, errors.New("range is not here")
	}
	for ; len(list) > 0; list = list[types.HashSize:] {
		out = append(out, types.Hash(list[:types.HashSize]))
	}
	return out, nil
}

func (p pieces) Fetch(ctx context.Context, _ *types.DatasetRecord, digests []types.Hash, to func(int, []byte) error) error {
	buf := make([]byte, types.PieceSize)
	for i := len(digests) - 1; i >= 0; i-- { // in any order
		b := p[digests[i]]
		if b == nil {
			return errors.New("piece is not here")
		}
		n := copy(buf, b)
		if err := to(i, buf[:n]); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func damaged(err error) bool {
	return errors.Is(err, store.ErrAbsent) || errors.Is(err, store.ErrCorrupt)
}

func reserve(st *store.Store) func(types.LotID, int64) (Room, error) {
	return func(lot types.LotID, n int64) (Room, error) {
		r, err := st.Replicas().Reserve(lot, n)
		if err != nil {
			return nil, err
		}
		return r, nil
	}
}

// bench is a host of one running attempt without a chain; the test is its
// encoder. Members: 0 sponsor, 1 host, 2 encoder, 3 a stranger.
type bench struct {
	t       *testing.T
	mesh    *chaintest.Mesh
	st      *store.Store
	h       *Host
	in      *intake
	end     context.CancelFunc
	terms   *terms
	rec     *types.LotRecord
	encoder *Host
	src     pieces
}

const (
	sponsor, theHost, theEncoder, stranger = 0, 1, 2, 3
)

// newBench makes a lot of ranges of so many pieces, the last of lastLen bytes.
func newBench(t *testing.T, scheme uint32, perRange []int, lastLen int) *bench {
	t.Helper()
	b := &bench{t: t, mesh: chaintest.NewMesh()}
	b.makeTerms(scheme, perRange, lastLen)
	var err error
	if b.st, err = store.Memory(store.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.end()
		b.mesh.Wait()
		if err := b.st.Close(); err != nil {
			t.Error(err)
		}
	})
	b.encoder = b.newHost(theEncoder)
	b.start()
	return b
}

func (b *bench) makeTerms(scheme uint32, perRange []int, lastLen int) {
	total := 0
	for _, n := range perRange {
		total += n
	}
	d := &chaintest.Dataset{Pieces: chaintest.Bytes("bench", (total-1)*types.PieceSize+lastLen)}
	first := uint32(1)
	leaves := uint64(0)
	for _, n := range perRange {
		r := types.Range{First: first, Count: uint32(n)}
		r.ID = types.RangeOf(d.Digests(r))
		d.Ranges = append(d.Ranges, r)
		first += r.Count
	}
	for _, p := range d.Pieces {
		leaves += uint64(replica.PaddedLen(len(p)) / leafSize)
	}
	b.src = source(d)
	b.terms = &terms{
		lot: types.H("lot"), plan: &types.PlanRecord{Plan: types.Plan{Encoding: scheme}, Sponsor: chaintest.Account(sponsor)},
		dataset: &types.DatasetRecord{Attachment: types.Attachment{
			Index: types.RawCID([]byte("index")), Pieces: uint32(total), Size: uint64((total-1)*types.PieceSize + lastLen),
			MediaTypes: []string{"video/mp4"},
		}, Publisher: chaintest.Account(stranger)},
		ranges: d.Ranges, leaves: leaves, copy: 2,
	}
	b.rec = &types.LotRecord{
		Status: types.LotDrawn, Attempt: types.H("attempt"), Count: uint32(len(perRange)), Leaves: leaves, Copy: 2,
		Host: chaintest.Account(theHost), HostIn: true,
	}
	if scheme != replica.Plain {
		for i := range perRange {
			b.rec.Encoders = append(b.rec.Encoders, chaintest.Account(theEncoder))
			b.rec.Accepted |= 1 << i
		}
	}
}

func (b *bench) config(i int) Config {
	pool := NewPool(2)
	b.t.Cleanup(pool.Close)
	return Config{
		Signer: chaintest.Signer(i), Net: port{b.mesh.Join(i)}, Table: b.st, Replicas: b.st.Replicas(), Reserve: reserve(b.st),
		Damaged: damaged, Source: b.src, Pool: pool, Random: rand.Reader, Report: b.t.Logf,
	}
}

func (b *bench) newHost(i int) *Host {
	b.t.Helper()
	h, err := New(b.config(i))
	if err != nil {
		b.t.Fatal(err)
	}
	return h
}

// start opens the attempt on a fresh host; a second time as after a restart.
func (b *bench) start() {
	b.t.Helper()
	b.stop()
	b.h = b.newHost(theHost)
	ctx, cancel := context.WithCancel(b.t.Context())
	b.end = cancel
	in, why, err := b.h.openIntake(ctx, b.terms, b.rec)
	if err != nil || why != Welcome {
		b.t.Fatalf("attempt not taken: %s: %v", why, err)
	}
	b.in = in
	b.h.open[b.rec.Attempt] = in
}

// stop ends the attempt's work, as a crash does but for the reservation.
func (b *bench) stop() {
	if b.in == nil {
		return
	}
	b.mesh.Wait()
	b.end()
	if err := b.in.settle(); err != nil {
		b.t.Fatal(err)
	}
}

// stored takes the reports of whole ranges.
func (b *bench) stored() (out []types.Commitment) {
	for {
		select {
		case r := <-b.h.inbox:
			if s, ok := r.event.(Stored); ok {
				out = append(out, s.Commitment)
			}
		default:
			return out
		}
	}
}

// job is the encoder's side of a range, with a key of the test.
func (b *bench) job(r uint32, k *replica.Key) *outgoing {
	b.t.Helper()
	scheme, err := replica.Lookup(b.terms.plan.Plan.Encoding)
	if err != nil {
		b.t.Fatal(err)
	}
	o := &outgoing{h: b.encoder, terms: b.terms, attempt: b.rec.Attempt, host: b.rec.Host, number: r, scheme: scheme, key: k}
	if o.digests, err = b.encoder.digests(b.t.Context(), b.terms, r); err != nil {
		b.t.Fatal(err)
	}
	kept := &newKept(b.terms, b.rec.Attempt).Ranges[r]
	if o.slots.Encoded, err = kept.newSlots(); err != nil {
		b.t.Fatal(err)
	}
	if o.slots.Plain, err = kept.newSlots(); err != nil {
		b.t.Fatal(err)
	}
	return o
}

// frames are the pieces of a range as an honest encoder sends them, and its
// record.
func (b *bench) frames(r uint32, k *replica.Key) (out []*pieceFrame, rec *record) {
	b.t.Helper()
	o := b.job(r, k)
	for i, d := range o.digests {
		p := &pieceFrame{Index: uint32(i)}
		var err error
		if p.Bytes, err = o.scheme.Encode(b.terms.tag(o.host, r, p.Index), k, b.src[d]); err != nil {
			b.t.Fatal(err)
		}
		p.Root = replica.PieceRoot(p.Bytes)
		b.sign(r, p)
		if err := errors.Join(o.slots.Encoded.Put(i, p.Root), o.slots.Plain.Put(i, replica.PieceRoot(b.src[d]))); err != nil {
			b.t.Fatal(err)
		}
		out = append(out, p)
	}
	rec, err := o.sign()
	if err != nil {
		b.t.Fatal(err)
	}
	return out, rec
}

func (b *bench) sign(r uint32, p *pieceFrame) {
	digest := pieceDigest(b.rec.Attempt, r, p.Index, p.Root)
	p.Signature = chaintest.Signer(theEncoder).Sign(digest[:])
}

// dial opens a stream of a member with its first frame, and gives the host's
// answer.
func (b *bench) dial(member int, first []byte) (Stream, *standing, error) {
	b.t.Helper()
	s, err := port{b.mesh.Join(member)}.Open(b.t.Context(), b.rec.Host, Protocol)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := s.Send(first); err != nil {
		return s, nil, err
	}
	var has standing
	err = b.h.read(s, maxState, &has)
	return s, &has, err
}

func (b *bench) begin(r uint32, k *replica.Key) []byte {
	return types.Marshal(&begin{Lot: b.terms.lot, Attempt: b.rec.Attempt, Range: r, Modulus: k.Modulus().Bytes()})
}
