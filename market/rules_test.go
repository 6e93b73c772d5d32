package market

import (
	"errors"
	"math/big"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/staddle/staddle/keys"
	"github.com/staddle/staddle/types"
)

// TestST6: a quote is 1 to 4 units; what a whole costs is known before the
// first piece; a payer's highest price decides.
func TestST6(t *testing.T) {
	for units := range uint64(7) {
		err := Quote{Units: units, Window: 1}.Check()
		if ok := units >= 1 && units <= 4; (err == nil) != ok {
			t.Errorf("quote of %d units: %v", units, err)
		}
	}
	for _, window := range []uint64{0, 65} {
		if (Quote{Units: 1, Window: window}).Check() == nil {
			t.Errorf("window of %d pieces was taken", window)
		}
	}
	const piece = types.PieceSize
	for _, v := range []struct {
		quote  Quote
		pieces uint64
		units  uint64 // that the whole costs
	}{
		{Quote{Units: 1}, 0, 0},
		{Quote{Units: 1}, 10, 10},
		{Quote{Units: 4}, 10, 40},
		{Quote{Units: 3, Free: 2 * piece}, 10, 24},
		{Quote{Units: 3, Free: 3*piece - 1}, 10, 24},
		{Quote{Units: 4, Free: 1 << 40}, 10, 0},
		{Quote{Units: 4}, 1 << 32, 4 << 32},
	} {
		if got := v.quote.Whole(v.pieces, cost); got.Cmp(wei(v.units)) != 0 {
			t.Errorf("%d pieces at %+v cost %s wei, want %s", v.pieces, v.quote, got, wei(v.units))
		}
	}
	two := Quote{Units: 2, Window: 1}
	for _, v := range []struct {
		name    string
		ceiling Ceiling
		ok      bool
	}{
		{"only free", Ceiling{}, false},
		{"below", Ceiling{Piece: wei(1)}, false},
		{"one wei below", Ceiling{Piece: new(big.Int).Sub(wei(2), big.NewInt(1))}, false},
		{"equal", Ceiling{Piece: wei(2)}, true},
	} {
		if err := v.ceiling.Accept(two, cost); errors.Is(err, ErrPrice) == v.ok {
			t.Errorf("%s: %v", v.name, err)
		}
	}
	whole := Ceiling{Piece: wei(4), Whole: wei(20)}
	if err := whole.Allows(wei(20)); err != nil {
		t.Error(err)
	}
	if err := whole.Allows(wei(21)); !errors.Is(err, ErrPrice) {
		t.Errorf("sum above the ceiling: %v", err)
	}
}

// TestST8_1: receipts rise in both numbers and never pass the lock.
func TestST8_1(t *testing.T) {
	last := signed(2, 10, wei(30))
	for _, v := range []struct {
		name  string
		r     Receipt
		last  *Receipt
		lock  types.Amount
		added uint64
		err   error
	}{
		{"first", signed(2, 10, wei(10)), nil, enough(10), 10, nil},
		{"next", signed(2, 12, wei(32)), &last, enough(32), 2, nil},
		{"next, others were paid in between", signed(2, 12, wei(40)), &last, enough(40), 2, nil},
		{"again", last, &last, enough(99), 0, ErrStale},
		{"older", signed(2, 9, wei(29)), &last, enough(99), 0, ErrStale},
		{"at the lock", signed(2, 10, wei(1000)), nil, enough(1000), 10, nil},
		{"one base unit short", signed(2, 10, wei(1000)), nil, enough(1000) - 1, 0, ErrLock},
		{"no lock", signed(2, 1, wei(1)), nil, 0, 0, ErrLock},
		{"total below its own units", signed(2, 10, wei(9)), nil, enough(99), 0, ErrReceipt},
		{"no multiple of the price", signed(2, 10, new(big.Int).Add(wei(10), big.NewInt(1))), nil, enough(99), 0, ErrReceipt},
		{"to another payee", signed(3, 10, wei(10)), nil, enough(99), 0, ErrReceipt},
		{"total rises by too little", signed(2, 20, wei(35)), &last, enough(99), 0, ErrContradiction},
		{"total falls", signed(2, 11, wei(29)), &last, enough(99), 0, ErrContradiction},
		{"units stand, total rises", signed(2, 10, wei(31)), &last, enough(99), 0, ErrContradiction},
	} {
		t.Run(v.name, func(t *testing.T) {
			before := Till{Owed: 10, Honoured: 1}
			till := before
			added, err := till.Accept(&v.r, v.last, termsOf(2, v.lock))
			if added != v.added || !errors.Is(err, v.err) {
				t.Fatalf("added %d, error %v; want %d, %v", added, err, v.added, v.err)
			}
			want := before
			want.Owed -= v.added
			if v.added >= 5 {
				want.Honoured++
			}
			if till != want {
				t.Errorf("till %+v, want %+v", till, want)
			}
		})
	}
}

// TestST8_1Parties: a receipt of another chain, payer or epoch pays nothing.
func TestST8_1Parties(t *testing.T) {
	good := signed(2, 1, wei(1))
	for name, change := range map[string]func(*Terms){
		"chain":  func(t *Terms) { t.Chain[0]++ },
		"payer":  func(t *Terms) { t.Payer[0]++ },
		"payee":  func(t *Terms) { t.Payee[0]++ },
		"device": func(t *Terms) { t.Device[0]++ },
		"epoch":  func(t *Terms) { t.Epoch++ },
		"price":  func(t *Terms) { t.Cost = new(big.Int) },
	} {
		terms, till := termsOf(2, enough(9)), Till{Owed: 3}
		change(&terms)
		if added, err := till.Accept(&good, nil, terms); added != 0 || !errors.Is(err, ErrReceipt) || till.Owed != 3 {
			t.Errorf("other %s: added %d, owed %d, error %v", name, added, till.Owed, err)
		}
	}
	bad := good
	bad.Units++
	if err := bad.Check(keys.Verify); !errors.Is(err, ErrReceipt) {
		t.Errorf("changed receipt: %v", err)
	}
	if err := good.Check(keys.Verify); err != nil {
		t.Error(err)
	}
}

// TestST8_1Lock: a purse signs to the last unit that the lock covers, not one
// more, and a refusal changes nothing.
func TestST8_1Lock(t *testing.T) {
	p := newPurse(t)
	lock := enough(10)
	for i, v := range []struct {
		to    byte
		units uint64
		err   error
	}{{2, 4, nil}, {3, 7, ErrLock}, {3, 5, nil}, {2, 0, ErrLock}, {2, 2, ErrLock}, {2, 1, nil}, {3, 1, ErrLock}} {
		before := types.Marshal(p)
		r, err := p.Sign(payee(v.to), v.units, lock, person(1).Sign)
		if !errors.Is(err, v.err) {
			t.Fatalf("step %d: %v, want %v", i, err, v.err)
		}
		if err != nil {
			if d := cmp.Diff(before, types.Marshal(p)); d != "" {
				t.Errorf("step %d changed the purse: %s", i, d)
			}
			continue
		}
		if err := r.Check(keys.Verify); err != nil {
			t.Error(err)
		}
		if last, ok := p.Last(account(v.to), device(v.to)); !ok || !last.equal(&r) {
			t.Errorf("step %d: last receipt is %+v", i, last)
		}
	}
	if p.Total.Cmp(wei(10)) != 0 || p.Room(lock) != 0 || p.Room(lock-1) != 0 || p.Room(types.MaxSupply) == 0 {
		t.Errorf("total %s, room %d", p.Total, p.Room(lock))
	}
	if _, err := NewPurse(chain, account(1), 7, new(big.Int)); err == nil {
		t.Error("a price of 0 was taken")
	}
}

// TestST8_3: receipts that one honest running total cannot give.
func TestST8_3(t *testing.T) {
	for _, v := range []struct {
		name string
		set  []Receipt
		want bool
	}{
		{"one", []Receipt{signed(2, 5, wei(5))}, false},
		{"one that does not pay itself", []Receipt{signed(2, 5, wei(4))}, true},
		{"two payees in turn", []Receipt{signed(2, 5, wei(5)), signed(3, 4, wei(9))}, false},
		{"the other was left out", []Receipt{signed(2, 5, wei(5)), signed(3, 4, wei(8))}, true},
		{"one total for two payees", []Receipt{signed(2, 5, wei(9)), signed(3, 4, wei(9))}, true},
		{"twice the same", []Receipt{signed(2, 5, wei(5)), signed(2, 5, wei(5))}, false},
		{"one total, other units", []Receipt{signed(2, 4, wei(5)), signed(2, 5, wei(5))}, true},
		{"units fall", []Receipt{signed(2, 5, wei(5)), signed(2, 4, wei(7))}, true},
		{"units stand", []Receipt{signed(2, 5, wei(5)), signed(2, 5, wei(7))}, true},
		{"rises by too little", []Receipt{signed(2, 5, wei(9)), signed(2, 8, wei(11))}, true},
		{"gaps between", []Receipt{signed(2, 9, wei(99)), signed(3, 1, wei(50)), signed(2, 5, wei(7))}, false},
		{"three payees, each pair agrees", []Receipt{
			signed(2, 5, wei(8)), signed(3, 5, wei(10)), signed(4, 5, wei(12)),
		}, true},
		{"three in turn", []Receipt{signed(2, 5, wei(5)), signed(3, 5, wei(10)), signed(4, 5, wei(15))}, false},
	} {
		t.Run(v.name, func(t *testing.T) {
			e := Evidence{Receipts: v.set}
			if err := e.Check(cost, keys.Verify); (err == nil) != v.want {
				t.Errorf("evidence: %v, want contradiction %t", err, v.want)
			}
			for i, j := 0, len(v.set)-1; i < j; i, j = i+1, j-1 {
				v.set[i], v.set[j] = v.set[j], v.set[i]
			}
			if Contradict(cost, v.set...) != v.want {
				t.Error("the order of the receipts matters")
			}
		})
	}
}

// TestST8_3Refused: receipts of others or with a wrong signature accuse nobody.
func TestST8_3Refused(t *testing.T) {
	a, b := signed(2, 5, wei(9)), signed(3, 4, wei(9))
	forged := b
	forged.Signature[3] ^= 1
	later := b
	later.Epoch++
	digest := later.digest()
	later.Signature = person(1).Sign(digest[:])
	for name, v := range map[string]struct {
		set []Receipt
		err error
	}{
		"none":        {nil, ErrEvidence},
		"too many":    {make([]Receipt, MaxEvidence+1), ErrEvidence},
		"forged":      {[]Receipt{a, forged}, ErrReceipt},
		"other epoch": {[]Receipt{a, later}, ErrEvidence},
		"agree":       {[]Receipt{a}, ErrEvidence},
	} {
		if err := (&Evidence{Receipts: v.set}).Check(cost, keys.Verify); !errors.Is(err, v.err) {
			t.Errorf("%s: %v, want %v", name, err, v.err)
		}
	}
	if err := (&Evidence{Receipts: []Receipt{a, b}}).Check(cost, keys.Verify); err != nil {
		t.Error(err)
	}
}

// TestF1: the window is one piece, doubles with each honoured receipt and ends
// at 16 MiB; what is free has three bounds.
func TestF1(t *testing.T) {
	t.Run("window", func(t *testing.T) {
		till, units, served := Till{}, uint64(0), uint64(0)
		var windows []uint64
		for range 9 {
			windows = append(windows, till.Window())
			for till.Serve(2, 2) {
				served += 2
			}
			if till.Owed != 2*till.Window() {
				t.Fatalf("served %d units in a window of %d pieces", till.Owed, till.Window())
			}
			last := signed(2, max(units, 1), wei(max(units, 1)))
			units = served
			next := signed(2, units, wei(units))
			lastOrNil := &last
			if len(windows) == 1 {
				lastOrNil = nil
			}
			if _, err := till.Accept(&next, lastOrNil, termsOf(2, enough(units))); err != nil {
				t.Fatal(err)
			}
		}
		if d := cmp.Diff([]uint64{1, 2, 4, 8, 16, 32, 64, 64, 64}, windows); d != "" {
			t.Error(d)
		}
		if MaxWindow*types.PieceSize != 16<<20 {
			t.Errorf("largest window is %d bytes", MaxWindow*types.PieceSize)
		}
		till.Distrust()
		if till.Window() != 1 {
			t.Error("window stays open for who did not pay")
		}
	})
	t.Run("little payments do not open it", func(t *testing.T) {
		till := Till{Owed: 8, Honoured: 3}
		small := signed(2, 3, wei(3))
		if _, err := till.Accept(&small, nil, termsOf(2, enough(9))); err != nil {
			t.Fatal(err)
		}
		if want := (Till{Owed: 5, Honoured: 3}); till != want {
			t.Errorf("till %+v, want %+v", till, want)
		}
	})
	t.Run("free", testFree)
}

func testFree(t *testing.T) {
	const day, plenty = 86_400_000, 1 << 50
	var a Allowance
	take := func(v *Visitor, n, upload uint64, now types.Millis, want bool) {
		t.Helper()
		if got := a.Take(v, n, upload, now); got != want {
			t.Errorf("%d bytes for %+v: %t", n, *v, got)
		}
	}
	matured := &Visitor{Account: account(1), Standing: Matured}
	take(matured, 1<<30, plenty, 0, true)
	take(matured, 1, plenty, 0, false)
	take(matured, 1, plenty, 40*day, false)
	one := &Visitor{Account: account(2), Subnet: "10.0.0.0/24"}
	take(one, 64<<20-1, plenty, 40*day, true)
	take(one, 2, plenty, 40*day, false)
	neighbour := &Visitor{Account: account(3), Subnet: "10.0.0.0/24"}
	take(neighbour, 1, plenty, 40*day, true)
	take(neighbour, 1, plenty, 40*day, false)
	moved := &Visitor{Account: account(2), Subnet: "10.0.1.0/24"}
	take(moved, 1, plenty, 40*day, true)
	take(moved, 1, plenty, 40*day, false)
	take(one, 1, plenty, 39*day, false) // a clock that runs back
	take(one, 64<<20, plenty, 41*day, true)
	far := &Visitor{Account: account(4), Subnet: "10.0.2.0/24"}
	take(far, 1<<20+1, 8*(65<<20), 41*day, false) // an eighth of the upload, with what was given
	take(far, 1<<20, 8*(65<<20), 41*day, true)
	take(&Visitor{Account: account(5), Standing: Matured}, 1, 8*(65<<20), 41*day, false)
	take(&Visitor{Account: account(6), Standing: Member}, 1<<40, 0, 41*day, true)
	if one.Used != 0 || matured.Used != 1<<30 {
		t.Errorf("used %d and %d", one.Used, matured.Used)
	}
}

func TestAllowanceIsBounded(t *testing.T) {
	var a Allowance
	for i := range maxKeys + 10 {
		v := Visitor{Account: types.Account(types.H("k", types.Be32(uint32(i)))), Subnet: string(types.Be32(uint32(i % 5)))}
		if got := a.Take(&v, 1, 1<<40, 0); got != (i < maxKeys) {
			t.Fatalf("key %d: %t", i, got)
		}
	}
	if len(a.keys) != maxKeys || len(a.subnets) != 5 {
		t.Errorf("%d keys, %d networks", len(a.keys), len(a.subnets))
	}
}

func TestPayAt(t *testing.T) {
	for _, v := range [][3]uint64{{1, 0, 1}, {2, 0, 1}, {64, 0, 32}, {64, 8, 8}, {64, 100, 32}, {1, 100, 1}} {
		if got := PayAt(v[0], v[1]); got != v[2] {
			t.Errorf("window %d, wish %d: pay at %d, want %d", v[0], v[1], got, v[2])
		}
	}
}

func TestBudget(t *testing.T) {
	const day = 86_400_000
	var b Budget
	for i, v := range []struct {
		wei  int64
		now  types.Millis
		ok   bool
		left int64
	}{{60, 5, true, 40}, {41, 9, false, 40}, {40, day - 1, true, 0}, {1, day - 1, false, 0}, {100, day, true, 0}} {
		err := b.Spend(big.NewInt(v.wei), big.NewInt(100), v.now)
		if (err == nil) != v.ok || err != nil && !errors.Is(err, ErrBudget) {
			t.Errorf("step %d: %v", i, err)
		}
		if left := b.Left(big.NewInt(100), v.now); left.Int64() != v.left {
			t.Errorf("step %d: %s left, want %d", i, left, v.left)
		}
	}
	if err := b.Spend(wei(1<<40), nil, 3*day); err != nil || b.Left(nil, 3*day) != nil {
		t.Errorf("no bound: %v", err)
	}
	if b.Left(big.NewInt(1), 3*day).Sign() != 0 {
		t.Error("a bound below what was spent leaves something")
	}
}

// TestDealing: a payee claims at most what was asked for, once.
func TestDealing(t *testing.T) {
	d := Dealing{}
	if !d.Ask(3, 1) || d.Mark != 4 {
		t.Fatalf("after asking 3: %+v", d)
	}
	if d.Ask(4, 1) {
		t.Error("the mark rises although it covers 4")
	}
	d.Got(2)
	for _, v := range []struct {
		name  string
		claim uint64
		want  Dealing
	}{
		{"what came", 2, Dealing{Received: 2, Mark: 2, Honoured: 3}},
		{"less", 1, Dealing{Received: 1, Mark: 1, Honoured: 3}},
		{"lost on the way", 4, Dealing{Received: 4, Mark: 4}},
		{"a lie", 1000, Dealing{Received: 4, Mark: 4}},
	} {
		got := d
		got.Honoured = 3
		got.Settle(v.claim)
		if got != v.want {
			t.Errorf("%s: %+v, want %+v", v.name, got, v.want)
		}
		got.Signed(got.Received)
		got.Settle(1000)
		if got.Received != 0 {
			t.Errorf("%s: paid again: %+v", v.name, got)
		}
	}
	d.Got(100)
	if d.Received != 4 {
		t.Errorf("more than was asked counts: %+v", d)
	}
}
