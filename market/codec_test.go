package market

import (
	"bytes"
	"encoding/json"
	"flag"
	"math/big"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/staddle/staddle/keys"
	"github.com/staddle/staddle/types"
)

// record is what has a canonical form here.
type record interface {
	types.Encodable
	types.Decodable
}

func samples(t testing.TB) []record {
	p := newPurse(t)
	for _, to := range []byte{4, 2, 3, 2} {
		if _, err := p.Sign(payee(to), uint64(to), enough(100), person(1).Sign); err != nil {
			t.Fatal(err)
		}
	}
	var a Allowance
	for n := byte(1); n < 4; n++ {
		a.Take(&Visitor{Account: account(n), Subnet: string('a' + n%2)}, 5, 1<<30, 86_400_000)
	}
	r := signed(2, 5, wei(9))
	return []record{
		&r, &Evidence{Receipts: []Receipt{r, signed(3, 4, wei(9))}}, p, newPurse(t),
		&Till{Owed: 3, Honoured: 6, Free: 1 << 30}, &Dealing{Received: 2, Mark: 9, Honoured: 1},
		&Budget{Day: 20000, Spent: wei(7)}, &a,
	}
}

// fresh are empty values of every record, by the number that fuzzing uses.
func fresh() []record {
	return []record{new(Receipt), new(Evidence), new(Purse), new(Till), new(Dealing), new(Budget), new(Allowance)}
}

func numberOf(v record) byte {
	switch v.(type) {
	case *Receipt:
		return 0
	case *Evidence:
		return 1
	case *Purse:
		return 2
	case *Till:
		return 3
	case *Dealing:
		return 4
	case *Budget:
		return 5
	}
	return 6
}

// FuzzRecords: what a decoder takes has this one spelling, and costs memory in
// proportion to its bytes.
func FuzzRecords(f *testing.F) {
	for _, v := range samples(f) {
		b := types.Marshal(v)
		f.Add(numberOf(v), b)
		f.Add(numberOf(v), b[:len(b)-1])
		f.Add(numberOf(v), append(bytes.Clone(b), 0))
	}
	f.Fuzz(func(t *testing.T, which byte, b []byte) {
		all := fresh()
		v := all[int(which)%len(all)]
		if types.Unmarshal(b, v) != nil {
			return
		}
		if again := types.Marshal(v); !bytes.Equal(again, b) {
			t.Errorf("%T: %x became %x", v, b, again)
		}
	})
}

func TestRecordsRoundTrip(t *testing.T) {
	for _, v := range samples(t) {
		b := types.Marshal(v)
		back := fresh()[numberOf(v)]
		if err := types.Unmarshal(b, back); err != nil {
			t.Fatalf("%T: %v", v, err)
		}
		if !bytes.Equal(types.Marshal(back), b) {
			t.Errorf("%T changed on the way", v)
		}
		for i := range b {
			if types.Unmarshal(b[:i], back) == nil {
				t.Errorf("%T cut at byte %d was taken", v, i)
			}
		}
	}
	r := signed(2, MaxUnits, new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 256), big.NewInt(1)))
	if n := len(types.Marshal(&r)); n > MaxReceipt {
		t.Errorf("largest receipt has %d bytes, limit %d", n, MaxReceipt)
	}
}

func TestRecordsRefused(t *testing.T) {
	zero := signed(2, 0, wei(1))
	other := newPurse(t)
	other.Total = wei(1)
	unordered := newPurse(t)
	unordered.paid = []Paid{{Payee: types.Account{2}, Units: 1, Total: wei(1)}, {Payee: types.Account{1}, Units: 1, Total: wei(2)}}
	unordered.Total = wei(2)
	free := newPurse(t)
	free.Cost = new(big.Int)
	for name, v := range map[string]record{
		"receipt of nothing":        &zero,
		"evidence of nothing":       &Evidence{},
		"purse with another total":  other,
		"purse without order":       unordered,
		"purse without a price":     free,
		"dealing above its mark":    &Dealing{Received: 2, Mark: 1},
		"till with a large window":  &Till{Honoured: 7},
		"too much evidence":         &Evidence{Receipts: make([]Receipt, MaxEvidence+1)},
		"dealing with large window": &Dealing{Honoured: 7},
	} {
		if err := types.Unmarshal(types.Marshal(v), fresh()[numberOf(v)]); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

// TestDecodersAllocateLittle: heads that promise much give an error before
// memory is taken.
func TestDecodersAllocateLittle(t *testing.T) {
	for i, v := range fresh() {
		huge := []byte{0x80 | byte([]int{8, 1, 6, 3, 3, 2, 4}[i]), 0x9a, 0xff, 0xff, 0xff, 0xff, 0}
		if types.Unmarshal(huge, v) == nil {
			t.Errorf("%T: a huge length was taken", v)
		}
	}
	// A purse may claim at most one payee for each byte that follows.
	var e types.Encoder
	p := newPurse(t)
	p.EncodeTo(&e)
	head := e.Data()[:len(e.Data())-1]
	input := append(append(bytes.Clone(head), 0x99, 0x10, 0x00), make([]byte, 4096)...)
	allocated := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			if types.Unmarshal(input, new(Purse)) == nil {
				b.Fatal("zeros were taken for payees")
			}
		}
	}).AllocedBytesPerOp()
	if allocated > 1<<20 {
		t.Errorf("%d bytes for an input of %d", allocated, len(input))
	}
}

var update = flag.Bool("update", false, "write the vectors of the spec anew")

const vectorFile = "../spec/vectors/receipt.json"

type receiptVector struct {
	Seed      string // of the payer
	Chain     string
	Payee     string
	Device    string
	Epoch     uint64
	Units     uint64
	Total     string // wei, decimal
	Signed    string
	Digest    string
	Signature string
	Record    string
	Hash      string // in bandwidth logs
}

type vectors struct {
	UnitCost string          `json:"wei_a_unit"`
	Receipts []receiptVector `json:"receipts"`
	// Contradictions are sets of [payee, units, total in units] by one payer.
	Contradictions []contradictionVector `json:"contradictions"`
}

type contradictionVector struct {
	Receipts    [][3]uint64 `json:"receipts"`
	Contradicts bool        `json:"contradicts"`
}

func build() vectors {
	v := vectors{UnitCost: cost.String()}
	seed := [32]byte{1}
	for _, c := range []struct {
		to    byte
		units uint64
		total *big.Int
	}{{2, 1, wei(1)}, {3, 24, wei(1000)}, {4, MaxUnits, times(1<<62, wei(1<<60))}} {
		r := signed(c.to, c.units, c.total)
		digest := r.digest()
		v.Receipts = append(v.Receipts, receiptVector{
			Seed: hexOf(seed[:]), Chain: r.Chain.String(), Payee: r.Payee.String(), Device: r.Device.String(),
			Epoch: uint64(r.Epoch), Units: r.Units, Total: r.Total.String(), Signed: hexOf(r.Signed()),
			Digest: digest.String(), Signature: hexOf(r.Signature[:]), Record: hexOf(types.Marshal(&r)), Hash: r.Hash().String(),
		})
	}
	for _, set := range [][][3]uint64{
		{{2, 5, 5}, {3, 4, 9}},
		{{2, 5, 5}, {3, 4, 8}},
		{{2, 5, 9}, {3, 4, 9}},
		{{2, 5, 5}, {2, 5, 5}},
		{{2, 5, 9}, {2, 8, 11}},
		{{2, 5, 5}, {2, 4, 7}},
		{{2, 5, 8}, {3, 5, 10}, {4, 5, 12}},
	} {
		var rs []Receipt
		for _, r := range set {
			rs = append(rs, signed(byte(r[0]), r[1], wei(r[2])))
		}
		v.Contradictions = append(v.Contradictions, contradictionVector{Receipts: set, Contradicts: Contradict(cost, rs...)})
	}
	return v
}

func TestVectors(t *testing.T) {
	got := build()
	if *update {
		b, err := json.MarshalIndent(got, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(vectorFile, append(b, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	var want vectors
	if err := json.Unmarshal(b, &want); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for _, v := range want.Receipts {
		var r Receipt
		if err := types.Unmarshal(bytesOf(t, v.Record), &r); err != nil {
			t.Fatal(err)
		}
		if err := r.Check(keys.Verify); err != nil {
			t.Error(err)
		}
		if r.Hash().String() != v.Hash || r.Total.String() != v.Total {
			t.Errorf("receipt reads as %+v", r)
		}
	}
}
