package market

import (
	"errors"
	"math/big"
	"testing"

	"pgregory.net/rapid"

	"github.com/staddle/staddle/types"
)

// fakeSign stands for a signature where thousands are made.
func fakeSign([]byte) types.Signature { return types.Signature{1} }

// TestMeters runs a payer with a lock against several payees: whatever is
// asked, lost and forgotten, nothing is signed beyond the lock, nothing is
// served beyond a window, and both sides agree about what was paid.
func TestMeters(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newScene(t)
		t.Repeat(map[string]func(*rapid.T){
			"serve":    s.serve,
			"pay":      s.pay,
			"replay":   s.replay,
			"restart":  s.restart,
			"distrust": func(t *rapid.T) { s.tills[s.pick(t)].Distrust() },
			"":         s.check,
		})
	})
}

type scene struct {
	lock  types.Amount
	units uint64 // a piece
	purse *Purse
	tills [3]Till
	last  [3]*Receipt
	sent  []Receipt
}

func newScene(t *rapid.T) *scene {
	s := &scene{
		lock:  enough(rapid.Uint64Range(1, 300).Draw(t, "units of the lock")),
		units: rapid.Uint64Range(1, 4).Draw(t, "units a piece"),
	}
	s.purse, _ = NewPurse(chain, account(1), 7, cost)
	return s
}

func (s *scene) pick(t *rapid.T) int { return rapid.IntRange(0, 2).Draw(t, "payee") }

func (s *scene) serve(t *rapid.T) {
	till := &s.tills[s.pick(t)]
	before, window := *till, till.Window()*s.units
	served := till.Serve(s.units, s.units)
	if served != (before.Owed+s.units <= window) {
		t.Fatalf("served %t with %d owed in a window of %d units", served, before.Owed, window)
	}
}

func (s *scene) pay(t *rapid.T) {
	i := s.pick(t)
	units := rapid.Uint64Range(1, 80).Draw(t, "pay")
	room := s.purse.Room(s.lock)
	r, err := s.purse.Sign(Paid{Payee: account(byte(i + 2)), Device: device(byte(i + 2))}, units, s.lock, fakeSign)
	if (err == nil) != (units <= room) {
		t.Fatalf("sign %d with room for %d: %v", units, room, err)
	}
	if err != nil {
		return
	}
	owed := s.tills[i].Owed
	added, err := s.tills[i].Accept(&r, s.last[i], termsOf(byte(i+2), s.lock))
	if err != nil || added != units || s.tills[i].Owed != owed-min(owed, units) {
		t.Fatalf("honest receipt: added %d of %d, owed %d after %d: %v", added, units, s.tills[i].Owed, owed, err)
	}
	s.last[i], s.sent = &r, append(s.sent, r)
}

// replay shows an old receipt again: it is stale and pays nothing.
func (s *scene) replay(t *rapid.T) {
	if len(s.sent) == 0 {
		t.Skip("nothing was sent")
	}
	old := rapid.SampledFrom(s.sent).Draw(t, "old")
	for i := range s.tills {
		before := s.tills[i]
		_, err := s.tills[i].Accept(&old, s.last[i], termsOf(byte(i+2), s.lock))
		want := ErrReceipt
		if old.Payee == account(byte(i+2)) {
			want = ErrStale
		}
		if !errors.Is(err, want) || s.tills[i] != before {
			t.Fatalf("old receipt at payee %d: %v, want %v", i, err, want)
		}
	}
}

// restart writes the purse down and reads it.
func (s *scene) restart(t *rapid.T) {
	var p Purse
	if err := types.Unmarshal(types.Marshal(s.purse), &p); err != nil {
		t.Fatal(err)
	}
	s.purse = &p
}

func (s *scene) check(t *rapid.T) {
	if s.purse.Total.Cmp(LockWei(s.lock)) > 0 {
		t.Fatalf("signed %s wei, the lock is %s", s.purse.Total, LockWei(s.lock))
	}
	sum := new(big.Int)
	for _, r := range s.purse.Receipts() {
		sum.Add(sum, wei(r.Units))
	}
	if sum.Cmp(s.purse.Total) != 0 {
		t.Fatalf("receipts are worth %s wei, the total is %s", sum, s.purse.Total)
	}
	if Contradict(cost, s.sent...) {
		t.Fatal("an honest payer contradicts itself")
	}
	for _, till := range s.tills {
		if till.Window() > MaxWindow || till.Window() == 0 {
			t.Fatalf("window of %d pieces", till.Window())
		}
	}
}

// TestForkedPurse: a payer that forgets and signs on is caught as soon as both
// memories have signed.
func TestForkedPurse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, _ := NewPurse(chain, account(1), 7, cost)
		sign := func(p *Purse, to byte, units uint64) Receipt {
			r, err := p.Sign(payee(to), units, types.MaxSupply, fakeSign)
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		for range rapid.IntRange(0, 5).Draw(t, "before") {
			sign(a, rapid.SampledFrom([]byte{2, 3}).Draw(t, "to"), rapid.Uint64Range(1, 9).Draw(t, "units"))
		}
		var b Purse
		if err := types.Unmarshal(types.Marshal(a), &b); err != nil {
			t.Fatal(err)
		}
		units := rapid.Uint64Range(1, 9).Draw(t, "units")
		x, y := sign(a, 2, units), sign(&b, 3, units)
		if !Contradict(cost, x, y) {
			t.Fatalf("%d units to two payees with one total of %s wei agree", units, x.Total)
		}
	})
}

// TestFreeNeverAboveShare: whoever comes, a day's free bytes stay below an
// eighth of the upload, and each key below its own bound.
func TestFreeNeverAboveShare(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		upload := rapid.Uint64Range(0, 4<<30).Draw(t, "upload")
		var a Allowance
		var day, given uint64
		used := map[types.Account]uint64{}
		for range rapid.IntRange(1, 60).Draw(t, "visits") {
			now := types.Millis(day*dayMillis + rapid.Uint64Range(0, dayMillis/2).Draw(t, "time"))
			if rapid.IntRange(0, 9).Draw(t, "midnight") == 0 {
				day, given = day+1, 0
				now = types.Millis(day * dayMillis)
				clear(used)
			}
			v := Visitor{
				Account: account(rapid.ByteRange(1, 6).Draw(t, "who")),
				Subnet:  rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "subnet"),
			}
			n, left := rapid.Uint64Range(0, 64<<20).Draw(t, "bytes"), a.Left(v, upload, now)
			if a.Take(&v, n, upload, now) != (n <= left) {
				t.Fatalf("%d bytes with %d left", n, left)
			}
			if n <= left {
				given += n
				used[v.Account] += n
			}
			if given > upload/8 || used[v.Account] > 64<<20 {
				t.Fatalf("given %d of %d, key %d", given, upload, used[v.Account])
			}
			var b Allowance
			if err := types.Unmarshal(types.Marshal(&a), &b); err != nil {
				t.Fatal(err)
			}
			a = b
		}
	})
}
