package gateway

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/staddle/staddle/internal/chaintest"
	"github.com/staddle/staddle/lines"
	"github.com/staddle/staddle/settle"
	"github.com/staddle/staddle/types"
)

func paths() []string {
	return []string{
		"/rejectedsmash/" + hash64 + "/" + hash64, "/failedchunkclaim/" + hash64, "/overreplication/" + hash64 + "/3/6",
		"/underreplication/" + hash64 + "/1", "/failedbandwidthlog/" + addr40 + "/" + hash64,
	}
}

func code(err error) int {
	var refused *RefusedError
	switch {
	case err == nil:
		return http.StatusNoContent
	case errors.As(err, &refused):
		return refused.Code
	}
	return 0
}

// Feedback counts once, with the right signature of a validator of its epoch.
func TestFeedback(t *testing.T) {
	s := newTown(t, nil)
	for _, path := range paths() {
		n := s.notice(validator, path)
		if err := s.as(validator).Tell(t.Context(), s.seconds, n); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if have := code(s.overStream(second).Tell(t.Context(), s.seconds, n)); have != 409 {
			t.Fatalf("%s a second time: %d", path, have)
		}
	}
	n := s.notice(second, paths()[1])
	wrong := *n
	wrong.Signature[7] ^= 1
	elsewhere := *n
	elsewhere.Node = chaintest.Account(host).Address()
	digest := elsewhere.Digest(s.Genesis().Chain())
	elsewhere.Signature = chaintest.Signer(second).Sign(digest[:])
	before := *n
	before.Epoch--
	digest = before.Digest(s.Genesis().Chain())
	before.Signature = chaintest.Signer(second).Sign(digest[:])
	other := *n
	other.Chunk = types.H("staddle/test/other")
	byPoor := s.notice(poor, paths()[1])
	for name, c := range map[string]struct {
		n       *lines.Notice
		seconds uint64
		want    int
	}{
		"signature changed":     {&wrong, s.seconds, 403},
		"for another node":      {&elsewhere, s.seconds, 403},
		"for another epoch":     {&before, s.seconds, 403},
		"values changed":        {&other, s.seconds, 403},
		"without a deposit":     {byPoor, s.seconds, 403},
		"of an unknown epoch":   {n, s.seconds + 100_000, 404},
		"of the epoch it names": {&before, s.time(0), 204},
		"good":                  {n, s.seconds, 204},
	} {
		if have := code(s.as(owner).Tell(t.Context(), c.seconds, c.n)); have != c.want {
			t.Errorf("%s: %d, want %d", name, have, c.want)
		}
	}
	want := Stats{WrongSignature: 4, WrongEpoch: 1, NoValidator: 1, Replayed: 5}
	for k := range want.Taken {
		want.Taken[k] = 1
	}
	want.Taken[settle.FailedChunkClaim] = 3
	if have := s.gate.Stats(); have != want {
		t.Fatalf("counts %+v, want %+v", have, want)
	}
	list := s.effects.all()
	if len(list) != 7 || list[0].Path() != s.notice(validator, paths()[0]).Path() || list[0].Epoch != s.e {
		t.Fatalf("%d effects, the first %+v", len(list), list[0])
	}
}

// The document's plain GET does the same; a body and other words do not.
func TestFeedbackByGet(t *testing.T) {
	s := newTown(t, nil)
	n := s.notice(validator, paths()[1])
	target := (&target{endpoint: tell, seconds: s.seconds, notice: n}).String()
	for method, want := range map[string]int{"PUT": 405, "DELETE": 405} {
		if have := call(t, s.as(validator), Call{Method: method, Target: target}); have.code != want {
			t.Fatalf("%s: %d", method, have.code)
		}
	}
	if have := call(t, s.as(validator), Call{Target: target}); have.code != 204 {
		t.Fatalf("GET: %d %s", have.code, have.body)
	}
}

// One validator cannot fill the journal, and a restart forgets nothing.
func TestFeedbackLimitAndRestart(t *testing.T) {
	journal := newMemory()
	tune := func(c *Config) { c.Journal, c.Limits.Notices = journal, 2 }
	s := newTown(t, tune)
	list := paths()
	for k, want := range []int{204, 204, 429, 429} {
		if have := code(s.as(second).Tell(t.Context(), s.seconds, s.notice(validator, list[k]))); have != want {
			t.Fatalf("number %d: %d, want %d", k, have, want)
		}
	}
	if have := code(s.as(second).Tell(t.Context(), s.seconds, s.notice(second, list[2]))); have != 204 {
		t.Fatalf("another validator: %d", have)
	}
	again := New(s.gate.cfg)
	s.addr = serve(t, again)
	for k, want := range []int{409, 409, 429} {
		if have := code(s.as(second).Tell(t.Context(), s.seconds, s.notice(validator, list[k]))); have != want {
			t.Fatalf("number %d after a restart: %d, want %d", k, have, want)
		}
	}
	if have := again.Stats(); have != (Stats{Replayed: 2, TooMany: 1}) {
		t.Fatalf("counts %+v", have)
	}
	if err := again.notes.prune(s.e + keep + 2); err != nil || len(journal.rows) != 0 {
		t.Fatalf("%d rows of epochs that are over: %v", len(journal.rows), err)
	}
}

func TestMemoryJournalIsBounded(t *testing.T) {
	m := newMemory()
	var rows []types.Row
	for n := range uint32(memoryRows) {
		rows = append(rows, types.Row{Key: string(types.Be32(n)), Value: []byte{1}})
	}
	if err := m.Save(nil, rows); err != nil {
		t.Fatal(err)
	}
	if err := m.Save(nil, []types.Row{{Key: strings.Repeat("x", 9), Value: []byte{1}}}); !errors.Is(err, errFull) {
		t.Fatalf("error %v", err)
	}
	if err := m.Save(nil, []types.Row{{Key: rows[0].Key}}); err != nil || len(m.rows) != memoryRows-1 {
		t.Fatalf("%d rows: %v", len(m.rows), err)
	}
}
