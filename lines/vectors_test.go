package lines

import (
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/staddle/staddle/internal/chaintest"
	"github.com/staddle/staddle/settle"
	"github.com/staddle/staddle/types"
)

var update = flag.Bool("update", false, "write the vectors of the spec anew")

const vectorPath = "../spec/vectors/logs.json"

type vectorFile struct {
	Comment    string            `json:"comment"`
	Exceptions []exceptionVector `json:"exceptions"`
	Headers    headersVector     `json:"headers"`
	Receipt    receiptVector     `json:"receipt"`
	Late       lateVector        `json:"late"`
	Feedback   []feedbackVector  `json:"feedback"`
}

// lateVector is receipts of one payer with one lock; those of a case are counted
// by the epoch's result or late.
type lateVector struct {
	Payer string     `json:"payer"`
	Lock  uint64     `json:"lock"`  // base units
	Price string     `json:"price"` // wei a unit
	Cases []lateCase `json:"cases"`
}

type lateCase struct {
	Counted []dealVector `json:"counted"`
	Late    []dealVector `json:"late"`
	Lines   []string     `json:"lines"`
}

type dealVector struct {
	Payee   string `json:"payee"`
	Device  string `json:"device"`
	Units   uint64 `json:"units"`
	Receipt string `json:"receipt"`
}

type exceptionVector struct {
	Entries []entryVector `json:"entries"`
	Block   string        `json:"block"`
	CID     string        `json:"cid"`
}

type entryVector struct {
	Role string `json:"role"`
	Op   string `json:"op"`
	Line string `json:"line"` // of a receipt in hex
}

type headersVector struct {
	Device string   `json:"device"`
	Epoch  uint64   `json:"epoch"`
	Lines  []string `json:"lines"` // of each of the three logs
	List   string   `json:"list"`
	Root   string   `json:"root"`
}

type receiptVector struct {
	Payee   string `json:"payee"`
	Payer   string `json:"payer"`
	Units   uint64 `json:"units"`
	Receipt string `json:"receipt"`
	Lines   string `json:"lines"`
}

type feedbackVector struct {
	Chain     string `json:"chain"`
	Epoch     uint64 `json:"epoch"`
	Seed      string `json:"seed"` // of the validator
	Validator string `json:"validator"`
	Node      string `json:"node"`
	Values    string `json:"values"`
	Digest    string `json:"digest"`
	Path      string `json:"path"`
}

// makeVectors computes the file from fixed inputs.
func makeVectors(t *testing.T) (f vectorFile) {
	t.Helper()
	f.Comment = "Members, chunks and receipts as in the fields. See spec/logs.md."
	for _, list := range [][]Exception{
		{{types.LogFarmer, OpRemove, farmerBytes(1)}},
		{{types.LogFarmer, OpAdd, farmerBytes(2)}, {types.LogBuyer, OpReplace, proven(3, "00ff")}, {types.LogBandwidth, OpReceipt, []byte("receipt")}, {types.LogFarmer, OpRemove, farmerBytes(1)}},
	} {
		x, err := NewExceptions(list)
		if err != nil {
			t.Fatal(err)
		}
		v := exceptionVector{Block: hex.EncodeToString(x.Block().Bytes), CID: x.Block().CID.String()}
		for _, e := range x.List {
			line := string(e.Line)
			if e.Op == OpReceipt {
				line = hex.EncodeToString(e.Line)
			}
			v.Entries = append(v.Entries, entryVector{e.Role.String(), e.Op.String(), line})
		}
		f.Exceptions = append(f.Exceptions, v)
	}
	f.Headers = headerVector(t)
	d := deal(hostA, sponsor, 1, 7)
	payee, payer := d.Pair()
	f.Receipt = receiptVector{
		d.Payee.String(), d.Payer.String(), d.Units, d.Receipt.String(),
		string(payer.Append(append(payee.Append(nil, settle.Grammar{}), '\n'), settle.Grammar{})),
	}
	f.Late = lateVectors(t)
	seed := chaintest.Signer(validator).Seed()
	for _, n := range notices() {
		f.Feedback = append(f.Feedback, feedbackVector{
			Chain: types.ChainID{1}.String(), Epoch: uint64(n.Epoch), Seed: hex.EncodeToString(seed[:]), Validator: n.Validator.String(),
			Node: n.Node.String(), Values: n.Values(), Digest: n.Digest(types.ChainID{1}).String(), Path: n.Path(),
		})
	}
	return f
}

func lateVectors(t *testing.T) lateVector {
	t.Helper()
	s := newScene(t)
	v := lateVector{Payer: chaintest.Account(sponsor).String(), Lock: 262_144, Price: s.Rules().BandwidthCost.String()}
	s.Do(sponsor, types.KindLock, &types.Lock{Epoch: s.e, Amount: types.Amount(v.Lock)})
	s.MineTo(s.Rules().Checkpoint(s.e))
	src := s.source()
	for _, c := range [][2][]Traffic{
		{nil, {deal(hostA, sponsor, 1, 10)}},
		{{deal(hostA, sponsor, 1, 10)}, {deal(hostA, sponsor, 1, 25), deal(hostA, sponsor, 2, 7)}},
		{{deal(hostA, sponsor, 1, 901)}, {deal(hostA, sponsor, 1, 1000), deal(hostB, sponsor, 1, 60)}},
	} {
		var out lateCase
		err := src.Late(c[0], c[1], func(line []byte) error {
			out.Lines = append(out.Lines, string(line))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		out.Counted, out.Late = dealVectors(c[0]), dealVectors(c[1])
		v.Cases = append(v.Cases, out)
	}
	return v
}

func dealVectors(list []Traffic) []dealVector {
	out := make([]dealVector, 0, len(list))
	for _, d := range list {
		out = append(out, dealVector{d.Payee.String(), d.Device.String(), d.Units, d.Receipt.String()})
	}
	return out
}

func headerVector(t *testing.T) (v headersVector) {
	t.Helper()
	texts := [][]byte{farmerBytes(1), proven(2, ""), nil}
	var list Headers
	var before types.Hash
	for k, role := range Roles() {
		var tally Tally
		if texts[k] != nil {
			if err := tally.Add(texts[k]); err != nil {
				t.Fatal(err)
			}
		}
		h := tally.Header(types.Device{9}, role, 7)
		if role == types.LogFarmer {
			h.Leaves = 256
		}
		h.Previous = before
		before = h.ID()
		list = append(list, h)
		v.Lines = append(v.Lines, string(texts[k]))
	}
	root, err := list.Root()
	if err != nil {
		t.Fatal(err)
	}
	v.Device, v.Epoch, v.List, v.Root = types.Device{9}.String(), 7, hex.EncodeToString(types.Marshal(list)), root.String()
	return v
}

// TestVectors: what our code makes is what the file holds, byte for byte, and
// what the file holds is read back.
func TestVectors(t *testing.T) {
	want, err := json.MarshalIndent(makeVectors(t), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	if *update {
		if err := os.WriteFile(vectorPath, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(vectorPath)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != string(want) {
		t.Fatalf("%s differs from what is made", vectorPath)
	}
	var f vectorFile
	if err := json.Unmarshal(have, &f); err != nil {
		t.Fatal(err)
	}
	for _, v := range f.Exceptions {
		b, err := hex.DecodeString(v.Block)
		if err != nil {
			t.Fatal(err)
		}
		x, err := ParseExceptions(types.RawCID(b), b)
		if err != nil || x.Block().CID.String() != v.CID || len(x.List) != len(v.Entries) {
			t.Fatalf("block %s: %v", v.CID, err)
		}
	}
	for _, v := range f.Feedback {
		if n, err := ParseNotice(v.Path); err != nil || n.Values() != v.Values {
			t.Fatalf("path %s: %v", v.Path, err)
		}
	}
}
