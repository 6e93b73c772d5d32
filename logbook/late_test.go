package logbook

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/internal/chaintest"
	"github.com/staddle/staddle/lines"
	"github.com/staddle/staddle/types"
)

// told is what a logbook reported.
type told []string

func (r *told) report(format string, args ...any) { *r = append(*r, fmt.Sprintf(format, args...)) }

// slept is a scene in which host A took and gave receipts in epoch e, and its
// configuration. Nothing is committed yet.
func slept(t *testing.T) (*scene, Config, *told) {
	t.Helper()
	s := newScene(t)
	c := s.config(hostA)
	said := new(told)
	c.Report = said.report
	c.Traffic = s.took(receipt(hostA, sponsor, 7), receipt(hostA, hostB, 5), receipt(hostB, hostA, 9))
	return s, c, said
}

// ST1: a node that slept over the time for logs commits what it earned in one of
// the next four epochs, as receipts alone; in later ones these are void, and that
// is said.
func TestST1(t *testing.T) {
	t.Run("first block", func(t *testing.T) {
		s, c, _ := slept(t)
		s.lateIn(c, s.Rules().LogsDue(s.e))
	})
	t.Run("last block", func(t *testing.T) {
		s, c, said := slept(t)
		b := s.lateIn(c, consensus.LateLogsDue(s.Rules(), s.e)-1)
		s.step(b, s.Tip().Header.Height+2)
		if len(*said) > 0 {
			t.Fatalf("said %q", *said)
		}
	})
	t.Run("too late", func(t *testing.T) {
		s, c, said := slept(t)
		counted := &chain{Node: s.Node(hostA)}
		c.Chain = counted
		b := s.open(c)
		due := consensus.LateLogsDue(s.Rules(), s.e)
		s.step(b, due)
		s.step(b, due+1)
		if len(counted.sent) > 0 && counted.sent[0].Epoch <= s.e {
			t.Fatalf("sent %+v", counted.sent)
		}
		if want := fmt.Sprintf("epochs [%d] for 12 units", s.e); len(*said) != 1 || !strings.Contains((*said)[0], want) || !strings.Contains((*said)[0], "void") {
			t.Fatalf("said %q, want %q once", *said, want)
		}
	})
	t.Run("slept long", func(t *testing.T) {
		s, c, said := slept(t)
		s.step(s.open(c), s.Rules().Checkpoint(s.e+12))
		if len(*said) != 1 || !strings.Contains((*said)[0], "12 units") {
			t.Fatalf("said %q", *said)
		}
	})
	t.Run("gave receipts alone", func(t *testing.T) {
		s, c, said := slept(t)
		c.Traffic = s.took(receipt(hostB, hostA, 9))
		counted := &chain{Node: s.Node(hostA)}
		c.Chain = counted
		b := s.open(c)
		s.step(b, s.Rules().LogsDue(s.e))
		s.step(b, consensus.LateLogsDue(s.Rules(), s.e))
		if len(counted.sent) > 0 && counted.sent[0].Epoch <= s.e || len(*said) > 0 {
			t.Fatalf("sent %+v, said %q", counted.sent, *said)
		}
	})
	t.Run("written in time, committed late", lateWritten)
}

// lateIn wakes the node at a height and checks what it commits in the next block.
func (s *scene) lateIn(c Config, at types.Height) *Logbook {
	s.t.Helper()
	s.MineTo(at)
	b := s.open(c)
	s.step(b, at)
	s.Mine()
	claim := s.claim(hostA)
	if claim == nil || !consensus.Late(s.Rules(), claim) || claim.Log.Lots != 0 || claim.Log.Leaves != 0 || !claim.Log.SumRoot.IsZero() {
		s.t.Fatalf("claim %+v", claim)
	}
	head, err := b.Headers(s.e)
	if err != nil || len(head) != 1 || head[0].Role != types.LogBandwidth {
		s.t.Fatalf("headers %+v: %v", head, err)
	}
	if err := head.Committed(&claim.Log); err != nil {
		s.t.Fatal(err)
	}
	block, err := b.Exceptions(s.e)
	if err != nil {
		s.t.Fatal(err)
	}
	x, err := lines.ParseExceptions(claim.Log.Exceptions, block)
	if err != nil {
		s.t.Fatal(err)
	}
	earned := []Evidence{receipt(hostA, sponsor, 7), receipt(hostA, hostB, 5)}
	if got := x.Of(types.LogBandwidth, lines.OpReceipt); len(got) != 2 || len(x.List) != 2 {
		s.t.Fatalf("exceptions %+v", x.List)
	}
	// What a reader derives of the receipts is what the node wrote.
	var derived bytes.Buffer
	tally := lines.Tally{W: &derived}
	if err := lines.Bandwidth(chaintest.Account(hostA), trafficOf(earned), tally.Add); err != nil {
		s.t.Fatal(err)
	}
	if have := s.text(b, types.LogBandwidth); have != derived.String() || strings.Count(have, "\n") != 2 {
		s.t.Fatalf("bandwidthlog\n%s\nderived\n%s", have, derived.String())
	}
	return b
}

// lateWritten: headers that were written in time are the ones that are committed
// late, with the same receipts and without the claim (K2, H6.3).
func lateWritten(t *testing.T) {
	s, c, _ := slept(t)
	dead := &chain{Node: s.Node(hostA), refuse: errors.New("power cut")}
	c.Chain = dead
	s.MineTo(s.first())
	if err := s.open(c).Step(t.Context()); !errors.Is(err, dead.refuse) {
		t.Fatalf("error %v", err)
	}
	c.Chain = s.Node(hostA)
	b := s.open(c)
	written, err := b.Headers(s.e)
	if err != nil || len(written) != 3 {
		t.Fatalf("%d headers: %v", len(written), err)
	}
	s.step(b, s.Rules().Checkpoint(s.e+2)+1)
	s.Mine()
	claim := s.claim(hostA)
	if claim == nil || !consensus.Late(s.Rules(), claim) || claim.Log.Leaves != 0 {
		t.Fatalf("claim %+v", claim)
	}
	if err := written.Committed(&claim.Log); err != nil {
		t.Fatal(err)
	}
	if next, err := s.View().Claim(s.e+2, chaintest.Account(hostA)); err != nil || next == nil || next.Log.Leaves == 0 {
		t.Fatalf("the epoch that has just closed: %+v: %v", next, err)
	}
}
