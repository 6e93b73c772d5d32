package swarm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"go.uber.org/goleak"

	"github.com/staddle/staddle/keys"
	"github.com/staddle/staddle/market"
	"github.com/staddle/staddle/types"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// Process-wide helpers of libp2p's imports.
		goleak.IgnoreTopFunction("github.com/ipfs/go-log/v2/writer.(*MirrorWriter).logRoutine"),
		goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"),
	)
}

var chain = types.H("staddle/test/chain")

func signer(n byte) keys.Signer    { return keys.SignerFromSeed([32]byte{n, 2}) }
func account(n byte) types.Account { return signer(n).Account() }
func device(n byte) types.Device   { return keys.DeviceFromSeed([32]byte{n, 1}).ID() }
func peersOf(ns ...byte) (all []Peer) {
	for _, n := range ns {
		all = append(all, Peer{Account: account(n), Plain: true})
	}
	return all
}

// wire is a Stream over net.Pipe.
type wire struct {
	net.Conn
	who    types.Account
	device types.Device
}

func (w *wire) Remote() (types.Account, types.Device) { return w.who, w.device }
func (w *wire) Deadline(t time.Time) error            { return w.SetDeadline(t) }
func (w *wire) Reset(uint32) error                    { return w.Conn.Close() }

func (w *wire) Send(b []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...))
	return err
}

var errTooLong = errors.New("frame too long")

func (w *wire) Receive(limit int) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(w.Conn, head[:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint32(head[:]))
	if n > limit {
		return nil, fmt.Errorf("%w: %d", errTooLong, n)
	}
	b := make([]byte, n)
	_, err := io.ReadFull(w.Conn, b)
	return b, err
}

// netting is a network of peers in memory.
type netting struct {
	t     *testing.T
	mu    sync.Mutex
	serve map[types.Account]func(Stream)
	who   map[types.Account]types.Device
	dials map[types.Account]int
	work  sync.WaitGroup
}

func newNet(t *testing.T) *netting {
	n := &netting{
		t: t, serve: map[types.Account]func(Stream){}, who: map[types.Account]types.Device{}, dials: map[types.Account]int{},
	}
	t.Cleanup(n.work.Wait)
	return n
}

// put makes person p answer streams.
func (n *netting) put(p byte, serve func(Stream)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.serve[account(p)], n.who[account(p)] = serve, device(p)
}

func (n *netting) dialed(p byte) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dials[account(p)]
}

// dial is the Dial of person from.
func (n *netting) dial(from byte) Dial {
	return func(_ context.Context, to types.Account) (Stream, error) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.dials[to]++
		serve, ok := n.serve[to]
		if !ok {
			return nil, errors.New("nobody is there")
		}
		here, there := net.Pipe()
		n.work.Go(func() {
			defer there.Close()
			serve(&wire{Conn: there, who: account(from), device: device(from)})
		})
		return &wire{Conn: here, who: to, device: n.who[to]}, nil
	}
}

// book is a Ledger in memory. When its budget of writes is used up it has
// crashed: nothing is written any more.
type book struct {
	mu     sync.Mutex
	rows   map[string][]byte
	writes int
	left   int // writes until the crash; negative: none
}

var errCrashed = errors.New("crashed")

func newBook() *book { return &book{rows: map[string][]byte{}, left: -1} }

func (b *book) Get(_, key string) ([]byte, bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	v, ok := b.rows[key]
	return bytes.Clone(v), ok, nil
}

func (b *book) Scan(_, prefix, from string, fn func(string, []byte) error) error {
	b.mu.Lock()
	rows := maps.Clone(b.rows)
	b.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(rows)) {
		if strings.HasPrefix(key, prefix) && key >= from {
			if err := fn(key, rows[key]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *book) Save(_ []types.Node, rows []types.Row) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.left == 0 {
		return errCrashed
	}
	b.left--
	b.writes++
	for _, r := range rows {
		if r.Table != table {
			return fmt.Errorf("table %q", r.Table)
		}
		if r.Value == nil {
			delete(b.rows, r.Key)
		} else {
			b.rows[r.Key] = bytes.Clone(r.Value)
		}
	}
	return nil
}

// reopen is what is on the disk after a crash.
func (b *book) reopen() *book {
	b.mu.Lock()
	defer b.mu.Unlock()
	return &book{rows: maps.Clone(b.rows), left: -1}
}

func (b *book) crashAfter(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left = n
}

// town is what the chain says.
type town struct {
	mu       sync.Mutex
	epoch    types.Epoch
	price    *big.Int
	locks    map[types.Account]types.Amount
	standing market.Standing
}

var cost = types.Wei(262_144_000_000)

// newTown is a market in epoch 5 where person 1 has a lock for so many units.
func newTown(units uint64) *town {
	return &town{epoch: 5, price: cost, locks: map[types.Account]types.Amount{account(1): lockFor(units)}}
}

func lockFor(units uint64) types.Amount {
	return types.Amount(types.BaseCeil(market.Wei(units, cost)).Uint64())
}

// friends is a community in which all is free.
func friends() *town { return &town{price: new(big.Int).Set(cost), standing: market.Member} }

func (c *town) Epoch() types.Epoch {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.epoch
}

func (c *town) turn(e types.Epoch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch = e
}

func (c *town) Price(types.Epoch) (*big.Int, error) { return c.price, nil }

func (c *town) Lock(a types.Account, _ types.Epoch) (types.Amount, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.locks[a], nil
}

func (c *town) Standing(types.Account) market.Standing { return c.standing }

// shelf is what a host has.
type shelf struct {
	pieces map[types.Hash][]byte
	nodes  map[cid.Cid][]byte
	before func(types.Hash) // called before a piece is given; may wait
	given  atomic.Int64
}

func newShelf(pieces [][]byte) *shelf {
	s := &shelf{pieces: map[types.Hash][]byte{}, nodes: map[cid.Cid][]byte{}}
	for _, p := range pieces {
		s.pieces[sha256.Sum256(p)] = p
	}
	return s
}

func (s *shelf) Piece(_ context.Context, h types.Hash) ([]byte, error) {
	if s.before != nil {
		s.before(h)
	}
	b, ok := s.pieces[h]
	if !ok {
		return nil, fmt.Errorf("piece %s: %w", h.Short(), &types.Missing{CID: types.RawCIDOf(h)})
	}
	s.given.Add(1)
	return b, nil
}

func (s *shelf) Node(_ context.Context, c cid.Cid) ([]byte, error) {
	b, ok := s.nodes[c]
	if !ok {
		return nil, &types.Missing{CID: c}
	}
	s.given.Add(1)
	return b, nil
}

func (s *shelf) Has(_ context.Context, h types.Hash) bool {
	_, ok := s.pieces[h]
	return ok
}

// piecesOf makes n small pieces and their digests.
func piecesOf(n int) (pieces [][]byte, want []types.Hash) {
	for i := range n {
		p := bytes.Repeat(types.Be32(uint32(i)+1), 100)
		pieces = append(pieces, p)
		want = append(want, sha256.Sum256(p))
	}
	return pieces, want
}

// host puts a server of person p on the network.
func (n *netting) host(p byte, facts Facts, shelf *shelf, changes ...func(*ServerConfig)) *Server {
	n.t.Helper()
	c := ServerConfig{
		Chain: chain, Account: account(p), Device: device(p), Pieces: shelf, Facts: facts, Ledger: newBook(),
		Verify: keys.Verify, Limits: ServerLimits{PayWait: 5 * time.Second},
		Accuse: func(e market.Evidence) { n.t.Errorf("an honest payer is accused: %+v", e) },
	}
	for _, change := range changes {
		change(&c)
	}
	s, err := NewServer(c)
	if err != nil {
		n.t.Fatal(err)
	}
	n.put(p, func(st Stream) { _ = s.Serve(context.Background(), st) })
	return s
}

// reader makes the Swarm of person 1.
func (n *netting) reader(facts Facts, changes ...func(*Config)) *Swarm {
	c := Config{
		Chain: chain, Signer: signer(1), Dial: n.dial(1), Facts: facts, Ledger: newBook(),
		Limits: Limits{Meet: 5 * time.Second, Patience: 5 * time.Second},
	}
	for _, change := range changes {
		change(&c)
	}
	return New(c)
}

func paying(units uint64) func(*Config) {
	return func(c *Config) { c.Terms.Piece = market.Wei(units, cost) }
}

func impatient(c *Config) {
	c.Limits.Meet, c.Limits.Patience = 200*time.Millisecond, 200*time.Millisecond
}

// basket collects what a fetch gives and checks it.
type basket struct {
	t    *testing.T
	want []types.Hash
	got  map[int]int
}

func newBasket(t *testing.T, want []types.Hash) *basket {
	return &basket{t: t, want: want, got: map[int]int{}}
}

func (b *basket) put(i int, data []byte) error {
	if sha256.Sum256(data) != b.want[i] {
		b.t.Errorf("item %d has other bytes", i)
	}
	b.got[i]++
	return nil
}

// full reports an item that did not come exactly once.
func (b *basket) full() {
	b.t.Helper()
	for i := range b.want {
		if b.got[i] != 1 {
			b.t.Errorf("item %d came %d times", i, b.got[i])
		}
	}
}

func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func cidsOf(nodes []types.Node) (all []cid.Cid) {
	for _, n := range nodes {
		all = append(all, n.CID)
	}
	return all
}
