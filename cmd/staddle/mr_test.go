package main

import (
	"bytes"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/staddle/staddle/cluster"
	"github.com/staddle/staddle/settle"
	"github.com/staddle/staddle/types"
)

const (
	mrFarmerLog = `{"farmer":"0x68988336d54ecd93bd9098607c32497bd7df0015","chunkID":"2b3b7615443069fa6886eec0283d23b09b54a906f78df2d1e537db0ebbf148ca","chunkBD":1515542149,"chunkSD":1515542150,"rep":5,"renewable":1}
{"farmer":"0x68988336d54ecd93bd9098607c32497bd7df0015","chunkID":"215b892e8f44980fbbbcc3ee8f92ddad558bcfdcc0f89d6d4852aa62e1a63ebb","chunkBD":1515542149,"chunkSD":1515542157,"rep":4,"renewable":0}
`
	mrBuyerLog = `{"buyer":"0xd80a4004350027f618107fe3240937d54e46c21b","chunkID":"2b3b7615443069fa6886eec0283d23b09b54a906f78df2d1e537db0ebbf148ca","chunkBD":1515542149,"chunkSD":1515542149,"rep":5,"renewable":1,"sig":"","smash":""}
{"buyer":"0xcb2fa2c491451cac943bb5a0261eb101cc36a4f8","chunkID":"215b892e8f44980fbbbcc3ee8f92ddad558bcfdcc0f89d6d4852aa62e1a63ebb","chunkBD":1515542149,"chunkSD":1515542149,"rep":5,"renewable":1,"sig":"","smash":""}
`
	mrJoined = `{"chunkID":"215b892e8f44980fbbbcc3ee8f92ddad558bcfdcc0f89d6d4852aa62e1a63ebb","buyers":["0xcb2fa2c491451cac943bb5a0261eb101cc36a4f8"],"rep":5,"renew":1,"farmers":["0x68988336d54ecd93bd9098607c32497bd7df0015"]}
{"chunkID":"2b3b7615443069fa6886eec0283d23b09b54a906f78df2d1e537db0ebbf148ca","buyers":["0xd80a4004350027f618107fe3240937d54e46c21b"],"rep":5,"renew":1,"farmers":["0x68988336d54ecd93bd9098607c32497bd7df0015"]}
`
	mrStorage = `{"id":"0x68988336d54ecd93bd9098607c32497bd7df0015","s":2}
{"id":"0xcb2fa2c491451cac943bb5a0261eb101cc36a4f8","s":-1}
{"id":"0xd80a4004350027f618107fe3240937d54e46c21b","s":-1}
`
	mrRelay = `{"id":"A","remote":"B","s":1,"receipt":"r1"}
{"id":"B","remote":"A","s":-1,"receipt":"r2"}
{"id":"B","remote":"C","s":1,"receipt":"r3"}
{"id":"C","remote":"B","s":-1,"receipt":"r4"}
`
	mrRelayNet = `{"id":"A","b":1}
{"id":"C","b":-1}
`
)

var mrBeacon = types.H("staddle/test/beacon").String()

// mrRoot is a command line that has the filters and nothing else.
func mrRoot() *cobra.Command {
	root := &cobra.Command{Use: "staddle", SilenceErrors: true}
	root.AddCommand(mrCommand())
	root.AddCommand(mrAliases()...)
	return root
}

// mrExec runs one command line in this process.
func mrExec(in string, words ...string) (out, stderr string, err error) {
	root := mrRoot()
	var stdout, errors bytes.Buffer
	root.SetIn(strings.NewReader(in))
	root.SetOut(&stdout)
	root.SetErr(&errors)
	root.SetArgs(words)
	err = root.Execute()
	return stdout.String(), errors.String(), err
}

// mrPipe is map, sort, reduce.
func mrPipe(t *testing.T, in string, mapper, reducer []string) string {
	t.Helper()
	facts, stderr, err := mrExec(in, mapper...)
	if err != nil || stderr != "" {
		t.Fatalf("%v: %v %s", mapper, err, stderr)
	}
	lines := strings.SplitAfter(facts, "\n")
	slices.Sort(lines)
	rows, stderr, err := mrExec(strings.Join(lines, ""), reducer...)
	if err != nil || stderr != "" {
		t.Fatalf("%v: %v %s", reducer, err, stderr)
	}
	return rows
}

func TestMrWordsAndNamesOfTheDocument(t *testing.T) {
	costs := []string{"--storagecost", "100", "--bandwidthcost", "100"}
	cases := []struct {
		stage   string
		names   []string // of document 003, -map and -reduce
		flags   []string
		in, out string
	}{
		{"1j", []string{"smash"}, nil, mrBuyerLog + mrFarmerLog, mrJoined},
		{"1s", []string{"storage"}, []string{"--beacon", mrBeacon}, mrJoined, mrStorage},
		{"1b", []string{"bandwidth", "validator-1b"}, []string{"--legacy-ids"}, mrRelay, mrRelayNet},
		{"net", nil, nil, mrStorage + mrStorage, strings.NewReplacer("2}", "4}", "-1", "-2").Replace(mrStorage)},
		{"2", []string{"collation"}, costs, mrStorage, strings.NewReplacer(
			`"s":2}`, `"s":2,"b":0,"t":200}`, `"s":-1}`, `"s":-1,"b":0,"t":-100}`).Replace(mrStorage)},
	}
	for _, c := range cases {
		t.Run(c.stage, func(t *testing.T) {
			have := mrPipe(t, c.in, append([]string{"mr", c.stage, "map"}, c.flags...), append([]string{"mr", c.stage, "reduce"}, c.flags...))
			if diff := cmp.Diff(c.out, have); diff != "" {
				t.Fatal(diff)
			}
			for _, name := range c.names {
				have := mrPipe(t, c.in, append([]string{name + "-map"}, c.flags...), append([]string{name + "-reduce"}, c.flags...))
				if diff := cmp.Diff(c.out, have); diff != "" {
					t.Fatal(name, diff)
				}
			}
		})
	}
	if n := len(mrAliases()); n != 10 {
		t.Fatalf("%d names of the document, want 10", n)
	}
}

func TestMrParametersFromTheEnvironment(t *testing.T) {
	t.Setenv("STADDLE_BEACON", mrBeacon)
	t.Setenv("STADDLE_STORAGECOST", "7")
	t.Setenv("STADDLE_BANDWIDTHCOST", "9")
	t.Setenv("STADDLE_LEGACY_IDS", "1")
	if have := mrPipe(t, mrJoined, []string{"storage-map"}, []string{"storage-reduce"}); have != mrStorage {
		t.Fatal(have)
	}
	if have := mrPipe(t, mrRelay, []string{"bandwidth-map"}, []string{"bandwidth-reduce"}); have != mrRelayNet {
		t.Fatal(have)
	}
	have := mrPipe(t, mrRelayNet, []string{"collation-map"}, []string{"collation-reduce", "--bandwidthcost", "10"})
	if want := `{"id":"A","s":0,"b":1,"t":10}` + "\n" + `{"id":"C","s":0,"b":-1,"t":-10}` + "\n"; have != want {
		t.Fatalf("a flag wins over the environment: %s", have)
	}
}

func TestMrFilesAndCounts(t *testing.T) {
	dir := t.TempDir()
	report, counts := filepath.Join(dir, "feedback"), filepath.Join(dir, "counts")
	facts, stderr, err := mrExec("garbage\n"+mrJoined, "mr", "1s", "map", "--counts", counts)
	if err != nil || stderr != "mr 1s map: in=3 out=2 E_GRAMMAR=1\n" {
		t.Fatalf("%v %q", err, stderr)
	}
	if _, _, err := mrExec(facts, "mr", "1s", "reduce", "--beacon", mrBeacon, "--report", report, "--minrep", "1"); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(report); err != nil || len(b) != 0 {
		t.Fatalf("with minrep 1 nobody is told: %q, %v", b, err)
	}
	if _, _, err := mrExec(facts, "mr", "1s", "reduce", "--beacon", mrBeacon, "--report", report); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(report)
	if err != nil || strings.Count(string(b), "underreplication") != 2 {
		t.Fatalf("%q, %v", b, err)
	}
	if b, err := os.ReadFile(counts); err != nil || string(b) != "in=3 out=2 E_GRAMMAR=1\n" {
		t.Fatalf("%q, %v", b, err)
	}
}

func TestMrErrors(t *testing.T) {
	for _, c := range []struct {
		words []string
		in    string
		want  string
	}{
		{[]string{"mr", "1s", "reduce"}, "", "needs the beacon"},
		{[]string{"mr", "2", "reduce", "--storagecost", "5"}, "", "needs storagecost and bandwidthcost"},
		{[]string{"mr", "1s", "map", "--beacon", "xyz"}, "", "parameter beacon"},
		{[]string{"mr", "2", "reduce", "--storagecost", "-5", "--bandwidthcost", "1"}, "", "price -5"},
		{[]string{"mr", "1j", "reduce"}, "garbage\n", "line 1"},
		{[]string{"mr", "1b", "reduce"}, "garbage\n", "line 1"},
		{[]string{"mr", "net", "reduce"}, "0xd80a4004350027f618107fe3240937d54e46c21b\ts\t1\n0xcb2fa2c491451cac943bb5a0261eb101cc36a4f8\ts\t1\n", "LC_ALL=C"},
		{[]string{"mr", "1j", "map", "file"}, "", "unknown command"},
		{[]string{"mr", "1j", "map", "--shard", "9/1"}, "", "parameter shard"},
	} {
		_, _, err := mrExec(c.in, c.words...)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %q", c.words, err, c.want)
		}
	}
}

func TestMrHelpShowsAnExample(t *testing.T) {
	for _, w := range mrWords {
		out, _, err := mrExec("", "mr", w.stage, w.half(), "--help")
		if err != nil || !strings.Contains(out, w.example) || !strings.Contains(out, "STADDLE_BEACON") {
			t.Errorf("mr %s %s: %v\n%s", w.stage, w.half(), err, out)
		}
	}
}

// mrChild makes the test binary the program in a pipe: this command line with the
// words after "--".
func mrChild() {
	root := mrRoot()
	root.SetArgs(os.Args[slices.Index(os.Args, "--")+1:])
	if err := root.Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// mrProgram writes a program that is this command line.
func mrProgram(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "staddle")
	self, err := filepath.Abs(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	text := "#!/bin/sh\nMR_TEST_CHILD=1 exec '" + self + "' -test.run='^TestMrShellLine$' -- \"$@\"\n"
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// The line of document 003 as a person would type it.
func TestMrShellLine(t *testing.T) {
	if os.Getenv("MR_TEST_CHILD") != "" {
		mrChild()
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"buyerlog-input1.txt": mrBuyerLog, "farmerlog-input1.txt": strings.TrimSuffix(mrFarmerLog, "\n"), "farmerlog-input2.txt": mrFarmerLog} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	bin := mrProgram(t)
	sh := func(line string) (string, error) {
		cmd := exec.Command("sh", "-c", line)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(bin)+":"+os.Getenv("PATH"), "LC_ALL=C", "R="+mrBeacon)
		out, err := cmd.Output()
		return string(out), err
	}
	have, err := sh(`cat buyerlog-input*.txt farmerlog-input*.txt | staddle smash-map | sort | staddle smash-reduce`)
	if err != nil || have != mrJoined {
		t.Fatalf("%v\n%s", err, have)
	}
	have, err = sh(`cat *-input*.txt | staddle mr 1j map | sort | staddle mr 1j reduce | staddle mr 1s map | sort | staddle mr 1s reduce --beacon $R`)
	if err != nil || have != mrStorage {
		t.Fatalf("%v\n%s", err, have)
	}
	if _, err := sh(`echo x | staddle mr 1j reduce`); err == nil {
		t.Fatal("a failed filter exits with 0")
	}
}

// The pipe runner with the real command line gives what local gives.
func TestMrRunners(t *testing.T) {
	dir := t.TempDir()
	owner, err := types.ParseAddress("0x68988336d54ecd93bd9098607c32497bd7df0015")
	if err != nil {
		t.Fatal(err)
	}
	var inputs []settle.Input
	for _, in := range []struct {
		log  types.LogRole
		text string
	}{{types.LogBuyer, mrBuyerLog}, {types.LogFarmer, "garbage\n" + mrFarmerLog}, {types.LogBandwidth, mrRelay}} {
		path := filepath.Join(dir, in.log.String())
		if err := os.WriteFile(path, []byte(in.text), 0o600); err != nil {
			t.Fatal(err)
		}
		inputs = append(inputs, settle.Input{Path: path, Log: in.log})
	}
	inputs[1].Owner = &owner
	plan, err := settle.NewPlan(inputs, settle.Params{
		Beacon: types.H("staddle/test/beacon"), LegacyIDs: true, StorageCost: big.NewInt(3), BandwidthCost: big.NewInt(5),
	}, 10)
	if err != nil {
		t.Fatal(err)
	}
	var rows [2][]settle.Row
	var counts [2]settle.Counts
	for i, name := range []string{"pipe", "local"} {
		r, err := cluster.New(name, cluster.Options{Binary: mrProgram(t)})
		if err != nil {
			t.Fatal(err)
		}
		result, err := r.Run(t.Context(), plan, t.TempDir(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if rows[i], err = result.Rows(settle.Grammar{LegacyIDs: true}); err != nil {
			t.Fatal(err)
		}
		step, _ := result.Step(settle.StepJoin)
		counts[i] = step.Map
	}
	if diff := cmp.Diff(rows[0], rows[1], cmp.Comparer(func(a, b *big.Int) bool { return a.Cmp(b) == 0 })); diff != "" || len(rows[0]) != 5 {
		t.Fatalf("%d rows: %s", len(rows[0]), diff)
	}
	if counts[0] != counts[1] || counts[0].Rejected[settle.ErrGrammar] != 1 {
		t.Fatalf("pipe %s, local %s", counts[0], counts[1])
	}
}
