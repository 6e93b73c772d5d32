package draw

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/staddle/staddle/types"
)

var update = flag.Bool("update", false, "write the vectors of the spec anew")

const vectorFile = "../spec/vectors/draw.json"

type vectors struct {
	VRF     []vrfVector       `json:"vrf"`
	Hashes  map[string]string `json:"hashes"`
	Log2    map[string]uint64 `json:"log2q32"`
	Hits    []hitVector       `json:"hits"`
	Draws   []drawVector      `json:"draws"`
	Samples []uint64          `json:"samples"`
	Leaves  []rotationVector  `json:"rotation"`
}

type vrfVector struct {
	Seed   string `json:"seed"`
	Key    string `json:"key"`
	Alpha  string `json:"alpha"`
	Proof  string `json:"proof"`
	Output string `json:"output"`
}

type hitVector struct {
	U   uint64 `json:"u"`
	Hit string `json:"hit"`
}

type drawVector struct {
	Dom     string   `json:"dom"`
	Slot    uint32   `json:"slot"`
	Weights []uint64 `json:"weights"`
	Drawn   string   `json:"drawn"`
}

type rotationVector struct {
	Lot    string `json:"lot"`
	Due    uint64 `json:"epoch mod 28"`
	Leaves uint64 `json:"leaves"`
	Leaf   uint64 `json:"leaf"`
}

func build() vectors {
	r, miner := name("staddle/test/beacon"), types.Account(name("staddle/test/miner"))
	chain, host := name("staddle/test/chain"), types.Account(name("staddle/test/hoster"))
	out := Output(bytes.Repeat([]byte{0xab}, OutputSize))
	v := vectors{
		Hashes: map[string]string{
			"alpha of block 258":     hex.EncodeToString(Alpha(r, 258)),
			"next beacon":            Mix(r, out).String(),
			"next gensig":            NextGensig(r, miner, out).String(),
			"epoch beacon":           EpochBeacon(r).String(),
			"seed of contract audit": ContractSeed{chain, r, name("staddle/test/contract"), host}.hash().String(),
		},
		Log2:    map[string]uint64{"1": Log2Q32(1), "3": Log2Q32(3), "18446744073709551615": Log2Q32(1<<64 - 1)},
		Samples: Samples(chain, r, host, 8, 1000003),
	}
	for _, e := range rfc9381 {
		v.VRF = append(v.VRF, vrfVector{e.seed, e.key, e.alpha, e.proof, e.output})
	}
	for _, u := range []uint64{0, 1, 1 << 63, 1<<64 - 1} {
		v.Hits = append(v.Hits, hitVector{u, Hit(types.Hash(append(types.Be64(u), make([]byte, 24)...))).String()})
	}
	weights := []uint64{1, 2, 3, 4, 10, 20, 60}
	for slot, dom := range []string{DomPlace, DomEncode, DomAttest, DomCheck, DomServe, DomJury} {
		a, _ := Pick(dom, r, name("staddle/test/lot"), uint32(slot), candidates(weights))
		v.Draws = append(v.Draws, drawVector{dom, uint32(slot), weights, a.String()})
	}
	for _, s := range []string{"staddle/test/lot", "staddle/test/lot2"} {
		lot := name(s)
		due := types.Epoch(0)
		for !RotationDue(lot, due) {
			due++
		}
		v.Leaves = append(v.Leaves, rotationVector{lot.String(), uint64(due), 65536, RotationLeaf(r, lot, 65536)})
	}
	return v
}

func TestVectors(t *testing.T) {
	got, err := json.MarshalIndent(build(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if got = append(got, '\n'); *update {
		if err := os.WriteFile(vectorFile, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("vectors changed: %s", d)
	}
}
