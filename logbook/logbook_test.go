package logbook

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/staddle/staddle/internal/chaintest"
	"github.com/staddle/staddle/lines"
	"github.com/staddle/staddle/settle"
	"github.com/staddle/staddle/types"
)

func (s *scene) text(b *Logbook, role types.LogRole) string {
	s.t.Helper()
	var out bytes.Buffer
	if err := b.Lines(s.t.Context(), role, s.e, &out); err != nil {
		s.t.Fatal(err)
	}
	return out.String()
}

// reader derives what a validator does: lines from the state, exceptions from
// the block that the kind 11 names.
func (s *scene) reader(i int, role types.LogRole, block []byte) string {
	s.t.Helper()
	x, err := lines.ParseExceptions(s.claim(i).Log.Exceptions, block)
	if err != nil {
		s.t.Fatal(err)
	}
	var out bytes.Buffer
	tally := lines.Tally{W: &out}
	src, who := s.source(), chaintest.Account(i)
	derive := func(e lines.Emit) error { return src.Farmer(who, e) }
	if role == types.LogBuyer {
		derive = func(e lines.Emit) error { return src.Buyer(who, e) }
	}
	if err := x.Apply(role, who.Address(), derive, tally.Add); err != nil {
		s.t.Fatal(err)
	}
	return out.String()
}

// ST2.1: what the node wrote, committed and serves is what a reader derives,
// byte for byte, with its exceptions and without.
func TestST2_1(t *testing.T) {
	s := newScene(t)
	s.MineTo(s.first())
	host := s.Number(s.Lot(s.lots[0]).Keeper())
	plain := s.config(hostA + hostB - host)
	lost := s.config(host)
	lost.Own = own{{Role: types.LogFarmer, Op: lines.OpRemove, Line: s.lines(host, types.LogFarmer)[0]}}
	lost.Traffic = s.took(receipt(host, sponsor, 7), receipt(hostA+hostB-host, sponsor, 9), receipt(host, sponsor, 3))
	buyer := s.config(sponsor)
	proof, err := settle.ParseBuyer(s.lines(sponsor, types.LogBuyer)[3], settle.Grammar{})
	if err != nil {
		t.Fatal(err)
	}
	proof.Smash = "00ff"
	buyer.Own = own{{Role: types.LogBuyer, Op: lines.OpReplace, Line: proof.Append(nil, settle.Grammar{})}}
	for i, c := range map[int]Config{hostA + hostB - host: plain, host: lost, sponsor: buyer} {
		b := s.open(c)
		s.step(b, s.first())
		s.Mine()
		claim := s.claim(i)
		if claim == nil {
			t.Fatalf("member %d committed nothing", i)
		}
		head, err := b.Headers(s.e)
		if err != nil {
			t.Fatal(err)
		}
		if err := head.Committed(&claim.Log); err != nil {
			t.Fatal(err)
		}
		block, err := b.Exceptions(s.e)
		if err != nil || (block != nil) != (c.Own != nil) {
			t.Fatalf("exceptions of %d bytes: %v", len(block), err)
		}
		for _, role := range []types.LogRole{types.LogFarmer, types.LogBuyer} {
			if have, want := s.text(b, role), s.reader(i, role, block); have != want {
				t.Fatalf("member %d, %s log\n%s\nderived\n%s", i, role, have, want)
			}
		}
	}
	b := s.open(lost)
	if n, all := len(s.lines(host, types.LogFarmer)), bytes.Count([]byte(s.text(b, types.LogFarmer)), []byte{'\n'}); all != n-1 || n < 2 {
		t.Fatalf("%d of %d lines after a lost piece", all, n)
	}
	payee, _ := receipt(host, sponsor, 7).Pair()
	if have := s.text(b, types.LogBandwidth); have != string(payee.Append(nil, settle.Grammar{}))+"\n" {
		t.Fatalf("bandwidth log %s", have)
	}
	block, err := b.Exceptions(s.e)
	if err != nil {
		t.Fatal(err)
	}
	x, err := lines.ParseExceptions(types.RawCID(block), block)
	if err != nil {
		t.Fatal(err)
	}
	if got := x.Of(types.LogBandwidth, lines.OpReceipt); len(got) != 1 || !bytes.Equal(got[0], receipt(host, sponsor, 7).Receipt) {
		t.Fatalf("receipts %q", got)
	}
}

// lines derives one log of a member.
func (s *scene) lines(i int, role types.LogRole) (out [][]byte) {
	s.t.Helper()
	src := s.source()
	derive := src.Farmer
	if role == types.LogBuyer {
		derive = src.Buyer
	}
	err := derive(chaintest.Account(i), func(line []byte) error {
		out = append(out, bytes.Clone(line))
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

// ST1: one commitment, after the checkpoint and in time, with the host's sums.
func TestCommitsInTimeAndOnce(t *testing.T) {
	s := newScene(t)
	c := s.config(hostA)
	counted := &chain{Node: s.Node(hostA)}
	c.Chain = counted
	b := s.open(c)
	s.step(b, s.Rules().Checkpoint(s.e))
	if len(counted.sent) != 0 {
		t.Fatal("committed at the checkpoint itself")
	}
	s.step(b, s.first())
	s.step(b, s.first())
	s.Mine()
	claim := s.claim(hostA)
	if claim == nil || claim.At > s.Rules().LogsDue(s.e) {
		t.Fatalf("claim %+v", claim)
	}
	host, err := s.source().Frozen.Host(chaintest.Account(hostA))
	if err != nil {
		t.Fatal(err)
	}
	if claim.Log.Lots != host.Lots || claim.Log.Leaves != host.Leaves || claim.Log.SumRoot.IsZero() || claim.Log.Exceptions != noBlock {
		t.Fatalf("claim %+v of host %+v", claim.Log, host)
	}
	n := len(counted.sent)
	for range 8 {
		s.step(b, s.Tip().Header.Height+1)
	}
	if len(counted.sent) != n+1 || counted.sent[n].Epoch != s.e+1 { // the next epoch's
		t.Fatalf("%d commitments after the claim", len(counted.sent)-n)
	}
	s.Mine()
	next, err := b.Headers(s.e + 1)
	if err != nil {
		t.Fatal(err)
	}
	before, err := b.Headers(s.e)
	if err != nil {
		t.Fatal(err)
	}
	for k := range next {
		if next[k].Previous != before[k].ID() {
			t.Fatalf("%s log does not name the one before", next[k].Role)
		}
	}
}

// K2: headers are on the disk before they are committed, and stay what they are
// after a crash and on another fork.
func TestK2(t *testing.T) {
	s := newScene(t)
	c := s.config(hostA)
	dead := &chain{Node: s.Node(hostA), refuse: errors.New("power cut")}
	c.Chain = dead
	s.MineTo(s.first())
	if err := s.open(c).Step(t.Context()); !errors.Is(err, dead.refuse) {
		t.Fatalf("error %v", err)
	}
	c.Traffic = s.took(receipt(hostA, sponsor, 7)) // what came later changes nothing
	living := &chain{Node: s.Node(hostA)}
	c.Chain = living
	b := s.open(c)
	first, err := b.Headers(s.e)
	if err != nil {
		t.Fatal(err)
	}
	s.step(b, s.first())
	s.Mine()
	want := s.claim(hostA).Log
	if err := first.Committed(&want); err != nil {
		t.Fatal(err)
	}
	s.Reorg(1)
	if s.claim(hostA) != nil {
		t.Fatal("the claim is in the other fork too")
	}
	s.step(b, s.Tip().Header.Height)
	s.Mine()
	if diff := cmp.Diff(want.Root, s.claim(hostA).Log.Root); diff != "" {
		t.Fatal(diff)
	}
	for _, body := range living.sent {
		if body.Root != want.Root {
			t.Fatalf("committed %s and %s", body.Root.Short(), want.Root.Short())
		}
	}
}

// An index that is not to be had costs the host its lines, not the epoch.
func TestWithoutIndex(t *testing.T) {
	s := newScene(t)
	c := s.config(hostA)
	c.Index = &index{data: s.data, lost: true}
	b := s.open(c)
	s.MineTo(s.first())
	var missing *types.Missing
	if err := b.Step(t.Context()); !errors.As(err, &missing) {
		t.Fatalf("error %v", err)
	}
	if _, err := b.Headers(s.e); !errors.Is(err, ErrNoLog) {
		t.Fatalf("error %v", err)
	}
	s.step(b, s.Rules().LogsDue(s.e)-2)
	s.Mine()
	if claim := s.claim(hostA); claim == nil || claim.Log.Leaves == 0 {
		t.Fatalf("claim %+v", claim)
	}
	if have := s.text(b, types.LogFarmer); have != "" {
		t.Fatalf("lines %s", have)
	}
}

func TestSaysNothing(t *testing.T) {
	s := newScene(t)
	other := s.config(hostA)
	other.Device = types.Device{1}
	stranger := s.config(hostA)
	stranger.Account = types.Account{1}
	for name, c := range map[string]Config{"nothing to say": s.config(idle), "another device": other, "not registered": stranger} {
		t.Run(name, func(t *testing.T) {
			counted := &chain{Node: s.Node(idle)}
			c.Chain = counted
			b := s.open(c)
			s.step(b, s.first())
			list, err := b.Epochs()
			if err != nil || len(list) != 0 || len(counted.sent) != 0 {
				t.Fatalf("logs of %v, %d commitments: %v", list, len(counted.sent), err)
			}
		})
	}
}

// Exceptions that do not fit are left out; the rest is committed.
func TestWrongExceptionsAreLeftOut(t *testing.T) {
	s := newScene(t)
	s.MineTo(s.first())
	c := s.config(hostA)
	c.Own = own{{Role: types.LogFarmer, Op: lines.OpRemove, Line: s.lines(hostB, types.LogFarmer)[0]}}
	b := s.open(c)
	s.step(b, s.first())
	s.Mine()
	if claim := s.claim(hostA); claim == nil || claim.Log.Exceptions.Defined() {
		t.Fatalf("claim %+v", claim)
	}
}

// Many receipts: those with the most units are shown.
func TestReceiptsBeyondTheBlock(t *testing.T) {
	s := newScene(t)
	c := s.config(hostA)
	var all []Evidence
	for n := range uint64(lines.MaxExceptions + 50) {
		r := receipt(hostA, sponsor, n+1)
		r.Device = types.Device(types.H("staddle/test/device", types.Be64(n)))
		r.Evidence(bytes.Repeat([]byte{byte(n), byte(n >> 8)}, 100))
		all = append(all, r)
	}
	c.Traffic = s.took(all...)
	b := s.open(c)
	s.step(b, s.first())
	s.Mine()
	h, err := b.Headers(s.e)
	if err != nil {
		t.Fatal(err)
	}
	have := h.Find(types.LogBandwidth).Lines
	if have == 0 || have > lines.MaxExceptions || s.claim(hostA) == nil {
		t.Fatalf("%d lines", have)
	}
	payee, _ := all[len(all)-1].Pair()
	if !bytes.Contains([]byte(s.text(b, types.LogBandwidth)), payee.Append(nil, settle.Grammar{})) {
		t.Fatal("the largest receipt is not there")
	}
}

// Evidence replaces the bytes of a receipt.
func (x *Evidence) Evidence(b []byte) {
	x.Receipt = b
	x.Traffic.Receipt = types.Digest(types.RawCID(b))
}

// ST3: logs can be read for eight epochs; the newest stays for its successor.
func TestST3_Keep(t *testing.T) {
	s := newScene(t)
	b := s.open(s.config(hostA))
	s.step(b, s.first())
	s.Mine()
	s.step(b, s.Rules().Checkpoint(s.e+1)+1)
	s.step(b, s.Rules().Checkpoint(s.e+Keep)-1)
	list, err := b.Epochs()
	if err != nil || !slices.Equal(list, []types.Epoch{s.e, s.e + 1}) {
		t.Fatalf("logs of %v: %v", list, err)
	}
	s.step(b, s.Rules().Checkpoint(s.e+2*Keep)+5) // no time for logs
	if list, err = b.Epochs(); err != nil || !slices.Equal(list, []types.Epoch{s.e + 1}) {
		t.Fatalf("logs of %v: %v", list, err)
	}
	if _, _, err := b.Open(types.LogFarmer, s.e); !errors.Is(err, ErrNoLog) {
		t.Fatalf("error %v", err)
	}
}

func TestDamage(t *testing.T) {
	s := newScene(t)
	c := s.config(hostA)
	b := s.open(c)
	s.step(b, s.first())
	dir := b.dir(s.e)
	change := func(name string, f func([]byte) []byte) {
		t.Helper()
		path := filepath.Join(dir, name)
		was, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, f(bytes.Clone(was)), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := os.WriteFile(path, was, 0o600); err != nil {
				t.Fatal(err)
			}
		})
	}
	flip := func(b []byte) []byte { b[len(b)/2] ^= 1; return b }
	t.Run("log is short", func(t *testing.T) {
		change("farmer.log", func(b []byte) []byte { return b[:len(b)-1] })
		if _, _, err := b.Open(types.LogFarmer, s.e); !errors.Is(err, ErrDamaged) {
			t.Fatalf("error %v", err)
		}
	})
	t.Run("log has another bit", func(t *testing.T) {
		change("farmer.log", flip)
		if err := b.Lines(t.Context(), types.LogFarmer, s.e, io.Discard); !errors.Is(err, ErrDamaged) {
			t.Fatalf("error %v", err)
		}
	})
	t.Run("head has another bit", func(t *testing.T) {
		change("head", flip)
		if _, err := b.Headers(s.e); !errors.Is(err, ErrDamaged) {
			t.Fatalf("error %v", err)
		}
		if err := b.Step(t.Context()); !errors.Is(err, ErrDamaged) {
			t.Fatalf("headers are made twice: %v", err)
		}
	})
}

func TestHalfWrittenIsRemoved(t *testing.T) {
	s := newScene(t)
	c := s.config(hostA)
	half := filepath.Join(c.Dir, "7"+unfinished)
	if err := os.Mkdir(half, 0o700); err != nil {
		t.Fatal(err)
	}
	b := s.open(c)
	if _, err := os.Stat(half); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("half a log is there: %v", err)
	}
	if list, err := b.Epochs(); err != nil || len(list) != 0 {
		t.Fatalf("%v, %v", list, err)
	}
}

// TestRun follows a chain by itself and stops.
func TestRun(t *testing.T) {
	s := newScene(t)
	b := s.open(s.config(hostA))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	s.Until("logs are committed", 0, func(v *consensusView) bool {
		c, err := v.Claim(s.e, chaintest.Account(hostA))
		return err == nil && c != nil || v.Height() > s.Rules().LogsDue(s.e+20)
	})
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func FuzzHead(f *testing.F) {
	h := head{Headers: lines.Headers{{Version: types.LogVersion, Role: types.LogFarmer, Epoch: 4}}}
	f.Add(h.seal())
	f.Add([]byte(headMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, in := range [][]byte{b, resealed(b)} {
			h, err := parseHead(in)
			if err == nil && !bytes.Equal(h.seal(), in) {
				t.Fatalf("%x is written as %x", in, h.seal())
			}
		}
	})
}

// resealed puts the right frame around bytes.
func resealed(b []byte) []byte {
	sum := types.H("staddle/logs/head/1", b)
	return append(append([]byte(headMagic), b...), sum[:]...)
}
