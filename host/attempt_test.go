package host

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/staddle/staddle/types"
)

var update = flag.Bool("update", false, "write the golden traces anew")

// TestTraces plays the scripts in testdata: a line is an event at a height, the
// indented lines below it are the effects.
//
//	12 seen drawn a host=me in enc=x,y acc=11 done=10 hosted=01 old=me
//	12 seen none
//	12 prepared a 0 | stored a/1 | arrived a/1 | lost a/1 | found yes
func TestTraces(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d traces: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, want)
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if d := cmp.Diff(string(want), string(got)); d != "" {
				t.Error(d)
			}
		})
	}
}

func play(t *testing.T, script []byte) []byte {
	t.Helper()
	a := NewAttempt(account("me"))
	var out bytes.Buffer
	for s := bufio.NewScanner(bytes.NewReader(script)); s.Scan(); {
		line := s.Text()
		if strings.HasPrefix(line, "  ") {
			continue
		}
		fmt.Fprintln(&out, line)
		if line == "" || line[0] == '#' {
			continue
		}
		height, rest, _ := strings.Cut(line, " ")
		n, err := strconv.ParseUint(height, 10, 32)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		for _, f := range a.Step(types.Height(n), parseEvent(t, strings.Fields(rest))) {
			fmt.Fprintf(&out, "  %s\n", f)
		}
	}
	return out.Bytes()
}

func account(name string) types.Account { return types.Account(types.H(name)) }

// attemptOf makes an id out of a letter from a to f, whose short form repeats it.
func attemptOf(letter string) (h types.AttemptID) {
	n, _ := strconv.ParseUint(letter+letter, 16, 8)
	for i := range h {
		h[i] = byte(n)
	}
	return h
}

func parseEvent(t *testing.T, w []string) Event {
	t.Helper()
	place := func() (types.AttemptID, uint32) {
		id, r, _ := strings.Cut(w[1], "/")
		n, err := strconv.Atoi(r)
		if err != nil {
			t.Fatalf("%v: %v", w, err)
		}
		return attemptOf(id), uint32(n)
	}
	switch w[0] {
	case "seen":
		return Seen{parseLot(t, w[1:])}
	case "prepared":
		n, err := strconv.Atoi(w[2])
		if err != nil {
			t.Fatal(err)
		}
		return Prepared{attemptOf(w[1]), Reason(n)}
	case "stored", "arrived":
		id, r := place()
		c := types.Commitment{Attempt: id, Range: r}
		if w[0] == "stored" {
			return Stored{c}
		}
		return Arrived{c}
	case "lost":
		id, r := place()
		return Lost{id, r}
	case "found":
		return Found{w[1] == "yes"}
	}
	t.Fatalf("unknown event %v", w)
	return nil
}

var statuses = map[string]types.LotStatus{
	"waiting": types.LotWaiting, "drawn": types.LotDrawn, "committed": types.LotCommitted,
	"active": types.LotActive, "ended": types.LotEnded,
}

func parseLot(t *testing.T, w []string) *types.LotRecord {
	t.Helper()
	if w[0] == "none" {
		return nil
	}
	status, ok := statuses[w[0]]
	if !ok {
		t.Fatalf("unknown status %q", w[0])
	}
	l := &types.LotRecord{Status: status, Count: 2}
	if status != types.LotWaiting {
		l.Attempt = attemptOf(w[1])
		w = w[1:]
	}
	for _, f := range w[1:] {
		key, value, _ := strings.Cut(f, "=")
		switch key {
		case "host":
			l.Host = account(value)
		case "old":
			l.Old = account(value)
		case "in":
			l.HostIn = true
		case "enc":
			for _, e := range strings.Split(value, ",") {
				l.Encoders = append(l.Encoders, account(e))
			}
		case "acc":
			l.Accepted = bits(value)
		case "done":
			l.Encoded = bits(value)
		case "hosted":
			l.Hosted = bits(value)
		default:
			t.Fatalf("unknown field %q", f)
		}
	}
	return l
}

// bits reads range 0 first.
func bits(s string) (n uint64) {
	for i, c := range s {
		if c == '1' {
			n |= 1 << i
		}
	}
	return n
}

// TestLateReportsChangeNothing throws random events at a machine: an effect
// never names another attempt than the one that runs, work on a range is never
// begun twice at once, and a commitment is always of a range that was reported.
func TestLateReportsChangeNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := NewAttempt(account("me"))
		running := map[string]bool{}
		reported := map[string]bool{}
		for height := range types.Height(rapid.IntRange(1, 60).Draw(t, "steps")) {
			e := drawEvent(t)
			switch e := e.(type) {
			case Stored:
				reported[fmt.Sprint(e.Commitment)] = true
			case Arrived:
				reported[fmt.Sprint(e.Commitment)] = true
			case Lost:
				delete(running, fmt.Sprint(e.Attempt, e.Range))
			}
			for _, f := range a.Step(height, e) {
				checkEffect(t, a, f, running, reported)
			}
		}
	})
}

func checkEffect(t *rapid.T, a *Attempt, f Effect, running, reported map[string]bool) {
	begin := func(id types.AttemptID, r uint32) {
		k := fmt.Sprint(id, r)
		if running[k] || id != a.id {
			t.Fatalf("%v: work began twice, or for another attempt", f)
		}
		running[k] = true
	}
	switch f := f.(type) {
	case End:
		clear(running)
	case Fetch:
		begin(f.Attempt, f.Range)
	case Encode:
		begin(f.Attempt, f.Range)
	case Accept:
		if f.Attempt != a.id {
			t.Fatalf("%v, attempt %s runs", f, a.id.Short())
		}
	case Commit:
		for _, c := range f.List {
			if c.Attempt != a.id || !reported[fmt.Sprint(c)] {
				t.Fatalf("%v of attempt %s, attempt %s runs", f, c.Attempt.Short(), a.id.Short())
			}
		}
	case Drop, Forget:
		if a.part != None || a.now != nil && a.now.Keeper() == a.me {
			t.Fatalf("%v while the lot is %v", f, a.now)
		}
	}
}

func drawEvent(t *rapid.T) Event {
	id := attemptOf(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "attempt"))
	r := rapid.Uint32Range(0, 3).Draw(t, "range")
	c := types.Commitment{Attempt: id, Range: r}
	switch rapid.IntRange(0, 9).Draw(t, "event") {
	case 0:
		return Seen{}
	case 1:
		return Prepared{id, Reason(rapid.IntRange(0, 1).Draw(t, "policy"))}
	case 2:
		return Stored{c}
	case 3:
		return Arrived{c}
	case 4:
		return Lost{id, r}
	case 5:
		return Found{rapid.Bool().Draw(t, "bytes")}
	}
	who := rapid.SampledFrom([]types.Account{account("me"), account("x"), {}})
	l := &types.LotRecord{
		Status: types.LotStatus(rapid.IntRange(0, 4).Draw(t, "status")), Attempt: id, Count: 2,
		Host: who.Draw(t, "host"), Old: who.Draw(t, "old"), HostIn: rapid.Bool().Draw(t, "in"),
		Accepted: rapid.Uint64Range(0, 3).Draw(t, "acc"), Hosted: rapid.Uint64Range(0, 3).Draw(t, "hosted"),
	}
	if rapid.Bool().Draw(t, "encoded") {
		l.Encoders = []types.Account{who.Draw(t, "e0"), who.Draw(t, "e1")}
		l.Encoded = rapid.Uint64Range(0, 3).Draw(t, "done")
	}
	return Seen{l}
}
