package cluster

import (
	"bytes"
	"fmt"
	"math/big"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/staddle/staddle/settle"
	"github.com/staddle/staddle/types"
)

// epoch is a generated settlement period as the logs of its nodes.
type epoch struct {
	logs map[string][]string // lines by file name
	n    int
}

func (e *epoch) add(name string, line []byte) {
	e.logs[name] = append(e.logs[name], string(line))
	e.n++
}

func address(kind string, i int) (a types.Address) {
	h := types.H("staddle/test/"+kind, types.Be32(uint32(i)))
	copy(a[:], h[:])
	return a
}

// newEpoch makes about lines lines: chunks with one to three buyers and around
// rep farmers, pairs of bandwidth claims of which some do not match, verdicts
// that deny a few claims.
func newEpoch(lines int, seed uint64) *epoch {
	const farmers, buyers = 300, 60
	r := rand.New(rand.NewPCG(seed, 5))
	e := &epoch{logs: map[string][]string{}}
	var g settle.Grammar
	for c := 0; e.n < lines; c++ {
		chunk := types.H("staddle/test/chunk", types.Be32(uint32(c)), types.Be64(seed))
		rep := 3 + r.IntN(3)
		payers := 1
		if r.IntN(10) == 0 {
			payers = r.IntN(4)
		}
		for _, b := range r.Perm(buyers)[:payers] {
			line := settle.Buyer{Buyer: address("buyer", b), Chunk: chunk, Born: 1515542149, Stored: 1515542149, Rep: uint8(rep - r.IntN(2))}
			e.add(fmt.Sprintf("buyer-%02d", b%5), line.Append(nil, g))
		}
		for _, f := range r.Perm(farmers)[:max(0, rep+r.IntN(5)-3)] {
			line := settle.Farmer{Farmer: address("farmer", f), Chunk: chunk, Born: 1515542149, Stored: 1515542150, Rep: uint8(rep), Renewable: true}
			e.add(fmt.Sprintf("farmer-%02d", f%7), line.Append(nil, g))
			v := settle.Verdict{Kind: settle.VerdictActive, Chunk: chunk, Farmer: line.Farmer, OK: r.IntN(50) > 0}
			e.add("verdict-00", v.Append(nil, g))
		}
		if c%5 == 0 {
			e.pair(r, address("farmer", r.IntN(farmers)), address("buyer", r.IntN(buyers)), c)
		}
	}
	return e
}

func (e *epoch) pair(r *rand.Rand, a, b types.Address, n int) {
	units := int64(1 + r.IntN(1000))
	receipt := types.H("staddle/test/receipt", types.Be32(uint32(n))).String()
	e.add("bandwidth-00", settle.Bandwidth{ID: a, Remote: b, Units: units, Receipt: receipt}.Append(nil, settle.Grammar{}))
	if r.IntN(40) == 0 {
		units++
	}
	if r.IntN(40) > 0 {
		e.add("bandwidth-01", settle.Bandwidth{ID: b, Remote: a, Units: -units, Receipt: receipt}.Append(nil, settle.Grammar{}))
	}
}

// garbage puts bad lines between the good ones, one in a hundred.
func (e *epoch) garbage(seed uint64) {
	r := rand.New(rand.NewPCG(seed, 6))
	for _, name := range e.names() {
		for i := range e.logs[name] {
			if r.IntN(100) > 0 {
				continue
			}
			line := e.logs[name][i]
			bad := []string{"", "garbage", line[:len(line)/2], line + "}", strings.Replace(line, `"rep":`, `"rep":9`, 1) + "x", strings.Repeat("z", 5000), "\x00\xff" + line, strings.ToUpper(line)}
			e.logs[name][i] = bad[r.IntN(len(bad))] + "\n" + line
		}
	}
}

func (e *epoch) names() []string {
	var names []string
	for _, kind := range []string{"buyer", "farmer", "bandwidth", "verdict"} {
		for i := range 100 {
			if name := fmt.Sprintf("%s-%02d", kind, i); e.logs[name] != nil {
				names = append(names, name)
			}
		}
	}
	return names
}

// shuffled permutes the lines of each log, repeats a third, and deals them to
// more files; files with an odd number lack their last LF.
func (e *epoch) shuffled(seed uint64) *epoch {
	r := rand.New(rand.NewPCG(seed, 8))
	out := &epoch{logs: map[string][]string{}}
	for _, name := range e.names() {
		kind, _, _ := strings.Cut(name, "-")
		lines := append([]string(nil), e.logs[name]...)
		lines = append(lines, lines[:len(lines)/3]...)
		r.Shuffle(len(lines), func(i, j int) { lines[i], lines[j] = lines[j], lines[i] })
		for _, line := range lines {
			out.add(fmt.Sprintf("%s-%02d", kind, r.IntN(13)), []byte(line))
		}
	}
	return out
}

// write puts the logs into files and gives them as inputs of a plan.
func (e *epoch) write(t testing.TB, dir string) []settle.Input {
	t.Helper()
	roles := map[string]types.LogRole{"buyer": types.LogBuyer, "farmer": types.LogFarmer, "bandwidth": types.LogBandwidth, "verdict": types.LogVerdict}
	var inputs []settle.Input
	for i, name := range e.names() {
		text := strings.Join(e.logs[name], "\n")
		if i%2 == 0 {
			text += "\n"
		}
		path := filepath.Join(dir, "it's "+name+".txt")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		kind, _, _ := strings.Cut(name, "-")
		inputs = append(inputs, settle.Input{Path: path, Log: roles[kind]})
	}
	return inputs
}

func testParams() settle.Params {
	return settle.Params{
		Beacon: types.H("staddle/test/beacon"), Verdicts: true,
		StorageCost: big.NewInt(2_184_533_333), BandwidthCost: big.NewInt(262_144_000_000),
	}
}

func testPlan(t testing.TB, inputs []settle.Input, p settle.Params, lines int) settle.Plan {
	t.Helper()
	plan, err := settle.NewPlan(inputs, p, uint64(lines))
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// stepRows reads all rows of a step, and its feedback lines.
func stepRows(t testing.TB, r Result, step string) (rows, report string) {
	t.Helper()
	s, ok := r.Step(step)
	if !ok {
		t.Fatalf("no step %s", step)
	}
	var a, b bytes.Buffer
	in, rep := s.Open(), s.OpenReport()
	_, err1 := a.ReadFrom(in)
	_, err2 := b.ReadFrom(rep)
	if err1 != nil || err2 != nil || in.Close() != nil || rep.Close() != nil {
		t.Fatal(err1, err2)
	}
	return a.String(), b.String()
}
