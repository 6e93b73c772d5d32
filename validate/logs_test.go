package validate

import (
	"bytes"
	"errors"
	"fmt"
	"math/big"
	"testing"

	"github.com/staddle/staddle/internal/chaintest"
	"github.com/staddle/staddle/lines"
	"github.com/staddle/staddle/market"
	"github.com/staddle/staddle/types"
)

// signedReceipt is a payer's receipt outside of any community.
func signedReceipt(t *testing.T, chain types.ChainID, payer, payee int, units uint64) market.Receipt {
	t.Helper()
	p, err := market.NewPurse(chain, chaintest.Account(payer), 7, big.NewInt(10))
	if err != nil {
		t.Fatal(err)
	}
	to := market.Paid{Payee: chaintest.Account(payee), Device: chaintest.Device(payee)}
	r, err := p.Sign(to, units, types.Coin, chaintest.Signer(payer).Sign)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// committedLog is a log of host A with two receipts, one in the exceptions and
// one beside the lines.
func committedLog(t *testing.T, mutate func(l *Log, x *[]lines.Exception)) (*Log, owner) {
	t.Helper()
	of := owner{types.ChainID{5}, chaintest.Account(hostA), &types.LogCommitment{Epoch: 7}}
	inside := types.Marshal(ref(signedReceipt(t, of.chain, reader, hostA, 5)))
	beside := types.Marshal(ref(signedReceipt(t, of.chain, sponsor, hostA, 3)))
	var traffic []lines.Traffic
	for _, raw := range [][]byte{inside, beside} {
		x, err := readReceipt(raw, of)
		if err != nil {
			t.Fatal(err)
		}
		traffic = append(traffic, x)
	}
	l := &Log{Receipts: [][]byte{beside}}
	var b bytes.Buffer
	tally := lines.Tally{W: &b}
	if err := lines.Bandwidth(of.account, traffic, tally.Add); err != nil {
		t.Fatal(err)
	}
	l.Bandwidth = b.Bytes()
	list := []lines.Exception{{Role: types.LogBandwidth, Op: lines.OpReceipt, Line: inside}}
	mutate(l, &list)
	l.Headers = lines.Headers{tally.Header(chaintest.Device(hostA), types.LogBandwidth, 7)}
	if len(list) > 0 {
		x, err := lines.NewExceptions(list)
		if err != nil {
			t.Fatal(err)
		}
		n := x.Block()
		l.Exceptions, of.claim.Exceptions = n.Bytes, n.CID
	}
	root, err := l.Headers.Root()
	if err != nil {
		t.Fatal(err)
	}
	of.claim.Root, of.claim.Headers = root, 1
	return l, of
}

func ref[T any](v T) *T { return &v }

// TestEvidence takes a committed log whole and refuses every other.
func TestEvidence(t *testing.T) {
	nothing := func(*Log, *[]lines.Exception) {}
	l, of := committedLog(t, nothing)
	ev, err := l.evidence(of)
	if err != nil || len(ev.traffic) != 2 || ev.traffic[0].Units+ev.traffic[1].Units != 8 {
		t.Fatalf("%+v: %v", ev, err)
	}
	foreign := types.Marshal(ref(signedReceipt(t, of.chain, reader, hostB, 9)))
	forged := signedReceipt(t, of.chain, sponsor, hostA, 3)
	forged.Signature[0] ^= 1
	for name, mutate := range map[string]func(l *Log, x *[]lines.Exception){
		"receipt missing":     func(l *Log, _ *[]lines.Exception) { l.Receipts = nil },
		"receipt twice":       func(l *Log, _ *[]lines.Exception) { l.Receipts = append(l.Receipts, l.Receipts[0]) },
		"receipt of others":   func(l *Log, _ *[]lines.Exception) { l.Receipts = append(l.Receipts, foreign) },
		"receipt forged":      func(l *Log, _ *[]lines.Exception) { l.Receipts = [][]byte{types.Marshal(&forged)} },
		"receipt malformed":   func(l *Log, _ *[]lines.Exception) { l.Receipts = [][]byte{{1}} },
		"line missing":        func(l *Log, _ *[]lines.Exception) { l.Bandwidth = l.Bandwidth[:len(l.Bandwidth)/2] },
		"lines not there":     func(l *Log, _ *[]lines.Exception) { l.Bandwidth, l.Receipts = nil, nil },
		"no exceptions block": func(_ *Log, x *[]lines.Exception) { *x = nil },
	} {
		t.Run(name, func(t *testing.T) {
			l, of := committedLog(t, mutate)
			if _, err := l.evidence(of); !errors.Is(err, ErrLog) {
				t.Errorf("%v, want ErrLog", err)
			}
		})
	}
	t.Run("other root", func(t *testing.T) {
		l, of := committedLog(t, nothing)
		of.claim.Root[0] ^= 1
		if _, err := l.evidence(of); !errors.Is(err, ErrLog) {
			t.Errorf("%v, want ErrLog", err)
		}
	})
	t.Run("other block", func(t *testing.T) {
		l, of := committedLog(t, nothing)
		l.Exceptions = append([]byte(nil), l.Exceptions...)
		l.Exceptions[3] ^= 1
		if _, err := l.evidence(of); !errors.Is(err, ErrLog) {
			t.Errorf("%v, want ErrLog", err)
		}
	})
	t.Run("a forged receipt among the exceptions is worth nothing", func(t *testing.T) {
		l, of := committedLog(t, func(_ *Log, x *[]lines.Exception) {
			*x = append(*x, lines.Exception{Role: types.LogBandwidth, Op: lines.OpReceipt, Line: types.Marshal(&forged)})
		})
		ev, err := l.evidence(of)
		if err != nil || len(ev.traffic) != 2 {
			t.Errorf("%+v: %v", ev, err)
		}
	})
}

// TestFeedback tells nodes what a settled epoch found, once.
func TestFeedback(t *testing.T) {
	s, e := bought(t, 0)
	s.hosts[hostB].refuses.Store(true)
	for i := validator; i < validator+4; i++ {
		s.start(i)
	}
	s.ready(e)
	rows := s.rowsOf(s.collated(e).Collation)
	if rows[hostB].S != 0 || rows[hostA].S != int64(len(s.data.Pieces)) {
		t.Errorf("rows %v: a host that serves nothing was paid", rows)
	}
	s.walk(s.View().Height() + 4)
	s.mu.Lock()
	defer s.mu.Unlock()
	told := map[string]int{}
	for _, f := range s.feedback {
		told[f]++
	}
	if n := told[fmt.Sprintf("%d %d underreplication", e, sponsor)]; n != 4*len(s.data.Pieces) {
		t.Errorf("sponsor was told of %d pieces by four validators: %v", n, told)
	}
}
