package chain

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/staddle/staddle/types"
)

// TestMain keeps properties short and looks for what was left running.
func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "rapid.checks" })
	if !given {
		if err := flag.Set("rapid.checks", "15"); err != nil {
			panic(err)
		}
	}
	code := m.Run()
	if err := goleak.Find(goleak.IgnoreTopFunction("testing.(*F).Fuzz")); err != nil && code == 0 {
		_, _ = os.Stderr.WriteString(err.Error() + "\n")
		code = 1
	}
	os.Exit(code)
}

func gift(k int) *types.Wire {
	return &types.Wire{To: signer(byte(100 + k)).Account(), Amount: types.Amount(k + 1)}
}

// TestWishesSurviveARestart: a wish is stored before Submit returns; after a
// restart it goes on, and is not sent a second time when it was included.
func TestWishesSurviveARestart(t *testing.T) {
	v := begin(t, 2)
	defer v.close()
	c := v.all[0]
	for k, name := range []string{"a", "b"} {
		if err := c.Submit(types.KindWire, gift(k), name); err != nil {
			t.Fatal(err)
		}
	}
	c = v.open(0) // killed before the loop looked at them
	if !c.Waiting("a") || !c.Waiting("b") {
		t.Fatal("the wishes are gone")
	}
	if err := c.Submit(types.KindWire, gift(0), "a"); err != nil {
		t.Fatal(err)
	}
	c.nudge()
	v.settle()
	c = v.open(0) // killed with signed versions on their way
	c.nudge()
	v.settle()
	v.mine(1) // the other one has heard of them
	if c.Waiting("a") || c.Waiting("b") || v.balance(0, gift(1).To) != 2 {
		t.Fatalf("waiting %t %t", c.Waiting("a"), c.Waiting("b"))
	}
	c = v.open(0)
	c.nudge()
	v.settle()
	for range 3 {
		v.mine(0, 1)
	}
	if v.balance(0, gift(0).To) != 1 || v.balance(0, gift(1).To) != 2 {
		t.Fatal("a wish was executed twice")
	}
	if err := c.Submit(types.KindWire, gift(0), "a"); err != nil { // the name is free again
		t.Fatal(err)
	}
	v.settle()
	v.mine(0, 1)
	if v.balance(0, gift(0).To) != 2 {
		t.Fatal("a second wish of the same name and body is not executed")
	}
	v.agree()
}

func TestSubmitAndAwait(t *testing.T) {
	v := begin(t, 2)
	defer v.close()
	c := v.all[0]
	err := c.Submit(types.KindWire, &types.Wire{To: signer(1).Account(), Amount: types.MaxSupply}, "too much")
	if err == nil || c.Waiting("too much") {
		t.Fatalf("a wire above the balance: %v", err)
	}
	if err := c.Submit(types.KindWire, gift(0), strings.Repeat("n", 256)); err == nil {
		t.Fatal("a name of 256 bytes is taken")
	}
	if _, _, err := c.Await(t.Context(), "nothing"); !errors.Is(err, ErrNoWish) {
		t.Fatalf("error %v, want ErrNoWish", err)
	}
	if err := c.Submit(types.KindWire, gift(0), "gift"); err != nil {
		t.Fatal(err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := c.Await(over, "gift"); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want Canceled", err)
	}
	type end struct {
		id  types.TxID
		h   types.Height
		err error
	}
	got := make(chan end)
	ready := make(chan struct{})
	go func() {
		close(ready)
		id, h, err := c.Await(t.Context(), "gift")
		got <- end{id, h, err}
	}()
	<-ready
	c.queue.mu.Lock()
	w := c.queue.wishes["gift"]
	c.queue.mu.Unlock()
	v.settle()
	v.mine(0, 1)
	<-w.done
	e := <-got
	if errors.Is(e.err, ErrNoWish) { // the block came before Await looked
		e = end{w.result.tx, w.result.height, nil}
	}
	if e.err != nil || e.h != 1 || v.all[0].Tip().Txs[0].ID() != e.id {
		t.Fatalf("transaction %s in block %d: %v", e.id.Short(), e.h, e.err)
	}
}

// TestRefusedWishIsGivenUp: what the rules refuse for thirty tips ends with the
// reason; what was behind it goes on.
func TestRefusedWishIsGivenUp(t *testing.T) {
	v := begin(t, 2)
	defer v.close()
	c := v.all[0]
	v.split([]int{0}, []int{1})
	if err := c.Submit(types.KindLock, &types.Lock{Epoch: 0, Amount: 5}, "lock"); err != nil {
		t.Fatal(err)
	}
	if err := c.Submit(types.KindWire, gift(0), "gift"); err != nil {
		t.Fatal(err)
	}
	v.settle()
	w := c.queue.wishes["lock"]
	// The other one mines until the epoch of the lock is over.
	for range 9 {
		v.mine(1)
	}
	v.split()
	v.poll()
	for range 3 {
		v.mine(0, 1)
	}
	if v.balance(0, gift(0).To) != 1 || !c.Waiting("lock") {
		t.Fatalf("the gift: %d; lock waits: %t", v.balance(0, gift(0).To), c.Waiting("lock"))
	}
	for range 40 {
		v.mine(0, 1)
	}
	if c.Waiting("lock") || w.result.err == nil || !strings.Contains(w.result.err.Error(), "want this one or the next") {
		t.Fatalf("lock waits: %t, end %v", c.Waiting("lock"), w.result.err)
	}
	v.agree()
}

// TestPinnedNonce: when a wish in the middle is refused, those behind it keep
// their nonces and the gap is filled, so that no old version can follow a new one.
func TestPinnedNonce(t *testing.T) {
	v := begin(t, 2)
	defer v.close()
	c := v.all[0]
	if err := c.Submit(types.KindLock, &types.Lock{Epoch: 0, Amount: 5}, "lock"); err != nil {
		t.Fatal(err)
	}
	if err := c.Submit(types.KindWire, gift(0), "gift"); err != nil {
		t.Fatal(err)
	}
	v.settle() // both are on their way with nonces 1 and 2
	old := *c.queue.wishes["gift"].tx
	if old.Nonce != 2 {
		t.Fatalf("gift has nonce %d", old.Nonce)
	}
	// Blocks without them, until the lock is refused.
	for _, x := range v.all {
		x.pool = newPool()
	}
	for range 9 {
		for _, x := range v.all {
			x.pool = newPool()
		}
		v.mine(1)
	}
	list, err := c.refresh()
	if err != nil || len(list) != 2 || list[0].Nonce != 1 || list[1].Nonce != 2 {
		t.Fatalf("%d transactions: %v", len(list), err)
	}
	if string(list[0].Body) != string(types.Marshal(&types.Wire{To: c.cfg.Signer.Account(), Amount: 1})) || string(list[1].Body) != string(old.Body) {
		t.Fatal("the gap is not filled, or the gift is not behind it")
	}
	for range 4 {
		v.mine(0, 1)
	}
	_ = v.all[1].AddTx(&old) // somebody kept the old version
	for range 3 {
		v.mine(0, 1)
	}
	if n := v.balance(1, gift(0).To); n != 1 {
		t.Fatalf("the gift was executed %d times", n)
	}
	v.agree()
}

func FuzzWish(f *testing.F) {
	w := &wish{
		name: "gift", kind: types.KindWire, body: types.Marshal(gift(0)), tx: &types.Tx{Version: 1, Body: []byte{1}},
		sent: []version{{id: types.Hash{1}, nonce: 2, expiry: 3, recent: types.Cursor{Height: 4, Root: types.NodeCID(nil)}}},
	}
	f.Add(types.Marshal(w))
	f.Add(types.Marshal(&wish{}))
	f.Fuzz(func(t *testing.T, b []byte) {
		var w wish
		if err := types.Unmarshal(b, &w); err == nil && !bytes.Equal(types.Marshal(&w), b) {
			t.Fatalf("% x encodes as % x", b, types.Marshal(&w))
		}
	})
}
