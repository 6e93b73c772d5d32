package swarm

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/staddle/staddle/types"
)

func TestFetch(t *testing.T) {
	n := newNet(t)
	pieces, want := piecesOf(300)
	want = append(want, want[7], want[7], want[299]) // a dataset may repeat a piece
	for p := byte(2); p < 5; p++ {
		n.host(p, friends(), newShelf(pieces))
	}
	b := newBasket(t, want)
	if err := n.reader(friends()).Fetch(soon(t), want, peersOf(2, 3, 4), b.put); err != nil {
		t.Fatal(err)
	}
	b.full()
}

func TestFetchNothing(t *testing.T) {
	n := newNet(t)
	if err := n.reader(friends()).Fetch(soon(t), nil, nil, nil); err != nil {
		t.Error(err)
	}
	_, want := piecesOf(1)
	if err := n.reader(friends()).Fetch(soon(t), want, nil, nil); !errors.Is(err, ErrIncomplete) {
		t.Errorf("without peers: %v", err)
	}
	if err := n.reader(friends()).Fetch(soon(t), want, peersOf(1, 9), nil); !errors.Is(err, ErrIncomplete) {
		t.Errorf("with itself and nobody: %v", err)
	}
}

// TestFetchFromParts: each peer has a part, small ones say so in the hello,
// the rest is found out.
func TestFetchFromParts(t *testing.T) {
	n := newNet(t)
	pieces, want := piecesOf(maxHave + 200)
	thirds := [3][][]byte{}
	for i, p := range pieces {
		thirds[i%3] = append(thirds[i%3], p)
	}
	for i, part := range thirds {
		n.host(byte(2+i), friends(), newShelf(part))
	}
	b := newBasket(t, want)
	if err := n.reader(friends()).Fetch(soon(t), want, peersOf(2, 3, 4), b.put); err != nil {
		t.Fatal(err)
	}
	b.full()
	two := newBasket(t, want)
	err := n.reader(friends()).Fetch(soon(t), want, peersOf(2, 3), two.put)
	if !errors.Is(err, ErrIncomplete) || len(two.got) != len(thirds[0])+len(thirds[1]) {
		t.Errorf("from two parts of three: %d items, %v", len(two.got), err)
	}
}

// TestSeveralPeersAtOnce: no peer gives anything before all three were asked,
// and little travels twice.
func TestSeveralPeersAtOnce(t *testing.T) {
	n := newNet(t)
	pieces, want := piecesOf(200)
	var all sync.WaitGroup
	all.Add(3)
	var shelves []*shelf
	for p := byte(2); p < 5; p++ {
		s := newShelf(pieces)
		var once sync.Once
		s.before = func(types.Hash) { once.Do(all.Done); all.Wait() }
		shelves = append(shelves, s)
		n.host(p, friends(), s)
	}
	b := newBasket(t, want)
	if err := n.reader(friends()).Fetch(soon(t), want, peersOf(2, 3, 4), b.put); err != nil {
		t.Fatal(err)
	}
	b.full()
	sum := int64(0)
	for i, s := range shelves {
		given := s.given.Load()
		if sum += given; given == 0 {
			t.Errorf("peer %d gave nothing", i)
		}
	}
	if sum > int64(len(want))+20 {
		t.Errorf("%d pieces were sent for %d", sum, len(want))
	}
}

// TestResume: after a broken fetch the caller asks for the rest only.
func TestResume(t *testing.T) {
	n := newNet(t)
	pieces, want := piecesOf(100)
	s := newShelf(pieces)
	n.host(2, friends(), s)
	b := newBasket(t, want)
	full := errors.New("disk is full")
	err := n.reader(friends()).Fetch(soon(t), want, peersOf(2), func(i int, data []byte) error {
		if len(b.got) == 40 {
			return full
		}
		return b.put(i, data)
	})
	if !errors.Is(err, full) {
		t.Fatal(err)
	}
	var rest []int
	var digests []types.Hash
	for i, h := range want {
		if b.got[i] == 0 {
			rest, digests = append(rest, i), append(digests, h)
		}
	}
	n.work.Wait() // what was under way has gone
	before := s.given.Load()
	err = n.reader(friends()).Fetch(soon(t), digests, peersOf(2), func(i int, data []byte) error { return b.put(rest[i], data) })
	if err != nil {
		t.Fatal(err)
	}
	b.full()
	if more := s.given.Load() - before; more != int64(len(rest)) {
		t.Errorf("%d pieces for the %d that were missing", more, len(rest))
	}
}

func TestFetchCancelled(t *testing.T) {
	n := newNet(t)
	pieces, want := piecesOf(10)
	ctx, cancel := context.WithCancel(context.Background())
	hang := make(chan struct{})
	s := newShelf(pieces)
	s.before = func(types.Hash) { cancel(); <-hang }
	n.host(2, friends(), s)
	err := n.reader(friends()).Fetch(ctx, want, peersOf(2), func(int, []byte) error { return nil })
	close(hang)
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// quoteTo reads a hello and answers it as if all were there and free.
func quoteTo(s Stream) error {
	frame, err := s.Receive(maxAsk)
	if err != nil {
		return err
	}
	m, err := parseAsk(frame)
	if err != nil {
		return err
	}
	h, ok := m.(*hello)
	if !ok {
		return errors.New("no hello")
	}
	q := &quote{Have: make([]byte, (len(h.Have)+7)/8)}
	q.Units, q.Window, q.Free = 1, 1, 1<<40
	for i := range q.Have {
		q.Have[i] = 0xff
	}
	return s.Send(types.Marshal(q))
}

// nextAsk reads a request.
func nextAsk(s Stream) *ask {
	frame, err := s.Receive(maxAsk)
	if err != nil {
		return nil
	}
	m, _ := parseAsk(frame)
	a, _ := m.(*ask)
	return a
}

// hostile are peers that break the rules once they were asked for something.
func hostile(pieces [][]byte) map[string]func(Stream, *ask) {
	wrong := func(a *ask) bulk { return bulk{ID: a.ID, Data: []byte("something else")} }
	right := func(a *ask, item int) bulk {
		for _, p := range pieces {
			if sha256.Sum256(p) == a.Pieces[item] {
				return bulk{ID: a.ID, Item: uint16(item), Data: p}
			}
		}
		return bulk{}
	}
	endless := func(s Stream, frame []byte) {
		go func() { _, _ = io.Copy(io.Discard, s.(*wire)) }() // it reads, too; ends with the stream
		for s.Send(frame) == nil {
		}
	}
	return map[string]func(Stream, *ask){
		"wrong piece":    func(s Stream, a *ask) { _ = s.Send(wrong(a).frame()) },
		"flipped bit":    func(s Stream, a *ask) { f := right(a, 0).frame(); f[50] ^= 4; _ = s.Send(f) },
		"twice the same": func(s Stream, a *ask) { endless(s, right(a, 0).frame()) },
		"not asked for":  func(s Stream, a *ask) { endless(s, bulk{ID: a.ID + 7, Data: []byte{1}}.frame()) },
		"item beyond":    func(s Stream, a *ask) { _ = s.Send(bulk{ID: a.ID, Item: 64, Data: []byte{1}}.frame()) },
		"empty piece":    func(s Stream, a *ask) { _ = s.Send(bulk{ID: a.ID}.frame()) },
		"charged":        func(s Stream, a *ask) { b := right(a, 0); b.Paid = true; _ = s.Send(b.frame()) },
		"no message":     func(s Stream, _ *ask) { _ = s.Send([]byte("hello?")) },
		"empty frame":    func(s Stream, _ *ask) { _ = s.Send(nil) },
		"endless thanks": func(s Stream, _ *ask) { endless(s, types.Marshal(&taken{Window: 1})) },
		"endless quotes": func(s Stream, _ *ask) { q := &quote{}; q.Units, q.Window = 1, 1; endless(s, types.Marshal(q)) },
		"endless refusals": func(s Stream, a *ask) {
			endless(s, types.Marshal(&refused{ID: a.ID, Count: 1, Refusal: *ErrNotHosted}))
		},
		"refuses nothing":   func(s Stream, a *ask) { endless(s, types.Marshal(&refused{ID: a.ID})) },
		"refuses too much":  func(s Stream, a *ask) { endless(s, types.Marshal(&refused{ID: a.ID, First: 60, Count: 60})) },
		"request as answer": func(s Stream, a *ask) { _ = s.Send(types.Marshal(a)) },
	}
}

// gone are peers that are of no use without lying.
func gone() map[string]func(Stream, *ask) {
	return map[string]func(Stream, *ask){
		"silence":      func(s Stream, _ *ask) { _, _ = io.Copy(io.Discard, s.(*wire)) },
		"vanishes":     func(Stream, *ask) {},
		"huge frame":   func(s Stream, _ *ask) { _, _ = s.(*wire).Write(binary.BigEndian.AppendUint32(nil, 1<<31)) },
		"cut frame":    func(s Stream, _ *ask) { _, _ = s.(*wire).Write([]byte{0, 0, 1, 0, 0, 0, 0}) },
		"busy":         func(s Stream, _ *ask) { _ = s.Send(types.Marshal(&refused{Refusal: *ErrBusy})) },
		"refuses all":  func(s Stream, _ *ask) { _ = s.Send(types.Marshal(&refused{Refusal: *ErrDenied})) },
		"bad receipts": func(s Stream, _ *ask) { _ = s.Send(types.Marshal(&dispute{Refusal: *ErrReceipt})) },
		"drips": func(s Stream, _ *ask) {
			for _, b := range []byte{0, 4, 0, 0, 0, 0} {
				if _, err := s.(*wire).Write([]byte{b}); err != nil {
					return
				}
			}
			_, _ = io.Copy(io.Discard, s.(*wire))
		},
	}
}

// TestHostilePeers: beside each of them a fetch from an honest peer ends well;
// alone with it, a fetch ends with an error, soon. Who sent wrong bytes is
// never asked again; who failed otherwise is tried three times at most.
func TestHostilePeers(t *testing.T) {
	pieces, want := piecesOf(40)
	run := func(t *testing.T, act func(Stream, *ask), lies bool) {
		t.Parallel()
		n := newNet(t)
		n.put(2, func(s Stream) {
			if quoteTo(s) == nil {
				if a := nextAsk(s); a != nil {
					act(s, a)
				}
			}
		})
		met := make(chan struct{})
		saw := sync.OnceFunc(func() { close(met) })
		s := newShelf(pieces)
		s.before = func(types.Hash) { <-met } // so that the bad one is asked, too
		n.host(3, friends(), s)
		var accused atomic.Int32
		r := n.reader(friends(), impatient, func(c *Config) {
			c.Limits.Patience = 400 * time.Millisecond
			c.Lied = func(p Peer, err error) {
				accused.Add(1)
				if p.Account != account(2) || !errors.Is(err, ErrWrongBytes) {
					t.Errorf("%s is accused: %v", p.Account.Short(), err)
				}
			}
			dial := c.Dial
			c.Dial = func(ctx context.Context, to types.Account) (Stream, error) {
				st, err := dial(ctx, to)
				if to == account(2) && err == nil {
					return &watched{Stream: st, saw: saw}, nil
				}
				return st, err
			}
		})
		b := newBasket(t, want)
		if err := r.Fetch(soon(t), want, peersOf(2, 3), b.put); err != nil {
			t.Fatal(err)
		}
		b.full()
		before := n.dialed(2)
		if got := accused.Load() == 1; got != lies || before > maxVanish {
			t.Errorf("accused %d times, dialled %d times", accused.Load(), before)
		}
		err := r.Fetch(soon(t), want, peersOf(2), func(int, []byte) error { return nil })
		if !errors.Is(err, ErrIncomplete) {
			t.Errorf("alone with it: %v", err)
		}
		if lies && n.dialed(2) != before {
			t.Error("a peer that lied is asked again")
		}
		if n.dialed(2) > before+maxVanish {
			t.Errorf("dialled %d times", n.dialed(2))
		}
	}
	for name, act := range hostile(pieces) {
		t.Run(name, func(t *testing.T) { run(t, act, true) })
	}
	for name, act := range gone() {
		t.Run(name, func(t *testing.T) { run(t, act, false) })
	}
}

// watched tells when its second frame, the first request, is sent.
type watched struct {
	Stream
	sent int
	saw  func()
}

func (w *watched) Send(b []byte) error {
	if w.sent++; w.sent == 2 {
		defer w.saw()
	}
	return w.Stream.Send(b)
}

// TestHostileQuotes: a peer that quotes nonsense, or is another, is left alone.
func TestHostileQuotes(t *testing.T) {
	_, want := piecesOf(3)
	for name, v := range map[string]struct {
		answer func(Stream)
		lies   bool
	}{
		"five units": {func(s Stream) { q := &quote{Have: []byte{7}}; q.Units, q.Window = 5, 1; _ = s.Send(types.Marshal(q)) }, true},
		"no window":  {func(s Stream) { q := &quote{Have: []byte{7}}; q.Units = 1; _ = s.Send(types.Marshal(q)) }, true},
		"no bits":    {func(s Stream) { q := &quote{}; q.Units, q.Window = 1, 1; _ = s.Send(types.Marshal(q)) }, true},
		"many bits": {func(s Stream) {
			q := &quote{Have: make([]byte, 9)}
			q.Units, q.Window = 1, 1
			_ = s.Send(types.Marshal(q))
		}, true},
		"bytes":   {func(s Stream) { _ = s.Send(bulk{ID: 1, Data: []byte{1}}.frame()) }, true},
		"nothing": {func(s Stream) { _, _ = io.Copy(io.Discard, s.(*wire)) }, false},
		"the end": {func(Stream) {}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNet(t)
			n.put(2, func(s Stream) {
				if _, err := s.Receive(maxAsk); err == nil {
					v.answer(s)
				}
			})
			lied := false
			r := n.reader(friends(), impatient, func(c *Config) { c.Lied = func(Peer, error) { lied = true } })
			err := r.Fetch(soon(t), want, peersOf(2), nil)
			if !errors.Is(err, ErrIncomplete) || lied != v.lies {
				t.Errorf("lied %t, want %t; %v", lied, v.lies, err)
			}
		})
	}
	t.Run("another account", func(t *testing.T) {
		n := newNet(t)
		n.put(2, func(s Stream) { _, _ = io.Copy(io.Discard, s.(*wire)) })
		r := n.reader(friends(), func(c *Config) {
			dial := c.Dial
			c.Dial = func(ctx context.Context, _ types.Account) (Stream, error) { return dial(ctx, account(2)) }
		})
		if err := r.Fetch(soon(t), want, peersOf(3), nil); !errors.Is(err, ErrIncomplete) {
			t.Error(err)
		}
	})
}

func TestFetchDataset(t *testing.T) {
	n := newNet(t)
	pieces, want := piecesOf(5)
	n.host(2, friends(), newShelf(pieces))
	set := types.H("staddle/test/dataset")
	r := n.reader(friends(), func(c *Config) { c.Holders = holders{set: peersOf(2)} })
	b := newBasket(t, want)
	if err := r.FetchDataset(soon(t), set, want, b.put); err != nil {
		t.Fatal(err)
	}
	b.full()
	if err := r.FetchDataset(soon(t), types.H("x"), want, b.put); err == nil {
		t.Error("a dataset that nobody has was fetched")
	}
}

type holders map[types.DatasetID][]Peer

func (h holders) Holders(_ context.Context, d types.DatasetID) ([]Peer, error) {
	if _, ok := h[d]; !ok {
		return nil, errors.New("unknown dataset")
	}
	return h[d], nil
}

func TestNodes(t *testing.T) {
	n := newNet(t)
	s := newShelf(nil)
	var want []types.Node
	for i := range 150 {
		node := types.NewNode(append([]byte{0x45}, append(types.Be32(uint32(i)), 0)...))
		want = append(want, node)
		s.nodes[node.CID] = node.Bytes
	}
	half := newShelf(nil)
	for _, node := range want[:75] {
		half.nodes[node.CID] = node.Bytes
	}
	n.host(2, friends(), half)
	n.host(3, friends(), s)
	r := n.reader(friends())
	got, err := r.Nodes(soon(t), cidsOf(want), peersOf(2, 3))
	if err != nil {
		t.Fatal(err)
	}
	same := func(a, b types.Node) bool { return a.CID == b.CID && string(a.Bytes) == string(b.Bytes) }
	if !slices.EqualFunc(got, want, same) {
		t.Errorf("%d of %d blocks, or other ones", len(got), len(want))
	}
	got, err = r.Nodes(soon(t), cidsOf(want), peersOf(2))
	if !errors.Is(err, ErrIncomplete) || !slices.EqualFunc(got, want[:75], same) {
		t.Errorf("from who has half: %d blocks, %v", len(got), err)
	}
}
