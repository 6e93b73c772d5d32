package replica

import (
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/staddle/staddle/types"
)

var update = flag.Bool("update", false, "write the vectors of the spec anew")

// golden compares v with the file of that name among the vectors of the spec.
func golden(t *testing.T, file string, v any) {
	t.Helper()
	got, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	file = "../spec/vectors/" + file
	if got = append(got, '\n'); *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("vectors changed: %s", d)
	}
}

func TestReplicaVectors(t *testing.T) {
	k, piece := key(t), noise("staddle/test/piece", types.PieceSize)
	enc, err := encodedPiece()
	if err != nil {
		t.Fatal(err)
	}
	short, err := rsaChain{}.Encode(testTag, k, piece[:1025])
	if err != nil {
		t.Fatal(err)
	}
	ash, err := ASH(piece, vectorSeed())
	if err != nil {
		t.Fatal(err)
	}
	crash := &Crash{Seed: vectorSeed()}
	for _, p := range [][]byte{piece, piece[:1025]} {
		if err := crash.Add(p); err != nil {
			t.Fatal(err)
		}
	}
	chunk, seed := name("staddle/test/chunk"), vectorSeed()
	derived := NewSmashSeed([]byte("staddle/test/master"), chunk, 5)
	reveal := RevealCommitment(name("staddle/test/job"), types.Account(name("staddle/test/revealer")), k.primes[0].Bytes())
	golden(t, "replica.json", map[string]any{
		"modulus":             hex.EncodeToString(k.Modulus().Bytes()),
		"modulus hash":        k.Modulus().Hash().String(),
		"prime 0":             k.primes[0].Text(16),
		"piece sha256":        sum(piece),
		"tag":                 hex.EncodeToString(newPad(testTag, k.pub.hash).buf[len(padDomain):]),
		"encoded sha256":      sum(enc),
		"encoded root":        PieceRoot(enc).String(),
		"plain root":          PieceRoot(piece).String(),
		"commitment":          Commitment(types.PieceSize, PieceRoot(enc)).String(),
		"short encoded":       hex.EncodeToString(short),
		"short encoded root":  PieceRoot(short).String(),
		"short plain root":    PieceRoot(piece[:1025]).String(),
		"smash seed":          hex.EncodeToString(seed[:]),
		"smash answer":        ash.String(),
		"smash mask":          Mask(ash).String(),
		"smash derived seed":  hex.EncodeToString(derived[:]),
		"crash answer":        crash.Answer().String(),
		"crash trail":         hex.EncodeToString(crash.Trail()),
		"reveal commitment":   reveal.String(),
		"range of two pieces": Root([]types.Hash{PieceRoot(enc), PieceRoot(short)}).String(),
	})
}

func TestAuditVectors(t *testing.T) {
	h := newHoard(t, newLot(t, "one", 257), newLot(t, "two", 3, 1, 5), newLot(t, "three", 1))
	q := &Question{Claims: h.claims.Root(), Lots: 3, Samples: []uint64{0, 5, 266}, Turns: []Turn{{h.ids[0], 0}}}
	b := h.bundle(t, q)
	b.Proofs[1] = nil
	var lots []map[string]any
	for _, id := range h.ids {
		root := h.lots[id].tree.Root()
		var entries []string
		for _, n := range h.lots[id].entries {
			entries = append(entries, hex.EncodeToString(types.Marshal(n)))
		}
		lots = append(lots, map[string]any{
			"lot": id.String(), "entries": entries, "leaves": root.Leaves, "root": root.Hash.String(),
		})
	}
	report, err := q.Check(b, h)
	if err != nil {
		t.Fatal(err)
	}
	var verdicts []string
	for _, v := range report.Verdicts {
		verdicts = append(verdicts, v.String())
	}
	golden(t, "audit.json", map[string]any{
		"lots":     lots,
		"leaves":   q.Claims.Leaves,
		"sum root": q.Claims.Hash.String(),
		"samples":  q.Samples,
		"turn":     q.Turns[0].Leaf,
		"bundle":   hex.EncodeToString(types.Marshal(b)),
		"root":     b.Root().String(),
		"size":     b.Size(),
		"missed":   b.Missed(),
		"verdicts": verdicts,
	})
}
