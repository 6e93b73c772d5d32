package swarm

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/archive"
	"github.com/staddle/staddle/types"
)

type denied map[cid.Cid]bool

func (d denied) Denied(c cid.Cid) bool { return d[c] }

// answers reads what the server says to one request of so many items.
func (r *raw) answers(items int) (data [][]byte, why []Reason) {
	r.t.Helper()
	data, why = make([][]byte, items), make([]Reason, items)
	for left := items; left > 0; {
		switch m := r.next().(type) {
		case bulk:
			data[m.Item] = m.Data
			left--
		case *refused:
			for i := m.First; i < m.First+m.Count; i++ {
				why[i] = m.Reason
				left--
			}
		default:
			r.t.Fatalf("unexpected %+v", m)
		}
	}
	return data, why
}

// indexed puts the index of the pieces on the shelf and gives its root.
func (s *shelf) indexed(t *testing.T, want []types.Hash) types.DatasetID {
	t.Helper()
	root, err := archive.BuildIndex(uint32(len(want)), func(n uint32) types.Hash { return want[n-1] }, func(n types.Node) error {
		s.nodes[n.CID] = n.Bytes
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return types.Digest(root)
}

// TestP3: what is denied leaves on no way, and is not even read.
func TestP3(t *testing.T) {
	n := newNet(t)
	pieces, want := piecesOf(4)
	s := newShelf(pieces)
	set := s.indexed(t, want)
	other := s.indexed(t, want[:2])
	node := types.NewNode([]byte{0x43, 1, 2, 3})
	s.nodes[node.CID] = node.Bytes
	s.before = func(h types.Hash) {
		if h == want[1] {
			t.Error("a denied piece was read")
		}
	}
	n.host(2, friends(), s, func(c *ServerConfig) {
		c.Deny = denied{types.RawCIDOf(want[1]): true, node.CID: true, types.NodeCIDOf(other): true}
	})
	r := n.raw(2)
	if q := r.hello(want...); q.Have[0] != 0b1101 {
		t.Errorf("hello tells of denied pieces: %b", q.Have)
	}
	for name, v := range map[string]struct {
		ask  *ask
		data [][]byte
		why  []Reason
	}{
		"digests": {
			&ask{Pieces: want[:3]},
			[][]byte{pieces[0], nil, pieces[2]},
			[]Reason{0, ReasonDenied, 0},
		},
		"numbers": {
			&ask{Of: set, First: 2, Count: 3},
			[][]byte{nil, pieces[2], pieces[3]},
			[]Reason{ReasonDenied, 0, 0},
		},
		"dataset": {&ask{Of: other, First: 1, Count: 1}, [][]byte{nil}, []Reason{ReasonDenied}},
		"block": {
			&ask{Nodes: []cid.Cid{node.CID, types.NodeCIDOf(set)}},
			[][]byte{nil, s.nodes[types.NodeCIDOf(set)]},
			[]Reason{ReasonDenied, 0},
		},
		"block of a denied dataset": {
			&ask{Nodes: []cid.Cid{types.NodeCIDOf(other)}}, [][]byte{nil}, []Reason{ReasonDenied},
		},
	} {
		r.id++
		v.ask.ID = r.id
		r.send(v.ask)
		data, why := r.answers(v.ask.items())
		if d := cmp.Diff(v.data, data) + cmp.Diff(v.why, why); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	b := newBasket(t, want)
	err := n.reader(friends()).Fetch(soon(t), want, peersOf(2), b.put)
	if !errors.Is(err, ErrIncomplete) || len(b.got) != 3 || b.got[1] != 0 {
		t.Errorf("fetch: %v, %v", b.got, err)
	}
}

// TestRanges: pieces by number, as far as the index is here.
func TestRanges(t *testing.T) {
	n := newNet(t)
	pieces, want := piecesOf(100)
	s := newShelf(pieces)
	set := s.indexed(t, want)
	n.host(2, friends(), s)
	r := n.raw(2)
	r.send(&ask{ID: 1, Of: set, First: 37, Count: 64})
	data, _ := r.answers(64)
	if !bytes.Equal(bytes.Join(data, nil), bytes.Join(pieces[36:], nil)) {
		t.Error("other pieces came")
	}
	for i, v := range []*ask{
		{Of: set, First: 90, Count: 20},        // beyond the end
		{Of: types.H("x"), First: 1, Count: 2}, // unknown
	} {
		v.ID = uint32(i) + 2
		r.send(v)
		_, why := r.answers(v.items())
		if why[0] == 0 || why[len(why)-1] != why[0] {
			t.Errorf("request %d: %v", i, why)
		}
	}
}

// TestServerRefusals: what a client does wrong ends its stream with a reason,
// and leaves others alone.
func TestServerRefusals(t *testing.T) {
	pieces, want := piecesOf(70)
	for name, v := range map[string]struct {
		do     func(*raw)
		reason Reason
	}{
		"no message":      {func(r *raw) { _ = r.Send([]byte("GET / HTTP/1.1")) }, ReasonMalformed},
		"empty":           {func(r *raw) { _ = r.Send(nil) }, ReasonMalformed},
		"trailing":        {func(r *raw) { _ = r.Send(append(types.Marshal(&hello{Chain: chain}), 0)) }, ReasonMalformed},
		"an answer":       {func(r *raw) { r.send(&taken{}) }, ReasonMalformed},
		"bulk":            {func(r *raw) { _ = r.Send(bulk{ID: 1, Data: want[0][:]}.frame()) }, ReasonMalformed},
		"nothing wanted":  {func(r *raw) { r.send(&ask{ID: 1}) }, ReasonMalformed},
		"request 0":       {func(r *raw) { r.send(&ask{Pieces: want[:1]}) }, ReasonMalformed},
		"too many pieces": {func(r *raw) { r.send(&ask{ID: 1, Pieces: want[:65]}) }, ReasonMalformed},
		"piece 0":         {func(r *raw) { r.send(&ask{ID: 1, Of: want[0], Count: 1}) }, ReasonMalformed},
		"past the last":   {func(r *raw) { r.send(&ask{ID: 1, Of: want[0], First: 1<<32 - 1, Count: 2}) }, ReasonMalformed},
		"another chain":   {func(r *raw) { r.send(&hello{Chain: want[0]}) }, ReasonDenied},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNet(t)
			n.host(2, friends(), newShelf(pieces))
			r := n.raw(2)
			v.do(r)
			if m, ok := r.next().(*refused); !ok || m.ID != 0 || m.Reason != v.reason {
				t.Errorf("%+v, want %s", m, v.reason)
			}
			if _, err := r.Receive(maxAnswer); err == nil {
				t.Error("the stream goes on")
			}
			b := newBasket(t, want)
			if err := n.reader(friends()).Fetch(soon(t), want, peersOf(2), b.put); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("numbers of requests rise", func(t *testing.T) {
		n := newNet(t)
		n.host(2, friends(), newShelf(pieces))
		r := n.raw(2)
		r.send(&ask{ID: 4, Pieces: want[:1]})
		r.answers(1)
		r.send(&ask{ID: 4, Pieces: want[:1]})
		if m, ok := r.next().(*refused); !ok || m.Reason != ReasonMalformed {
			t.Errorf("%+v", m)
		}
	})
	t.Run("too many requests", func(t *testing.T) {
		n := newNet(t)
		s := newShelf(pieces)
		entered, leave := make(chan struct{}), make(chan struct{})
		first := sync.OnceFunc(func() { close(entered) })
		s.before = func(types.Hash) { first(); <-leave }
		n.host(2, friends(), s)
		r := n.raw(2)
		r.ask(want[0])
		<-entered // one is being answered
		for range maxPending + 1 {
			r.ask(want[1])
		}
		close(leave)
		for {
			m, ok := r.next().(*refused)
			if ok && m.ID == 0 && m.Reason == ReasonMalformed {
				break
			}
		}
	})
}

// TestServerLimits: streams of one account, and of all.
func TestServerLimits(t *testing.T) {
	n := newNet(t)
	n.host(2, friends(), newShelf(nil), func(c *ServerConfig) { c.Limits.PerPeer = 2 })
	n.host(3, friends(), newShelf(nil), func(c *ServerConfig) { c.Limits.Streams = 1 })
	for p, limit := range map[byte]int{2: 2, 3: 1} {
		for range limit {
			n.raw(p).hello()
		}
		if m, ok := n.raw(p).next().(*refused); !ok || m.ID != 0 || m.Reason != ReasonBusy {
			t.Errorf("host %d: %+v", p, m)
		}
	}
	if _, err := NewServer(ServerConfig{Units: 5}); err == nil {
		t.Error("a host asks 5 units a piece")
	}
}

// TestServerEnds: the end of its context ends a stream.
func TestServerEnds(t *testing.T) {
	n := newNet(t)
	ctx, cancel := context.WithCancel(context.Background())
	s := n.host(2, friends(), newShelf(nil))
	ended := make(chan error, 1)
	n.put(2, func(st Stream) { ended <- s.Serve(ctx, st) })
	r := n.raw(2)
	r.hello()
	cancel()
	if _, err := r.Receive(maxAnswer); err == nil {
		t.Error("the stream goes on")
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
}

// TestBrokenPieces: what a store gives wrongly is not sent on.
func TestBrokenPieces(t *testing.T) {
	n := newNet(t)
	s := newShelf(nil)
	_, want := piecesOf(3)
	s.pieces[want[0]] = nil
	s.pieces[want[1]] = make([]byte, types.PieceSize+1)
	n.host(2, friends(), s)
	r := n.raw(2)
	r.ask(want...)
	if _, why := r.answers(3); why[0] != ReasonFailed || why[1] != ReasonFailed || why[2] != ReasonNotHosted {
		t.Errorf("refused with %v", why)
	}
}

// TestPace: a host that limits its upload still serves.
func TestPace(t *testing.T) {
	n := newNet(t)
	pieces, want := piecesOf(5)
	n.host(2, friends(), newShelf(pieces), func(c *ServerConfig) { c.BytesPerSecond = 1 << 30 })
	b := newBasket(t, want)
	if err := n.reader(friends()).Fetch(soon(t), want, peersOf(2), b.put); err != nil {
		t.Fatal(err)
	}
	b.full()
}
