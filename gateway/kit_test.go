package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/staddle/staddle/internal/chaintest"
	"github.com/staddle/staddle/keys"
	"github.com/staddle/staddle/lines"
	"github.com/staddle/staddle/settle"
	"github.com/staddle/staddle/types"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Members of the community of these tests.
const (
	owner     = iota
	validator // with a deposit
	second    // too
	poor      // registered as a validator, without a deposit
	host      // registered, no validator
	members
)

func device(i int) keys.Device {
	return keys.DeviceFromSeed(types.H("staddle/test/device", types.Be32(uint32(i))))
}

// town is a community with a closed epoch and the gateway of its owner.
type town struct {
	*chaintest.World
	t       testing.TB
	e       types.Epoch
	seconds uint64
	logs    *shelf
	pieces  shelfPieces
	effects *effects
	gate    *Gateway
	addr    string
}

// newTown serves on loopback until the test ends.
func newTown(t testing.TB, tune func(*Config)) *town {
	t.Helper()
	w := chaintest.New(t, members, func(g *types.Genesis) {
		chaintest.Validators(g, validator, 2, 2000*types.Coin)
	})
	roles := []types.Roles{types.RoleSponsor, types.RoleValidator, types.RoleValidator, types.RoleValidator, types.RoleHost}
	for i, r := range roles {
		register(w, i, r)
	}
	w.MineTo(w.Rules().Checkpoint(1) + 2)
	s := &town{World: w, t: t, e: 1, effects: &effects{}, pieces: shelfPieces{}}
	s.seconds = s.time(s.e)
	s.logs = newShelf(t, s.e, 500)
	cfg := Config{
		Device: device(owner), Owner: chaintest.Account(owner), Chain: w.Node(owner),
		Logs: s.logs, Pieces: s.pieces, Effects: s.effects, Report: t.Logf,
	}
	if tune != nil {
		tune(&cfg)
	}
	s.gate = New(cfg)
	s.addr = serve(t, s.gate)
	return s
}

func register(w *chaintest.World, i int, r types.Roles) {
	w.Do(i, types.KindRegister, &types.Register{
		Device: device(i).ID(), Roles: r, FreeGiB: 8, Encodings: 3,
		TargetStorage: types.Wei(0), TargetBandwidth: types.Wei(0), Payout: chaintest.Account(i),
	})
}

func serve(t testing.TB, g *Gateway, wrap ...func(net.Listener) net.Listener) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range wrap {
		ln = w(ln)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Serve(ctx, ln) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return ln.Addr().String()
}

// time is the EpochUnixTimestamp of an epoch.
func (s *town) time(e types.Epoch) uint64 {
	s.t.Helper()
	rec, err := s.View().Epoch(e)
	if err != nil || rec.Seconds == 0 {
		s.t.Fatalf("epoch %d is not closed: %v", e, err)
	}
	return rec.Seconds
}

// as asks the gateway as the device of a member.
func (s *town) as(i int) Do {
	c := Client{Device: device(i)}
	return c.To(s.addr, device(owner).ID())
}

// overStream asks it over a stream as the device of a member.
func (s *town) overStream(i int) Do {
	return OverStream(func(ctx context.Context) (Stream, error) {
		m := chaintest.NewMesh()
		a, b := m.Join(i), m.Join(owner)
		b.Handle(Protocol, func(x *chaintest.Stream) { s.gate.ServeStream(x, chaintest.Account(i), device(i).ID()) })
		x, err := a.Open(ctx, chaintest.Account(owner), Protocol)
		s.t.Cleanup(m.Wait)
		return x, err
	})
}

// answer is what a caller got.
type answer struct {
	code int
	head http.Header
	body string
}

func call(t testing.TB, do Do, c Call) answer {
	t.Helper()
	r, err := do(t.Context(), c)
	if err != nil {
		t.Fatalf("%s: %v", c.Target, err)
	}
	b, err := io.ReadAll(r.Body)
	if err = errors.Join(err, r.Body.Close()); err != nil {
		t.Fatalf("%s: %v", c.Target, err)
	}
	return answer{r.StatusCode, r.Header, string(b)}
}

// shelf holds the logs of one epoch in memory.
type shelf struct {
	e       types.Epoch
	headers lines.Headers
	text    map[types.LogRole][]byte
	block   []byte
}

// newShelf makes logs of n lines each, of the owner.
func newShelf(t testing.TB, e types.Epoch, n int) *shelf {
	t.Helper()
	s := &shelf{e: e, text: map[types.LogRole][]byte{}}
	me := chaintest.Account(owner).Address()
	for _, role := range lines.Roles() {
		var list [][]byte
		for k := range n {
			chunk := types.H("staddle/test/chunk", types.Be32(uint32(k)))
			var other types.Address
			copy(other[:], chunk[:])
			switch role {
			case types.LogFarmer:
				f := settle.Farmer{Farmer: me, Chunk: chunk, Born: 1, Stored: 2, Rep: 3}
				list = append(list, f.Append(nil, settle.Grammar{}))
			case types.LogBuyer:
				b := settle.Buyer{Buyer: me, Chunk: chunk, Born: 1, Stored: 2, Rep: 3, Smash: string(bytes.Repeat([]byte("0"), k%7))}
				list = append(list, b.Append(nil, settle.Grammar{}))
			default:
				b := settle.Bandwidth{ID: me, Remote: other, Units: int64(k + 1), Receipt: chunk.String()}
				list = append(list, b.Append(nil, settle.Grammar{}))
			}
		}
		slices.SortFunc(list, bytes.Compare)
		var out bytes.Buffer
		tally := lines.Tally{W: &out}
		for _, line := range list {
			if err := tally.Add(line); err != nil {
				t.Fatal(err)
			}
		}
		s.text[role] = out.Bytes()
		s.headers = append(s.headers, tally.Header(device(owner).ID(), role, e))
	}
	return s
}

type readSeekCloser struct{ *bytes.Reader }

func (readSeekCloser) Close() error { return nil }

func (s *shelf) Open(role types.LogRole, e types.Epoch) (io.ReadSeekCloser, types.LogHeader, error) {
	h := s.headers.Find(role)
	if e != s.e || h == nil {
		return nil, types.LogHeader{}, fmt.Errorf("epoch %d: %w", e, fs.ErrNotExist)
	}
	return readSeekCloser{bytes.NewReader(s.text[role])}, *h, nil
}

func (s *shelf) Headers(e types.Epoch) (lines.Headers, error) {
	if e != s.e {
		return nil, fs.ErrNotExist
	}
	return s.headers, nil
}

func (s *shelf) Exceptions(e types.Epoch) ([]byte, error) {
	if e != s.e {
		return nil, fs.ErrNotExist
	}
	return s.block, nil
}

func (s *shelf) Epochs() ([]types.Epoch, error) { return []types.Epoch{s.e}, nil }

// shelfPieces are pieces in memory.
type shelfPieces map[types.Hash][]byte

func (s shelfPieces) Piece(_ context.Context, d types.Hash) ([]byte, error) {
	b, ok := s[d]
	if !ok {
		return nil, &types.Missing{CID: types.RawCIDOf(d)}
	}
	return b, nil
}

// effects collects notices.
type effects struct {
	mu   sync.Mutex
	list []lines.Notice
}

func (e *effects) Note(_ context.Context, n *lines.Notice) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, *n)
	return nil
}

func (e *effects) all() []lines.Notice {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.list)
}
