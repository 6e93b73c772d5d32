package settle

import (
	"bytes"
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/staddle/staddle/types"
)

// The examples of document 003. What they get wrong is said beside each test.
const (
	docFarmers = `{"farmer":"0x68988336d54ecd93bd9098607c32497bd7df0015","chunkID":"2b3b7615443069fa6886eec0283d23b09b54a906f78df2d1e537db0ebbf148ca","chunkBD":1515542149,"chunkSD":1515542150,"rep":5,"renewable":1}
{"farmer":"0x68988336d54ecd93bd9098607c32497bd7df0015","chunkID":"215b892e8f44980fbbbcc3ee8f92ddad558bcfdcc0f89d6d4852aa62e1a63ebb","chunkBD":1515542149,"chunkSD":1515542157,"rep":4,"renewable":0}
`
	docBuyers = `{"buyer":"0xd80a4004350027f618107fe3240937d54e46c21b","chunkID":"2b3b7615443069fa6886eec0283d23b09b54a906f78df2d1e537db0ebbf148ca","chunkBD":1515542149,"chunkSD":1515542149,"rep":5,"renewable":1,"sig":"","smash":""}
{"buyer":"0xcb2fa2c491451cac943bb5a0261eb101cc36a4f8","chunkID":"215b892e8f44980fbbbcc3ee8f92ddad558bcfdcc0f89d6d4852aa62e1a63ebb","chunkBD":1515542149,"chunkSD":1515542149,"rep":5,"renewable":1,"sig":"","smash":""}
`
	docJoined = `{"chunkID":"215b892e8f44980fbbbcc3ee8f92ddad558bcfdcc0f89d6d4852aa62e1a63ebb","buyers":["0xcb2fa2c491451cac943bb5a0261eb101cc36a4f8"],"rep":5,"renew":1,"farmers":["0x68988336d54ecd93bd9098607c32497bd7df0015"]}
{"chunkID":"2b3b7615443069fa6886eec0283d23b09b54a906f78df2d1e537db0ebbf148ca","buyers":["0xd80a4004350027f618107fe3240937d54e46c21b"],"rep":5,"renew":1,"farmers":["0x68988336d54ecd93bd9098607c32497bd7df0015"]}
`
	// Erratum: chunk ids of 20 bytes where the logs have 32; "renew" in two of four rows.
	docRows = `{"chunkID":"1d4b6e4aa86d48c464c9adf83940d4e00df8affc","buyers":["0xcb2fa2c491451cac943bb5a0261eb101cc36a4f8","0xd80a4004350027f618107fe3240937d54e46c21b"],"rep":5,"farmers":["0xf6b55acbbc49f4524aa48d19281a9a77c54de10f","0xfd990c3c42446f6705dd66376bf5820cf2c09527"],"sig":"a1"}
{"chunkID":"4b09668b93c718092a408c4222867968fcd3ad98","buyers":["0xd80a4004350027f618107fe3240937d54e46c21b"],"rep":5,"farmers":["0xf6b55acbbc49f4524aa48d19281a9a77c54de10f"],"sig":"a1"}
{"chunkID":"aeec6f5aca72f3a005af1b3420ab8c8c7009bac8","buyers":["0xcb2fa2c491451cac943bb5a0261eb101cc36a4f8","0xd80a4004350027f618107fe3240937d54e46c21b"],"rep":5,"renew":0,"farmers":["0xf6b55acbbc49f4524aa48d19281a9a77c54de10f","0xfd990c3c42446f6705dd66376bf5820cf2c09527"],"sig":"a1"}
{"chunkID":"d368b1c09e7ddfb6aff24e8e6f181ffeea905d31","buyers":["0xcb2fa2c491451cac943bb5a0261eb101cc36a4f8"],"rep":5,"renew":0,"farmers":["0xf6b55acbbc49f4524aa48d19281a9a77c54de10f"],"sig":"a1"}
`
	idF6 = "0xf6b55acbbc49f4524aa48d19281a9a77c54de10f"
	idFD = "0xfd990c3c42446f6705dd66376bf5820cf2c09527"
	idCB = "0xcb2fa2c491451cac943bb5a0261eb101cc36a4f8"
	idD8 = "0xd80a4004350027f618107fe3240937d54e46c21b"
)

var testBeacon = types.H("staddle/test/beacon")

func beaconParams() Params { return Params{Beacon: testBeacon} }

// filter runs a stage as the shell would: map each input, sort by bytes, reduce.
func filter(t testing.TB, name string, p Params, inputs ...string) (out string, mapped, reduced Counts) {
	t.Helper()
	stage, err := StageByName(name)
	if err != nil {
		t.Fatal(err)
	}
	var facts bytes.Buffer
	for _, in := range inputs {
		c, err := stage.Map(p, strings.NewReader(in), &facts)
		if err != nil {
			t.Fatalf("map %s: %v", name, err)
		}
		mapped.Add(c)
	}
	var rows bytes.Buffer
	if reduced, err = stage.Reduce(p, strings.NewReader(sorted(facts.String())), &rows); err != nil {
		t.Fatalf("reduce %s: %v", name, err)
	}
	return rows.String(), mapped, reduced
}

func sorted(text string) string {
	lines := strings.SplitAfter(text, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "")
}

func rows(t testing.TB, stage string, p Params, inputs ...string) string {
	t.Helper()
	out, mapped, _ := filter(t, stage, p, inputs...)
	if mapped.Bad() > 0 {
		t.Fatalf("stage %s: %s", stage, mapped)
	}
	return out
}

func same(t testing.TB, have, want string) {
	t.Helper()
	if diff := cmp.Diff(want, have); diff != "" {
		t.Fatalf("want -, have +\n%s", diff)
	}
}

const (
	relayA = `{"id":"A","remote":"B","s":1,"receipt":"r1"}` + "\n"
	relayB = `{"id":"B","remote":"A","s":-1,"receipt":"r2"}` + "\n" + `{"id":"B","remote":"C","s":1,"receipt":"r3"}` + "\n"
	relayC = `{"id":"C","remote":"B","s":-1,"receipt":"r4"}` + "\n"
)

func TestA1(t *testing.T) {
	t.Run("letters as in the document", func(t *testing.T) {
		same(t, rows(t, "1b", Params{LegacyIDs: true}, relayA, relayB, relayC), `{"id":"A","b":1}`+"\n"+`{"id":"C","b":-1}`+"\n")
	})
	t.Run("full addresses", func(t *testing.T) {
		long := strings.NewReplacer(`"A"`, `"0x`+strings.Repeat("a", 40)+`"`, `"B"`, `"0x`+strings.Repeat("b", 40)+`"`, `"C"`, `"0x`+strings.Repeat("c", 40)+`"`)
		have := rows(t, "1b", Params{}, long.Replace(relayA), long.Replace(relayB), long.Replace(relayC))
		same(t, have, long.Replace(`{"id":"A","b":1}`+"\n"+`{"id":"C","b":-1}`+"\n"))
	})
	t.Run("letters need the switch", func(t *testing.T) {
		out, mapped, _ := filter(t, "1b", Params{}, relayA, relayB, relayC)
		if out != "" || mapped.Rejected[ErrGrammar] != 4 {
			t.Fatalf("out %q, %s", out, mapped)
		}
	})
}

// Erratum: the document's second file names 0xdf99.. where all else says 0xfd99..,
// and its output names f6.. twice.
func TestA2(t *testing.T) {
	one := `{"id":"` + idF6 + `","remote":"` + idFD + `","s":123456,"receipt":"r1"}` + "\n"
	two := `{"id":"` + idFD + `","remote":"` + idF6 + `","s":-123456,"receipt":"r2"}` + "\n"
	same(t, rows(t, "1b", Params{}, one, two), `{"id":"`+idF6+`","b":123456}`+"\n"+`{"id":"`+idFD+`","b":-123456}`+"\n")
}

// The same pair as printed does not match: no output, two reports.
func TestA3(t *testing.T) {
	const idDF = "0xdf990c3c42446f6705dd66376bf5820cf2c09527"
	one := `{"id":"` + idF6 + `","remote":"` + idFD + `","s":123456,"receipt":"r1"}` + "\n"
	two := `{"id":"` + idDF + `","remote":"` + idF6 + `","s":-123456,"receipt":"r2"}` + "\n"
	var report bytes.Buffer
	same(t, rows(t, "1b", Params{Report: &report}, one, two), "")
	same(t, report.String(), `{"feedback":"failedbandwidthlog","node":"`+idDF+`","peer":"`+idF6+`","receipt":"r2"}
{"feedback":"failedbandwidthlog","node":"`+idF6+`","peer":"`+idFD+`","receipt":"r1"}
`)
}

func TestA4(t *testing.T) { same(t, rows(t, "1j", Params{}, docBuyers, docFarmers), docJoined) }

func TestA5(t *testing.T) {
	var report bytes.Buffer
	p := beaconParams()
	p.Report = &report
	same(t, rows(t, "1s", p, docJoined), `{"id":"0x68988336d54ecd93bd9098607c32497bd7df0015","s":2}
{"id":"`+idCB+`","s":-1}
{"id":"`+idD8+`","s":-1}
`)
	same(t, report.String(), `{"feedback":"underreplication","node":"`+idCB+`","chunkID":"215b892e8f44980fbbbcc3ee8f92ddad558bcfdcc0f89d6d4852aa62e1a63ebb","n":1}
{"feedback":"underreplication","node":"`+idD8+`","chunkID":"2b3b7615443069fa6886eec0283d23b09b54a906f78df2d1e537db0ebbf148ca","n":1}
`)
}

// canonicalRows is docRows without sig and with renew in every row.
func canonicalRows(t testing.TB) string {
	t.Helper()
	g := Grammar{LegacyIDs: true}
	var out []byte
	for _, line := range strings.Split(strings.TrimSuffix(docRows, "\n"), "\n") {
		row, err := ParseJoined([]byte(line), g)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		out = append(row.Append(out, g), '\n')
	}
	return string(out)
}

func TestA6(t *testing.T) {
	g := Grammar{LegacyIDs: true}
	var lines []string
	for _, line := range strings.Split(strings.TrimSuffix(docRows, "\n"), "\n") {
		row, err := ParseJoined([]byte(line), g)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range row.Buyers {
			lines = append(lines, string(Buyer{Buyer: b.Address, Chunk: row.Chunk, Rep: b.Rep}.Append(nil, g)))
		}
		for _, f := range row.Farmers {
			lines = append(lines, string(Farmer{Farmer: f, Chunk: row.Chunk, Rep: 5}.Append(nil, g)))
		}
	}
	want := strings.NewReplacer(`,"sig":"a1"`, "", `"rep":5,"farmers"`, `"rep":5,"renew":0,"farmers"`).Replace(docRows)
	for seed := range uint64(5) {
		r := rand.New(rand.NewPCG(seed, 1))
		r.Shuffle(len(lines), func(i, j int) { lines[i], lines[j] = lines[j], lines[i] })
		same(t, rows(t, "1j", Params{LegacyIDs: true}, strings.Join(lines, "\n")+"\n"), want)
	}
}

// The stage 2 example of the document does not follow from its 1J rows: these
// give the credits below, whatever the beacon.
func TestA7(t *testing.T) {
	for seed := range 5 {
		p := Params{Beacon: types.H("staddle/test/beacon", []byte{byte(seed)}), LegacyIDs: true}
		same(t, rows(t, "1s", p, docRows), `{"id":"`+idCB+`","s":-3}
{"id":"`+idD8+`","s":-3}
{"id":"`+idF6+`","s":4}
{"id":"`+idFD+`","s":2}
`)
		same(t, rows(t, "1s", p, canonicalRows(t)), rows(t, "1s", p, docRows))
	}
}

const docCollation = `{"validatorID":"validator_publickey1","epochtimestamp":12431234,"id":"0xcb2fa2c491451cac943bb5a0261eb101cc36a4f8","s":3,"b":1,"t":400,"sig":"s1"}
{"validatorID":"validator_publickey1","epochtimestamp":12431234,"id":"0xd80a4004350027f618107fe3240937d54e46c21b","s":1,"b":-1,"t":0,"sig":"s2"}
{"validatorID":"validator_publickey1","epochtimestamp":12431234,"id":"0xf6b55acbbc49f4524aa48d19281a9a77c54de10f","s":-2,"b":99,"t":9700,"sig":"s3"}
{"validatorID":"validator_publickey1","epochtimestamp":12431234,"id":"0xfd990c3c42446f6705dd66376bf5820cf2c09527","s":-2,"b":-99,"t":-101000,"sig":"s4"}
`

// Erratum: the fourth t is printed as -101000; with the costs of 100 that the
// first three rows give, it is -10100, and then all sums are zero.
func TestA8(t *testing.T) {
	p := Params{StorageCost: big.NewInt(100), BandwidthCost: big.NewInt(100)}
	in := `{"id":"` + idCB + `","s":3}
{"id":"` + idD8 + `","s":1}
{"id":"` + idF6 + `","s":-2}
{"id":"` + idFD + `","s":-2}
{"id":"` + idCB + `","b":1}
{"id":"` + idD8 + `","b":-1}
{"id":"` + idF6 + `","b":99}
{"id":"` + idFD + `","b":-99}
`
	want := `{"id":"` + idCB + `","s":3,"b":1,"t":400}
{"id":"` + idD8 + `","s":1,"b":-1,"t":0}
{"id":"` + idF6 + `","s":-2,"b":99,"t":9700}
{"id":"` + idFD + `","s":-2,"b":-99,"t":-10100}
`
	same(t, rows(t, "2", p, in), want)
	same(t, rows(t, "2", p, docCollation), want) // s and b of the document's rows
	list, err := ReadRows(strings.NewReader(want), 10, Grammar{})
	if err != nil {
		t.Fatal(err)
	}
	result, _, err := Build(list)
	if err != nil {
		t.Fatal(err)
	}
	if net, _, err := result.Totals(); err != nil || !net.IsZero() || result.Lines() != 4 {
		t.Fatalf("totals %v of %d lines, %v", net, result.Lines(), err)
	}

	p.Export = &Export{ValidatorID: "validator_publickey1", EpochTimestamp: 12431234, Sig: "s1"}
	have := strings.Split(rows(t, "2", p, in), "\n")
	printed := strings.Split(docCollation, "\n")
	same(t, have[0], printed[0])
	same(t, have[3], strings.NewReplacer("-101000", "-10100", `"s4"`, `"s1"`).Replace(printed[3]))
	if row, err := ParseRow([]byte(printed[3]), Grammar{}); err != nil || row.T.String() != "-101000" {
		t.Fatalf("the printed row reads as %v, %v", row, err)
	}
}

func TestA9(t *testing.T) {
	wei := new(big.Int).Exp(big.NewInt(10), big.NewInt(30), nil)
	p := Params{StorageCost: wei, BandwidthCost: big.NewInt(1)}
	in := `{"id":"` + idCB + `","s":3}` + "\n" + `{"id":"` + idCB + `","b":-1}` + "\n"
	same(t, rows(t, "2", p, in), `{"id":"`+idCB+`","s":3,"b":-1,"t":2999999999999999999999999999999}`+"\n")
}

// chain runs all stages over logs and gives the result and its root.
func chain(t testing.TB, p Params, logs []string) (result string, root types.Hash) {
	t.Helper()
	joined, _, _ := filter(t, "1j", p, logs...)
	storage, _, _ := filter(t, "1s", p, joined)
	band, _, _ := filter(t, "1b", p, logs...)
	result, _, _ = filter(t, "2", p, storage, band)
	list, err := ReadRows(strings.NewReader(result), MaxRows, p.grammar())
	if err != nil {
		t.Fatal(err)
	}
	built, nodes, err := Build(list)
	if err != nil {
		t.Fatal(err)
	}
	if net, _, err := built.Totals(); err != nil || !net.IsZero() {
		t.Fatalf("sums %d, %d, %v are not zero: %v", net.S, net.B, net.T, err)
	}
	return result, types.Digest(nodes[0].CID)
}

func TestA10(t *testing.T) {
	p := Params{Beacon: testBeacon, StorageCost: big.NewInt(2_184_533_333), BandwidthCost: big.NewInt(262_144_000_000)}
	lines := Sample(SampleSize{Chunks: 400, Farmers: 40, Buyers: 9, Seed: 3})
	want, root := chain(t, p, []string{strings.Join(lines, "\n") + "\n"})
	if strings.Count(want, "\n") < 40 {
		t.Fatalf("the sample pays too few:\n%s", want)
	}
	r := rand.New(rand.NewPCG(7, 7))
	shuffled := slices.Clone(lines)
	r.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	again := slices.Concat(shuffled, lines[:len(lines)/3])
	half := len(shuffled) / 2
	cases := []struct {
		name string
		logs []string
	}{
		{"permuted", []string{strings.Join(shuffled, "\n") + "\n"}},
		{"duplicated", []string{strings.Join(again, "\n") + "\n"}},
		{"split", []string{strings.Join(shuffled[:half], "\n") + "\n", strings.Join(shuffled[half:], "\n") + "\n"}},
		{"no LF at the end of files", []string{strings.Join(shuffled[:half], "\n"), strings.Join(shuffled[half:], "\n")}},
		{"files glued", []string{strings.Join(shuffled[:half], "\n") + strings.Join(shuffled[half:], "\n")}},
		{"garbage between", []string{strings.Join(shuffled[:half], "\n"), "{}\n\n{\"farmer\":1}\n" + strings.Repeat("x", 5000) + "\n" + strings.Repeat("y", 70000) + "\n", strings.Join(shuffled[half:], "\n")}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			have, hash := chain(t, p, c.logs)
			same(t, have, want)
			if hash != root {
				t.Fatalf("root %s, want %s", hash, root)
			}
		})
	}
	t.Run("one bad line changes only its count", func(t *testing.T) {
		clean, c0, _ := filter(t, "1j", p, docFarmers+docBuyers)
		dirty, c1, _ := filter(t, "1j", p, docFarmers+"{\"farmer\":\"0x\"}\n"+docBuyers)
		same(t, dirty, clean)
		c0.In++
		c0.Rejected[ErrGrammar]++
		if c0 != c1 {
			t.Fatalf("counts %s, want %s", c1, c0)
		}
	})
}

func TestLastKeyIsFlushed(t *testing.T) {
	facts := fmt.Sprintf("%s\ts\t1\n%s\ts\t2\n", idCB, idD8)
	for _, end := range []string{"\n", ""} {
		var out bytes.Buffer
		if _, err := (netStage{}).Reduce(Params{}, strings.NewReader(strings.TrimSuffix(facts, "\n")+end), &out); err != nil {
			t.Fatal(err)
		}
		same(t, out.String(), `{"id":"`+idCB+`","s":1}`+"\n"+`{"id":"`+idD8+`","s":2}`+"\n")
	}
}
