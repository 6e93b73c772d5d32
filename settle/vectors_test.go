package settle

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/big"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/staddle/staddle/types"
)

var update = flag.Bool("update", false, "write the vectors of the spec anew")

const (
	lineVectors   = "../spec/vectors/lines.json"
	settleVectors = "../spec/vectors/settlement.json"
)

// lineCase is one line of a log and what a reader makes of it.
type lineCase struct {
	Log       string `json:"log"`
	Legacy    bool   `json:"legacy ids,omitempty"`
	Line      string `json:"line"`
	Code      string `json:"code"`
	Canonical string `json:"canonical,omitempty"` // of an accepted line
}

type lineFile struct {
	Lines   []lineCase        `json:"lines"`
	Roots   map[string]string `json:"roots"`   // over the first n accepted farmer lines below
	Headers map[string]string `json:"headers"` // canonical bytes, ids and the root over two
}

func judge(c *lineCase) {
	g := Grammar{LegacyIDs: c.Legacy}
	var canonical []byte
	var err error
	switch line := []byte(c.Line); c.Log {
	case "farmer":
		var f Farmer
		f, err = ParseFarmer(line, g)
		canonical = f.Append(nil, g)
	case "buyer":
		var b Buyer
		b, err = ParseBuyer(line, g)
		canonical = b.Append(nil, g)
	case "bandwidth":
		var b Bandwidth
		b, err = ParseBandwidth(line, g)
		canonical = b.Append(nil, g)
	default:
		var v Verdict
		v, err = ParseVerdict(line, g)
		canonical = v.Append(nil, g)
	}
	c.Code, c.Canonical = "accepted", string(canonical)
	var code Code
	if errors.As(err, &code) {
		c.Code, c.Canonical = code.String(), ""
	}
}

func buildLines() lineFile {
	farmer, buyer := strings.Split(docFarmers, "\n")[0], strings.Split(docBuyers, "\n")[0]
	band := strings.Split(relayA, "\n")[0]
	long := `{"id":"` + idF6 + `","remote":"` + idFD + `","s":123456,"receipt":"r1"}`
	verdict := `{"verdict":"active","chunkID":"2b3b7615443069fa6886eec0283d23b09b54a906f78df2d1e537db0ebbf148ca","farmer":"` + idF6 + `","ok":1}`
	file := lineFile{Lines: []lineCase{
		{Log: "farmer", Line: farmer},
		{Log: "farmer", Line: strings.Replace(farmer, ",", ", ", 2)},
		{Log: "farmer", Line: `{"renewable":0,"rep":255,"chunkSD":1099511627776,"chunkBD":0,"chunkID":"215b892e8f44980fbbbcc3ee8f92ddad558bcfdcc0f89d6d4852aa62e1a63ebb","farmer":"` + idF6 + `"}`},
		{Log: "farmer", Line: farmer + "\r"},
		{Log: "farmer", Line: farmer + "}"},
		{Log: "farmer", Line: strings.Replace(farmer, "2b3b", "2B3B", 1)},
		{Log: "farmer", Line: strings.Replace(farmer, `"rep":5`, `"rep":0`, 1)},
		{Log: "farmer", Line: strings.Replace(farmer, `"rep":5`, `"rep":256`, 1)},
		{Log: "farmer", Line: strings.Replace(farmer, `"rep":5`, `"rep":05`, 1)},
		{Log: "farmer", Line: strings.Replace(farmer, `"rep":5`, `"rep":5,"rep":5`, 1)},
		{Log: "farmer", Line: strings.Replace(farmer, `"rep":5`, `"rep":5e0`, 1)},
		{Log: "farmer", Line: strings.Replace(farmer, `"rep"`, `"r\u0065p"`, 1)},
		{Log: "farmer", Line: farmer + strings.Repeat(" ", MaxLine-len(farmer))},
		{Log: "farmer", Line: farmer + strings.Repeat(" ", MaxLine-len(farmer)+1)},
		{Log: "farmer", Legacy: true, Line: strings.Replace(farmer, "283d23b09b54a906f78df2d1e537db0ebbf148ca", "283d23b09b54a906", 1)},
		{Log: "buyer", Line: buyer},
		{Log: "buyer", Line: strings.Replace(buyer, `"smash":""`, `"smash":"00ff"`, 1)},
		{Log: "buyer", Line: strings.Replace(buyer, `"smash":""`, `"smash":"00FF"`, 1)},
		{Log: "buyer", Line: strings.Replace(buyer, `,"smash":""`, ``, 1)},
		{Log: "bandwidth", Line: long},
		{Log: "bandwidth", Line: strings.Replace(long, "123456", "9007199254740991", 1)},
		{Log: "bandwidth", Line: strings.Replace(long, "123456", "9007199254740992", 1)},
		{Log: "bandwidth", Line: strings.Replace(long, "123456", "0", 1)},
		{Log: "bandwidth", Line: strings.Replace(long, "123456", "-0", 1)},
		{Log: "bandwidth", Line: strings.Replace(long, idFD, idF6, 1)},
		{Log: "bandwidth", Line: strings.Replace(long, "r1", "r/1", 1)},
		{Log: "bandwidth", Line: band},
		{Log: "bandwidth", Legacy: true, Line: band},
		{Log: "verdict", Line: verdict},
		{Log: "verdict", Line: strings.Replace(verdict, "active", "idle", 1)},
	}, Roots: map[string]string{}, Headers: map[string]string{}}
	for i := range file.Lines {
		judge(&file.Lines[i])
	}
	var tree types.LineTree
	for n := range 4 {
		file.Roots[fmt.Sprint(n)] = tree.Root().String()
		tree.Add([]byte(file.Lines[[]int{0, 2, 15, 19}[n]].Canonical))
	}
	file.Roots["4"] = tree.Root().String()
	headers := vectorHeaders(tree.Root())
	for _, h := range headers {
		file.Headers[h.Role.String()] = hex.EncodeToString(types.Marshal(&h))
		file.Headers[h.Role.String()+" id"] = h.ID().String()
	}
	root, err := types.HeadersRoot(headers)
	if err != nil {
		panic(err)
	}
	file.Headers["root"] = root.String()
	return file
}

func vectorHeaders(root types.Hash) []types.LogHeader {
	device := types.Device(types.H("staddle/test/device"))
	return []types.LogHeader{
		{Version: 1, Device: device, Role: types.LogFarmer, Epoch: 7, Lines: 4, Bytes: 800, Leaves: 12, Root: root},
		{Version: 1, Device: device, Role: types.LogBandwidth, Epoch: 7, Shard: types.Shard{Bits: 4, Prefix: 3}, Lines: 4, Bytes: 800, Root: root, Previous: types.H("staddle/test/previous")},
	}
}

// settleFile holds whole stages as text, and the decisions inside them.
type settleFile struct {
	Beacon string            `json:"beacon"`
	Ranks  map[string]string `json:"ranks"` // ST5.2: farmer to SHA-256(beacon || chunk || farmer)
	Paid   []string          `json:"paid"`  // of these farmers, rep 3
	Shares []shareCase       `json:"shares"`
	Stages []stageCase       `json:"stages"`
	Result resultCase        `json:"result"`
	Pay    []payCase         `json:"pay"`
}

type shareCase struct {
	Chunk  string `json:"chunk"`
	Reps   []int  `json:"reps"`
	Paid   int    `json:"replicas paid"`
	Shares []int  `json:"shares"`
}

type stageCase struct {
	Name     string            `json:"name"`
	Stage    string            `json:"stage"`
	Settings map[string]string `json:"settings,omitempty"`
	In       []string          `json:"in"`
	Facts    []string          `json:"facts"` // sorted
	Out      []string          `json:"out"`
	Report   []string          `json:"report,omitempty"`
}

type resultCase struct {
	Rows    []string          `json:"rows"`
	Buckets map[string]string `json:"buckets"` // number to canonical bytes
	Root    string            `json:"root"`    // CID of the root block
	Net     string            `json:"net"`
	Credit  string            `json:"credit"`
}

type payCase struct {
	Carry uint64 `json:"carry"`
	T     string `json:"t"`
	Paid  int64  `json:"paid"`
	Rest  uint64 `json:"rest"`
}

func textLines(s string) []string { return strings.Split(strings.TrimSuffix(s, "\n"), "\n") }

func buildSettlement(t *testing.T) settleFile {
	file := settleFile{Beacon: testBeacon.String(), Ranks: map[string]string{}}
	chunk := types.H("staddle/test/chunk")
	j := Joined{Chunk: chunk, Buyers: []Payer{{sampleAddress("buyer", 0), 3}}, Farmers: testAddresses("farmer", 5)}
	for _, f := range j.Farmers {
		file.Ranks[f.String()] = Rank(testBeacon, chunk, f).String()
	}
	for _, f := range j.Select(testBeacon) {
		file.Paid = append(file.Paid, f.String())
	}
	for i, reps := range [][]int{{5}, {3, 3}, {5, 5, 5}, {1, 6, 2}, {2, 2, 9, 4}} {
		c := shareCase{Chunk: types.H("staddle/test/chunk", []byte{byte(i)}).String(), Reps: reps}
		id, err := types.ParseHash(c.Chunk)
		if err != nil {
			t.Fatal(err)
		}
		j := Joined{Chunk: id}
		for k, rep := range reps {
			j.Buyers = append(j.Buyers, Payer{types.Address{byte(k)}, uint8(rep)})
		}
		c.Paid = int(j.Rep())
		c.Shares = j.Shares(testBeacon, c.Paid)
		file.Shares = append(file.Shares, c)
	}
	file.Stages = stageCases()
	for i := range file.Stages {
		file.Stages[i].run(t)
	}
	file.Result = buildResult(t)
	for _, c := range []payCase{{Carry: 0, T: "2184533333"}, {Carry: 999999999, T: "1"}, {Carry: 0, T: "-1"}, {Carry: 5, T: "-2000000006"}} {
		n, _ := new(big.Int).SetString(c.T, 10)
		var err error
		if c.Paid, c.Rest, err = types.Pay(c.Carry, n); err != nil {
			t.Fatal(err)
		}
		file.Pay = append(file.Pay, c)
	}
	return file
}

func stageCases() []stageCase {
	beacon := map[string]string{NameBeacon: testBeacon.String()}
	costs := map[string]string{NameStorageCost: "100", NameBandwidthCost: "100"}
	legacy := map[string]string{NameLegacyIDs: "true"}
	crowd := Joined{Chunk: types.H("staddle/test/chunk"), Buyers: []Payer{{sampleAddress("buyer", 0), 2}, {sampleAddress("buyer", 1), 3}}, Farmers: testAddresses("farmer", 7)}
	if string(crowd.Buyers[0].Address[:]) > string(crowd.Buyers[1].Address[:]) {
		crowd.Buyers[0], crowd.Buyers[1] = crowd.Buyers[1], crowd.Buyers[0]
	}
	return []stageCase{
		{Name: "A4", Stage: "1j", In: textLines(docBuyers + docFarmers)},
		{Name: "A5", Stage: "1s", Settings: beacon, In: textLines(docJoined)},
		{Name: "co-buyers and too many farmers", Stage: "1s", Settings: beacon, In: []string{string(crowd.Append(nil, Grammar{}))}},
		{Name: "A7", Stage: "1s", Settings: map[string]string{NameBeacon: testBeacon.String(), NameLegacyIDs: "true"}, In: textLines(docRows)},
		{Name: "A1", Stage: "1b", Settings: legacy, In: textLines(relayA + relayB + relayC)},
		{Name: "A3", Stage: "1b", In: []string{
			`{"id":"` + idF6 + `","remote":"` + idFD + `","s":123456,"receipt":"r1"}`,
			`{"id":"0xdf990c3c42446f6705dd66376bf5820cf2c09527","remote":"` + idF6 + `","s":-123456,"receipt":"r2"}`,
		}},
		{Name: "A8", Stage: "2", Settings: costs, In: textLines(docCollation)},
	}
}

func (c *stageCase) run(t *testing.T) {
	t.Helper()
	p, err := ParseParams(func(name string) string { return c.Settings[name] })
	if err != nil {
		t.Fatal(err)
	}
	stage, err := StageByName(c.Stage)
	if err != nil {
		t.Fatal(err)
	}
	var facts, out, report strings.Builder
	p.Report = &report
	if _, err := stage.Map(p, strings.NewReader(strings.Join(c.In, "\n")), &facts); err != nil {
		t.Fatal(err)
	}
	text := sorted(facts.String())
	if _, err := stage.Reduce(p, strings.NewReader(text), &out); err != nil {
		t.Fatal(err)
	}
	c.Facts, c.Out = textLines(text), []string{}
	if out.Len() > 0 {
		c.Out = textLines(out.String())
	}
	if report.Len() > 0 {
		c.Report = textLines(report.String())
	}
}

func buildResult(t *testing.T) resultCase {
	c := resultCase{Buckets: map[string]string{}, Rows: []string{
		`{"id":"` + idCB + `","s":3,"b":1,"t":400}`,
		`{"id":"` + idD8 + `","s":1,"b":-1,"t":0}`,
		`{"id":"` + idF6 + `","s":-2,"b":99,"t":9700}`,
		`{"id":"` + idFD + `","s":-2,"b":-99,"t":-10100}`,
	}}
	rows, err := ReadRows(strings.NewReader(strings.Join(c.Rows, "\n")), 10, Grammar{})
	if err != nil {
		t.Fatal(err)
	}
	result, nodes, err := Build(rows)
	if err != nil {
		t.Fatal(err)
	}
	c.Root = nodes[0].CID.String()
	for k := range result.Entries {
		for _, n := range nodes {
			if n.CID == result.Entries[k].Bucket {
				c.Buckets[fmt.Sprint(k)] = hex.EncodeToString(n.Bytes)
			}
		}
	}
	net, credit, err := result.Totals()
	if err != nil {
		t.Fatal(err)
	}
	c.Net = fmt.Sprintf("s %d b %d t %s", net.S, net.B, net.T)
	c.Credit = fmt.Sprintf("s %d b %d t %s", credit.S, credit.B, credit.T)
	return c
}

func compareVectors(t *testing.T, path string, have any) {
	t.Helper()
	b, err := json.MarshalIndent(have, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	b = append(b, '\n')
	if *update {
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(b)); diff != "" {
		t.Fatal(diff)
	}
}

func TestLineVectors(t *testing.T) { compareVectors(t, lineVectors, buildLines()) }

func TestSettlementVectors(t *testing.T) { compareVectors(t, settleVectors, buildSettlement(t)) }

// The canonical bytes of the vectors read back as what they stand for.
func TestVectorsReadBack(t *testing.T) {
	var lines lineFile
	var settled settleFile
	for path, into := range map[string]any{lineVectors: &lines, settleVectors: &settled} {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, into); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range lines.Lines {
		if c.Canonical == "" {
			continue
		}
		again := lineCase{Log: c.Log, Legacy: c.Legacy, Line: c.Canonical}
		if judge(&again); again.Canonical != c.Canonical {
			t.Errorf("%q reads back as %s %q", c.Canonical, again.Code, again.Canonical)
		}
	}
	for _, role := range []string{"farmer", "bandwidth"} {
		var h types.LogHeader
		if err := types.Unmarshal(unhexed(t, lines.Headers[role]), &h); err != nil || h.ID().String() != lines.Headers[role+" id"] {
			t.Errorf("%s header: %v, %v", role, h, err)
		}
	}
	var read []string
	for _, k := range []string{"203", "216", "246", "253"} {
		var b types.ResultBucket
		if err := types.Unmarshal(unhexed(t, settled.Result.Buckets[k]), &b); err != nil {
			t.Fatal(err)
		}
		for i := range b.Lines {
			read = append(read, string(AppendRow(nil, &b.Lines[i], Grammar{})))
		}
	}
	if diff := cmp.Diff(settled.Result.Rows, read); diff != "" {
		t.Error(diff)
	}
}

func unhexed(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
