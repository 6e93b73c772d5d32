package settle

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/staddle/staddle/types"
)

func testAddresses(kind string, n int) []types.Address {
	list := make([]types.Address, n)
	for i := range list {
		list[i] = sampleAddress(kind, i)
	}
	return addressSet(list)
}

func TestST5_1(t *testing.T) {
	chunk := types.H("staddle/test/chunk")
	payers := func(reps ...uint8) (list []Payer) {
		for i, a := range testAddresses("buyer", len(reps)) {
			list = append(list, Payer{a, reps[i]})
		}
		return list
	}
	// start of three buyers for beacons found by their first test bytes
	start := func(beacon types.Hash, n int) int {
		sum := sha256.Sum256(append(beacon[:], chunk[:]...))
		return int(binary.BigEndian.Uint64(sum[:8]) % uint64(n))
	}
	beaconFor := func(want, n int) types.Hash {
		for i := byte(0); ; i++ {
			if b := types.H("staddle/test/beacon", []byte{i}); start(b, n) == want {
				return b
			}
		}
	}
	cases := []struct {
		name  string
		reps  []uint8
		start int
		paid  int
		want  []int
	}{
		{"one buyer pays all", []uint8{5}, 0, 4, []int{4}},
		{"in turn from the first", []uint8{3, 3, 3}, 0, 3, []int{1, 1, 1}},
		{"the rest falls on the first in turn", []uint8{5, 5, 5}, 1, 4, []int{1, 2, 1}},
		{"cyclic", []uint8{5, 5, 5}, 2, 2, []int{1, 0, 1}},
		{"who has his rep is passed over", []uint8{1, 6, 2}, 0, 6, []int{1, 3, 2}},
		{"start at a buyer with a small wish", []uint8{6, 1, 1}, 1, 6, []int{4, 1, 1}},
		{"nobody keeps it", []uint8{4, 4}, 1, 0, []int{0, 0}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			j := Joined{Chunk: chunk, Buyers: payers(c.reps...)}
			have := j.Shares(beaconFor(c.start, len(c.reps)), c.paid)
			if !slices.Equal(have, c.want) {
				t.Fatalf("shares %v, want %v", have, c.want)
			}
		})
	}
	t.Run("reps only when they differ", func(t *testing.T) {
		j := Joined{Chunk: chunk, Buyers: payers(2, 5)}
		line := string(j.Append(nil, Grammar{}))
		if !strings.Contains(line, `],"rep":5,"reps":[2,5],"renew":0`) {
			t.Fatal(line)
		}
		j.Buyers[0].Rep = 5
		if line = string(j.Append(nil, Grammar{})); strings.Contains(line, "reps") {
			t.Fatal(line)
		}
	})
	t.Run("properties", rapid.MakeCheck(func(t *rapid.T) {
		reps := rapid.SliceOfN(rapid.Uint8Range(1, 9), 1, 6).Draw(t, "reps")
		j := Joined{Chunk: chunk, Buyers: payers(reps...)}
		paid := rapid.IntRange(0, int(j.Rep())).Draw(t, "paid")
		beacon := types.H("staddle/test/beacon", []byte{rapid.Byte().Draw(t, "beacon")})
		sum := 0
		for i, n := range j.Shares(beacon, paid) {
			sum += n
			if n > int(reps[i]) {
				t.Fatalf("buyer %d owes %d of his %d", i, n, reps[i])
			}
		}
		if sum != paid {
			t.Fatalf("%d of %d replicas are owed", sum, paid)
		}
	}))
}

func TestST5_2(t *testing.T) {
	chunk, beacon := types.H("staddle/test/chunk"), testBeacon
	buyers := []Payer{{sampleAddress("buyer", 0), 5}}
	for _, n := range []int{0, 1, 4, 5, 6, 9, 40} {
		t.Run(fmt.Sprint(n, " farmers"), func(t *testing.T) {
			farmers := testAddresses("farmer", n)
			j := Joined{Chunk: chunk, Buyers: buyers, Farmers: slices.Clone(farmers)}
			have := addressSet(slices.Clone(j.Select(beacon)))
			// Independent of the code: a farmer is paid when fewer than rep are before it.
			var want []types.Address
			for _, f := range farmers {
				before := 0
				for _, o := range farmers {
					a := sha256.Sum256(slices.Concat(beacon[:], chunk[:], o[:]))
					b := sha256.Sum256(slices.Concat(beacon[:], chunk[:], f[:]))
					if bytes.Compare(a[:], b[:]) < 0 {
						before++
					}
				}
				if before < 5 {
					want = append(want, f)
				}
			}
			if !slices.Equal(want, have) {
				t.Fatal(cmp.Diff(want, have))
			}
		})
	}
	t.Run("two buyers' wishes join", func(t *testing.T) {
		j := Joined{Chunk: chunk, Buyers: []Payer{{sampleAddress("buyer", 0), 2}, {sampleAddress("buyer", 1), 3}}, Farmers: testAddresses("farmer", 9)}
		if n := len(j.Select(beacon)); n != 3 {
			t.Fatalf("%d farmers are paid, want 3", n)
		}
	})
	t.Run("the beacon is needed", func(t *testing.T) {
		if _, err := (storageStage{}).Reduce(Params{}, strings.NewReader(""), &bytes.Buffer{}); !errors.Is(err, errNoBeacon) {
			t.Fatal(err)
		}
	})
}

// Verdicts: a claim counts when active is 1 and none is 0.
func TestST3_Verdicts(t *testing.T) {
	chunk := types.H("staddle/test/chunk")
	f := testAddresses("farmer", 6)
	var in []byte
	add := func(line []byte) { in = append(append(in, line...), '\n') }
	add(Buyer{Buyer: sampleAddress("buyer", 0), Chunk: chunk, Rep: 3}.Append(nil, Grammar{}))
	for _, a := range f {
		add(Farmer{Farmer: a, Chunk: chunk, Rep: 3}.Append(nil, Grammar{}))
	}
	verdicts := []Verdict{
		{VerdictActive, chunk, f[0], true}, // counts
		{VerdictActive, chunk, f[1], true},
		{VerdictSmash, chunk, f[1], false},
		{VerdictActive, chunk, f[2], false}, // no contract; f[3] has no verdict at all
		{VerdictActive, chunk, f[4], true},
		{VerdictAudit, chunk, f[4], true},
		{VerdictServe, chunk, f[4], true}, // counts
		{VerdictActive, chunk, f[5], true},
		{VerdictServe, chunk, f[5], false},
		{VerdictActive, types.H("staddle/test/other"), f[3], true}, // another chunk, nobody claims it
	}
	for _, v := range verdicts {
		add(v.Append(nil, Grammar{}))
	}
	joined := func(p Params) Joined {
		out := rows(t, "1j", p, string(in))
		row, err := ParseJoined([]byte(strings.TrimSuffix(out, "\n")), Grammar{})
		if err != nil {
			t.Fatalf("%q: %v", out, err)
		}
		return row
	}
	var report bytes.Buffer
	if diff := cmp.Diff([]types.Address{f[0], f[4]}, joined(Params{Verdicts: true, Report: &report}).Farmers); diff != "" {
		t.Fatal(diff)
	}
	same(t, report.String(), fmt.Sprintf(`{"feedback":"rejectedsmash","node":"%s","chunkID":"%s"}
{"feedback":"failedchunkclaim","node":"%s","chunkID":"%s"}
{"feedback":"failedchunkclaim","node":"%s","chunkID":"%s"}
`, f[1], chunk, f[2], chunk, f[3], chunk))
	if diff := cmp.Diff(f, joined(Params{}).Farmers); diff != "" {
		t.Fatalf("without the switch every claim counts: %s", diff)
	}
}

// ST2.3: filters accept empty sig and smash, and full ones.
func TestST2_3(t *testing.T) {
	b := Buyer{Buyer: sampleAddress("buyer", 0), Chunk: types.H("staddle/test/chunk"), Born: 1, Stored: 2, Rep: 3, Renewable: true}
	for _, proof := range []string{"", "00ff", strings.Repeat("a", MaxProof)} {
		b.Sig, b.Smash = proof, proof
		have, err := ParseBuyer(b.Append(nil, Grammar{}), Grammar{})
		if err != nil || have != b {
			t.Fatalf("%v, %v", have, err)
		}
	}
}

func TestST11_MinRepAndOver(t *testing.T) {
	chunk := types.H("staddle/test/chunk")
	cases := []struct {
		rep     uint8
		farmers int
		minrep  uint8
		want    FeedbackKind
		lines   int
	}{
		{rep: 5, farmers: 3, want: UnderReplication, lines: 1},
		{rep: 5, farmers: 4},
		{rep: 2, farmers: 1, want: UnderReplication, lines: 1},
		{rep: 2, farmers: 2},
		{rep: 2, farmers: 3},
		{rep: 2, farmers: 4, want: OverReplication, lines: 4},
		{rep: 5, farmers: 0, want: UnderReplication, lines: 1},
		{rep: 5, farmers: 3, minrep: 3},
	}
	for _, c := range cases {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			j := Joined{Chunk: chunk, Buyers: []Payer{{sampleAddress("buyer", 0), c.rep}}, Farmers: testAddresses("farmer", c.farmers)}
			var report bytes.Buffer
			p := beaconParams()
			p.MinRep, p.Report = c.minrep, &report
			rows(t, "1s", p, string(j.Append(nil, Grammar{}))+"\n")
			if have := strings.Count(report.String(), "\n"); have != c.lines || strings.Count(report.String(), c.want.String()) < min(1, c.lines) {
				t.Fatalf("want %d lines of %s, have\n%s", c.lines, c.want, report.String())
			}
		})
	}
}

func TestOrphansAreTold(t *testing.T) {
	j := Joined{Chunk: types.H("staddle/test/chunk"), Farmers: testAddresses("farmer", 2)}
	var report bytes.Buffer
	p := beaconParams()
	p.Report = &report
	same(t, rows(t, "1s", p, string(j.Append(nil, Grammar{}))+"\n"), "")
	if strings.Count(report.String(), "failedchunkclaim") != 2 {
		t.Fatal(report.String())
	}
}

func TestRejectCodes(t *testing.T) {
	owner, other := sampleAddress("farmer", 0), sampleAddress("farmer", 1)
	chunk := types.Hash{0x30}
	good := Farmer{Farmer: owner, Chunk: chunk, Born: 5, Stored: 9, Rep: 3}
	p := Params{Owner: &owner, Shard: types.Shard{Bits: 4, Prefix: 3}, EpochEnd: 10}
	farmer := func(change func(*Farmer)) string {
		f := good
		change(&f)
		return string(f.Append(nil, Grammar{}))
	}
	cases := []struct {
		name string
		line string
		want Code
	}{
		{"good", farmer(func(*Farmer) {}), Accepted},
		{"other owner", farmer(func(f *Farmer) { f.Farmer = other }), ErrOwner},
		{"other shard", farmer(func(f *Farmer) { f.Chunk[0] = 0x40 }), ErrShard},
		{"stored at the end", farmer(func(f *Farmer) { f.Stored = 10 }), ErrEpoch},
		{"rep 0", farmer(func(f *Farmer) { f.Rep = 0 }), ErrRange},
		{"date too large", farmer(func(f *Farmer) { f.Born = MaxDate + 1 }), ErrRange},
		{"rep 256", strings.Replace(farmer(func(*Farmer) {}), `"rep":3`, `"rep":256`, 1), ErrRange},
		{"huge number", strings.Replace(farmer(func(*Farmer) {}), `"rep":3`, `"rep":99999999999999999999999999`, 1), ErrRange},
		{"leading zero", strings.Replace(farmer(func(*Farmer) {}), `"rep":3`, `"rep":03`, 1), ErrGrammar},
		{"minus zero", strings.Replace(farmer(func(*Farmer) {}), `"rep":3`, `"rep":-0`, 1), ErrGrammar},
		{"plus", strings.Replace(farmer(func(*Farmer) {}), `"rep":3`, `"rep":+3`, 1), ErrGrammar},
		{"float", strings.Replace(farmer(func(*Farmer) {}), `"rep":3`, `"rep":3.0`, 1), ErrGrammar},
		{"exponent", strings.Replace(farmer(func(*Farmer) {}), `"rep":3`, `"rep":3e0`, 1), ErrGrammar},
		{"number in quotes", strings.Replace(farmer(func(*Farmer) {}), `"rep":3`, `"rep":"3"`, 1), ErrGrammar},
		{"upper case", strings.Replace(farmer(func(*Farmer) {}), `"3000`, `"3A00`, 1), ErrGrammar},
		{"short id", strings.Replace(farmer(func(*Farmer) {}), `"3000`, `"30`, 1), ErrGrammar},
		{"key twice", strings.Replace(farmer(func(*Farmer) {}), `"rep":3`, `"rep":3,"rep":3`, 1), ErrGrammar},
		{"unknown key", strings.Replace(farmer(func(*Farmer) {}), `"rep":3`, `"rep":3,"x":3`, 1), ErrGrammar},
		{"missing key", strings.Replace(farmer(func(*Farmer) {}), `"rep":3,`, ``, 1), ErrGrammar},
		{"escape", strings.Replace(farmer(func(*Farmer) {}), `"rep"`, `"\u0072ep"`, 1), ErrGrammar},
		{"nested", strings.Replace(farmer(func(*Farmer) {}), `"rep":3`, `"rep":{"rep":3}`, 1), ErrGrammar},
		{"byte order mark", "\ufeff" + farmer(func(*Farmer) {}), ErrGrammar},
		{"text after it", farmer(func(*Farmer) {}) + "x", ErrGrammar},
		{"empty", "", ErrGrammar},
		{"other order", `{"renewable":0,"rep":3,"chunkSD":9,"chunkBD":5,"chunkID":"` + chunk.String() + `","farmer":"` + owner.String() + `"}`, Accepted},
		{"blanks", strings.ReplaceAll(farmer(func(*Farmer) {}), ",", " , "), Accepted},
		{"too long", farmer(func(*Farmer) {}) + strings.Repeat(" ", MaxLine), ErrLong},
		{"much too long", strings.Repeat("x", 3*readBuffer), ErrLong},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			out, counts, _ := filter(t, "1j", p, c.line+"\n"+farmer(func(*Farmer) {})+"\n")
			var want Counts
			want.In, want.Out = 2, 1
			if want.Rejected[c.want]++; c.want == Accepted {
				want.Rejected[c.want], want.Out = 0, 2
			}
			counts.Legacy = 0
			if counts != want || strings.Count(out, "\n") != 1 {
				t.Fatalf("counts %s, want %s; out %q", counts, want, out)
			}
		})
	}
}

func TestBandwidthRejects(t *testing.T) {
	a, b := sampleAddress("farmer", 0), sampleAddress("farmer", 1)
	for _, c := range []struct {
		name string
		line Bandwidth
		want Code
	}{
		{"good", Bandwidth{a, b, 5, "r"}, Accepted},
		{"zero", Bandwidth{a, b, 0, "r"}, ErrRange},
		{"with oneself", Bandwidth{a, a, 5, "r"}, ErrRange},
		{"no receipt", Bandwidth{a, b, 5, ""}, ErrRange},
		{"long receipt", Bandwidth{a, b, 5, strings.Repeat("r", MaxReceipt+1)}, ErrRange},
		{"receipt with a slash", Bandwidth{a, b, 5, "r/1"}, ErrGrammar},
		{"largest", Bandwidth{a, b, -MaxUnits, "r"}, Accepted},
		{"too large", Bandwidth{a, b, MaxUnits + 1, "r"}, ErrRange},
	} {
		_, err := ParseBandwidth(c.line.Append(nil, Grammar{}), Grammar{})
		if (err == nil) != (c.want == Accepted) || err != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
}

// Claims of one pair: equal units match as often as both sides say so; what is
// left is told to its claimant, with the receipt that the other side lacks.
func TestMatching(t *testing.T) {
	a, b := sampleAddress("farmer", 0), sampleAddress("farmer", 1)
	if bytes.Compare(a[:], b[:]) > 0 {
		a, b = b, a
	}
	line := func(l Bandwidth) string { return string(l.Append(nil, Grammar{})) + "\n" }
	in := line(Bandwidth{a, b, 5, "r1"}) + line(Bandwidth{a, b, 5, "r2"}) + line(Bandwidth{a, b, 5, "r3"}) +
		line(Bandwidth{b, a, -5, "r3"}) + line(Bandwidth{b, a, -5, "r2"}) + line(Bandwidth{b, a, -5, "r2"}) +
		line(Bandwidth{b, a, -6, "r9"})
	var report bytes.Buffer
	out, _, reduced := filter(t, "1b", Params{Report: &report}, in)
	same(t, out, fmt.Sprintf("{\"id\":\"%s\",\"b\":10}\n{\"id\":\"%s\",\"b\":-10}\n", a, b))
	same(t, report.String(), fmt.Sprintf(`{"feedback":"failedbandwidthlog","node":"%s","peer":"%s","receipt":"r1"}
{"feedback":"failedbandwidthlog","node":"%s","peer":"%s","receipt":"r9"}
`, a, b, b, a))
	if reduced.Rejected[ErrDup] != 1 {
		t.Fatalf("counts %s, want one E_DUP", reduced)
	}
}

func TestOverflowEndsTheRun(t *testing.T) {
	in := fmt.Sprintf("%s\tb\t%d\n%s\tb\t1\n", idCB, int64(math.MaxInt64), idCB)
	if _, err := (netStage{}).Reduce(Params{}, strings.NewReader(in), &bytes.Buffer{}); !errors.Is(err, ErrOverflow) {
		t.Fatal(err)
	}
	in = fmt.Sprintf("%s\tb\t%d\n%s\tb\t-1\n", idCB, int64(-math.MaxInt64), idCB)
	if _, err := (netStage{}).Reduce(Params{}, strings.NewReader(in), &bytes.Buffer{}); !errors.Is(err, ErrOverflow) {
		t.Fatal(err)
	}
}

// A reducer ignores the order inside a key, and refuses keys out of order.
func TestReducersAndOrder(t *testing.T) {
	p := beaconParams()
	lines := Sample(SampleSize{Chunks: 30, Farmers: 20, Buyers: 5, Seed: 9})
	for _, stage := range []Stage{joinStage{}, bandwidthStage{}} {
		var facts bytes.Buffer
		if _, err := stage.Map(p, strings.NewReader(strings.Join(lines, "\n")), &facts); err != nil {
			t.Fatal(err)
		}
		list := strings.SplitAfter(strings.TrimSuffix(sorted(facts.String()), "\n")+"\n", "\n")
		list = list[:len(list)-1]
		width := chunkKey
		if stage.Name() == StageBandwidth {
			width = pairKey
		}
		reduce := func(list []string) (string, error) {
			var out bytes.Buffer
			_, err := stage.Reduce(p, strings.NewReader(strings.Join(list, "")), &out)
			return out.String(), err
		}
		want, err := reduce(list)
		if err != nil {
			t.Fatal(err)
		}
		slices.SortStableFunc(list, func(a, b string) int { // keys ascend, facts descend
			if a[:width] != b[:width] {
				return strings.Compare(a, b)
			}
			return strings.Compare(b, a)
		})
		have, err := reduce(list)
		if err != nil {
			t.Fatal(err)
		}
		same(t, have, want)
		slices.Reverse(list)
		if _, err := reduce(list); !errors.Is(err, ErrUnsorted) {
			t.Fatalf("stage %s, keys descend: %v", stage.Name(), err)
		}
		if _, err := reduce([]string{"nonsense\n"}); err == nil {
			t.Fatalf("stage %s takes nonsense", stage.Name())
		}
	}
}

// Caps keep the smallest ranks, in whatever order and however often claims come.
func TestCrowdedChunk(t *testing.T) {
	chunk := types.H("staddle/test/chunk")
	farmers := testAddresses("farmer", heldParties+MaxParties)
	var facts []string
	for _, a := range farmers {
		facts = append(facts, fmt.Sprintf("%s\tf\t%s\n", chunk, a))
	}
	reduce := func() Joined {
		var out bytes.Buffer
		if _, err := (joinStage{}).Reduce(beaconParams(), strings.NewReader(strings.Join(facts, "")), &out); err != nil {
			t.Fatal(err)
		}
		row, err := ParseJoined(bytes.TrimSuffix(out.Bytes(), []byte("\n")), Grammar{})
		if err != nil {
			t.Fatal(err)
		}
		return row
	}
	row := reduce()
	want := addressSet(smallest(farmers, MaxParties, func(a types.Address) types.Hash { return Rank(testBeacon, chunk, a) }))
	if diff := cmp.Diff(want, row.Farmers); diff != "" {
		t.Fatal(diff)
	}
	slices.Reverse(facts)
	if diff := cmp.Diff(row, reduce()); diff != "" {
		t.Fatal(diff)
	}
}
