package validate

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/internal/chaintest"
	"github.com/staddle/staddle/lines"
	"github.com/staddle/staddle/types"
)

// coded is a value with both directions of its form.
type coded interface {
	types.Encodable
	types.Decodable
}

// sampleStatement is signed, for a chain of zeros.
func sampleStatement(by int) Statement {
	s := Statement{
		Epoch: 7, Host: chaintest.Account(hostA), Validator: chaintest.Account(by), Drawn: 4, Came: 3,
		Smash: []types.Hash{types.H("staddle/test/chunk")},
	}
	d := s.Digest(types.ChainID{})
	s.Signature = chaintest.Signer(by).Sign(d[:])
	return s
}

func sampleProposal() *Proposal {
	block := types.NodeCID([]byte{0x80})
	return &Proposal{
		Inputs: Inputs{
			Epoch: 7, Height: 70, Block: block,
			Logs:       []Used{{types.Account{1}, types.H("staddle/test/log")}, {types.Account{2}, types.H("staddle/test/log/2")}},
			Statements: []Statement{sampleStatement(validator)},
			Absent:     []types.Hash{types.H("staddle/test/dataset")},
		},
		Result: block, Rows: 4,
	}
}

// samples is one of each record that is stored or sent.
func samples() map[string]coded {
	st := sampleStatement(validator)
	p := sampleProposal()
	signed := &signedProposal{Proposal: *p, Signature: types.Signature{9}}
	return map[string]coded{
		"statement":      &st,
		"inputs":         &p.Inputs,
		"proposal":       p,
		"signed":         signed,
		"bundle":         &signedBundle{Root: types.H("staddle/test/root"), Signature: types.Signature{1}, Bundle: []byte{1, 2}},
		"log":            &Log{Headers: lines.Headers{header()}, Exceptions: []byte{1}, Bandwidth: []byte("a\n"), Receipts: [][]byte{{2}}},
		"request/have":   &request{Op: opHave, Epoch: 7},
		"request/log":    &request{Op: opLog, Epoch: 7, Account: types.Account{1}, Offset: 300},
		"request/check":  &request{Op: opCheck, Proposal: p},
		"request/sign":   &request{Op: opSign, Proposal: p, Signed: []types.Signed{{By: types.Account{3}, Signature: types.Signature{4}}}},
		"request/inputs": &request{Op: opInputs, Epoch: 7},
		"request/late":   &request{Op: opLateInputs, Epoch: 7},
		"request/tell":   &request{Op: opTell, Statement: &st},
		"answer/have":    &having{Logs: p.Inputs.Logs, Statements: p.Inputs.Statements, Signed: signed},
		"answer/nothing": &having{},
		"answer/part":    &part{Total: 5, Bytes: []byte{1, 2}},
		"answer/yes":     &verdict{Signature: types.Signature{5}},
		"answer/no":      &verdict{Refused: "not in the time for it"},
	}
}

func header() types.LogHeader {
	var t lines.Tally
	return t.Header(types.Device{1}, types.LogFarmer, 7)
}

// fresh makes an empty value of the same type.
func fresh(v coded) coded {
	switch v.(type) {
	case *Statement:
		return new(Statement)
	case *Inputs:
		return new(Inputs)
	case *Proposal:
		return new(Proposal)
	case *signedProposal:
		return new(signedProposal)
	case *signedBundle:
		return new(signedBundle)
	case *Log:
		return new(Log)
	case *request:
		return new(request)
	case *having:
		return new(having)
	case *part:
		return new(part)
	}
	return new(verdict)
}

var sameCID = cmp.Comparer(func(a, b cid.Cid) bool { return a.Equals(b) })

func TestRoundTrip(t *testing.T) {
	for name, v := range samples() {
		t.Run(name, func(t *testing.T) {
			raw := types.Marshal(v)
			back := fresh(v)
			if err := types.Unmarshal(raw, back); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(v, back, sameCID, cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
			for n := range raw {
				if err := types.Unmarshal(raw[:n], fresh(v)); err == nil {
					t.Fatalf("the first %d of %d bytes are accepted", n, len(raw))
				}
			}
			if err := types.Unmarshal(append(raw, 0), fresh(v)); err == nil {
				t.Error("a byte behind is accepted")
			}
		})
	}
}

// TestRefused feeds records that are in order byte by byte and not in meaning.
func TestRefused(t *testing.T) {
	st := sampleStatement(validator)
	for name, v := range map[string]coded{
		"nothing drawn":        &Statement{Epoch: 7, Drawn: 0},
		"more came than drawn": &Statement{Epoch: 7, Drawn: 2, Came: 3},
		"five drawn":           &Statement{Epoch: 7, Drawn: 5, Came: 3},
		"chunks twice":         &Statement{Epoch: 7, Drawn: 1, Smash: []types.Hash{{1}, {1}}},
		"five chunks":          &Statement{Epoch: 7, Drawn: 1, Smash: []types.Hash{{1}, {2}, {3}, {4}, {5}}},
		"no block":             &Inputs{Epoch: 7},
		"logs out of order":    &Inputs{Epoch: 7, Block: types.NodeCID(nil), Logs: []Used{{Account: types.Account{2}}, {Account: types.Account{1}}}},
		"log twice":            &Inputs{Epoch: 7, Block: types.NodeCID(nil), Logs: []Used{{Account: types.Account{1}}, {Account: types.Account{1}}}},
		"statement twice":      &Inputs{Epoch: 7, Block: types.NodeCID(nil), Statements: []Statement{st, st}},
		"other epoch":          &Inputs{Epoch: 8, Block: types.NodeCID(nil), Statements: []Statement{st}},
		"datasets descend":     &Inputs{Epoch: 7, Block: types.NodeCID(nil), Absent: []types.Hash{{2}, {1}}},
		"no result":            &Proposal{Inputs: Inputs{Epoch: 7, Block: types.NodeCID(nil)}},
		"unknown operation":    &request{Op: opEnd},
		"part of too much":     &part{Total: MaxLogBytes + 1},
		"long reason":          &verdict{Refused: string(make([]byte, maxReason+1))},
	} {
		t.Run(name, func(t *testing.T) {
			if err := types.Unmarshal(types.Marshal(v), fresh(v)); err == nil {
				t.Error("accepted")
			}
		})
	}
}

// FuzzRecords decodes anything as every record: no panic, memory bounded by the
// input, and what is accepted has one form.
func FuzzRecords(f *testing.F) {
	for _, v := range samples() {
		f.Add(types.Marshal(v))
	}
	f.Add([]byte{0x9a, 0xff, 0xff, 0xff, 0xff})
	kinds := []coded{new(Statement), new(Inputs), new(Proposal), new(signedProposal), new(signedBundle), new(Log), new(request), new(having), new(part), new(verdict)}
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, k := range kinds {
			v := fresh(k)
			if types.Unmarshal(raw, v) == nil && !bytes.Equal(types.Marshal(v), raw) {
				t.Errorf("%T is accepted in another form", v)
			}
		}
	})
}

// TestBoundedMemory decodes short inputs that promise much.
func TestBoundedMemory(t *testing.T) {
	promise := []byte{0x87, 1, 7, 70}
	promise = append(promise, types.Marshal(linked{types.NodeCID(nil)})...)
	promise = append(promise, 0x9a, 0, 1, 0, 0) // 65,536 logs
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 100 {
		if types.Unmarshal(promise, new(Inputs)) == nil {
			t.Fatal("accepted")
		}
	}
	runtime.ReadMemStats(&after)
	if n := (after.TotalAlloc - before.TotalAlloc) / 100; n > 1<<16 {
		t.Errorf("%d bytes allocated for %d", n, len(promise))
	}
}

type linked struct{ c cid.Cid }

func (l linked) EncodeTo(e *types.Encoder) { e.Link(l.c) }

var update = flag.Bool("update", false, "write the vectors anew")

// TestVectors fixes the bytes of every record and what is hashed and drawn.
func TestVectors(t *testing.T) {
	have := map[string]string{}
	for name, v := range samples() {
		have[name] = hex.EncodeToString(types.Marshal(v))
	}
	st := sampleStatement(validator)
	have["digest/statement"] = st.Digest(types.ChainID{}).String()
	have["digest/inputs"] = sampleProposal().Inputs.Root().String()
	have["digest/collation"] = sampleProposal().Collation().Digest(types.ChainID{}).String()
	path := filepath.Join("..", "spec", "vectors", "validate.json")
	if *update {
		raw, err := json.MarshalIndent(have, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, append(raw, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]string
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Error(diff)
	}
}
