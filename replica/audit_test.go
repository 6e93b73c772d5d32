package replica

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/staddle/staddle/draw"
	"github.com/staddle/staddle/types"
)

// lot is what a host keeps of one lot: for each range its slots and its replica
// bytes.
type lot struct {
	entries []Entry
	tree    *SumTree
	slots   []*Slots
	bytes   [][]byte
}

// hoard is a host with everything it keeps.
type hoard struct {
	ids    []types.LotID
	lots   map[types.LotID]*lot
	claims *SumTree
}

// newLot makes a lot whose ranges have so many leaves each.
func newLot(t testing.TB, of string, leaves ...int) *lot {
	t.Helper()
	l := new(lot)
	for r, n := range leaves {
		data := noise(of+string(rune('a'+r)), n*LeafSize)
		pieces := (n + PieceLeaves - 1) / PieceLeaves
		s := newSlots(t, pieces, n-(pieces-1)*PieceLeaves)
		for i := range pieces {
			if err := s.Put(i, PieceRoot(pieceOf(data, i))); err != nil {
				t.Fatal(err)
			}
		}
		root := slotsRoot(t, s)
		l.entries = append(l.entries, Entry{
			Range: name(of + "range"), Encoded: root, Plain: root, Leaves: uint64(n),
		})
		l.slots, l.bytes = append(l.slots, s), append(l.bytes, data)
	}
	var err error
	if l.tree, err = LotTree(l.entries); err != nil {
		t.Fatal(err)
	}
	return l
}

func pieceOf(data []byte, i int) []byte {
	return data[i*types.PieceSize : min((i+1)*types.PieceSize, len(data))]
}

func newHoard(t testing.TB, lots ...*lot) *hoard {
	t.Helper()
	h := &hoard{lots: make(map[types.LotID]*lot)}
	for i, l := range lots {
		id := types.LotOf(name("plan"), 0, uint32(i))
		h.ids, h.lots[id] = append(h.ids, id), l
	}
	slices.SortFunc(h.ids, func(a, b types.LotID) int { return bytes.Compare(a[:], b[:]) })
	claims := make([]Claim, len(h.ids))
	for i, id := range h.ids {
		claims[i] = Claim{id, h.lots[id].tree.Root().Leaves}
	}
	var err error
	if h.claims, err = ClaimTree(claims); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *hoard) Lot(id types.LotID) (LotTerms, bool) {
	l, ok := h.lots[id]
	if !ok {
		return LotTerms{}, false
	}
	return LotTerms{l.tree.Root().Hash, l.tree.Root().Leaves, uint32(len(l.entries))}, true
}

// question asks as the rules do: draw says which leaves, replica what proves them.
func (h *hoard) question(beacon types.Hash, epoch types.Epoch) *Question {
	q := &Question{Claims: h.claims.Root(), Lots: uint64(len(h.ids))}
	q.Samples = draw.Samples(name("chain"), beacon, types.Account{7}, 64, q.Claims.Leaves)
	for _, id := range h.ids {
		if draw.RotationDue(id, epoch) {
			leaves := h.lots[id].tree.Root().Leaves
			q.Turns = append(q.Turns, Turn{id, draw.RotationLeaf(beacon, id, leaves)})
		}
	}
	return q
}

// proof answers one place as an honest host does.
func (h *hoard) proof(t testing.TB, q *Question, place int) *Proof {
	t.Helper()
	p := new(Proof)
	var inside uint64
	if place < len(q.Samples) {
		item, at, err := h.claims.Find(q.Samples[place])
		if err != nil {
			t.Fatal(err)
		}
		claim, err := h.claims.Path(item)
		if err != nil {
			t.Fatal(err)
		}
		p.Lot, p.Claim, inside = h.ids[item], &claim, at
	} else {
		turn := q.Turns[place-len(q.Samples)]
		p.Lot, inside = turn.Lot, turn.Leaf
	}
	h.fill(t, p, inside)
	return p
}

func (h *hoard) fill(t testing.TB, p *Proof, inside uint64) {
	t.Helper()
	l := h.lots[p.Lot]
	r, leaf, err := l.tree.Find(inside)
	if err != nil {
		t.Fatal(err)
	}
	if p.Place, err = l.tree.Path(r); err != nil {
		t.Fatal(err)
	}
	p.Range = l.entries[r]
	if p.Leaf, p.Path, err = l.slots[r].Path(leaf, pieceOf(l.bytes[r], int(leaf/PieceLeaves))); err != nil {
		t.Fatal(err)
	}
	p.Leaf = bytes.Clone(p.Leaf) // tests change it
}

func (h *hoard) bundle(t testing.TB, q *Question) *Bundle {
	t.Helper()
	b := &Bundle{Epoch: 5, Host: types.Account{7}}
	for i := range q.Places() {
		b.Proofs = append(b.Proofs, types.Marshal(h.proof(t, q, i)))
	}
	return b
}

func testHoard(t testing.TB) *hoard {
	lots := []*lot{newLot(t, "one", 257), newLot(t, "two", 3, 1, 600, 5, 2), newLot(t, "three", 1)}
	for i := range 60 {
		lots = append(lots, newLot(t, "small"+string(rune('0'+i)), 1+i%5, 2))
	}
	return newHoard(t, lots...)
}

// TestH6_1 shows honest bundles, and changes one thing at a time in a proof of a
// random leaf over all lots.
func TestH6_1(t *testing.T) {
	h := testHoard(t)
	for epoch := range types.Epoch(28) {
		q := h.question(types.H("beacon", types.Be64(uint64(epoch))), epoch)
		parsed, err := ParseBundle(types.Marshal(h.bundle(t, q)))
		if err != nil {
			t.Fatal(err)
		}
		report, err := q.Check(parsed, h)
		if err != nil || !report.Good() || !report.Honest() || len(report.Verdicts) != q.Places() {
			t.Fatalf("epoch %d: honest bundle judged %v %v (%v)", epoch, report.Verdicts, report.Reasons, err)
		}
	}
	q := h.question(name("beacon"), 1)
	big := slices.IndexFunc(q.Samples, func(v uint64) bool { // a leaf of the lot with five ranges
		item, _, err := h.claims.Find(v)
		return err == nil && len(h.lots[h.ids[item]].entries) == 5
	})
	for what, v := range spoilt(t, h) {
		p := h.proof(t, q, big)
		encoded := v.do(p)
		if encoded == nil {
			encoded = types.Marshal(p)
		}
		if got, err := q.CheckProof(big, encoded, h); got != v.want || (err == nil) != (got == Shown) {
			t.Errorf("%s: %s (%v), want %s", what, got, err, v.want)
		}
	}
}

type spoiling struct {
	do   func(*Proof) []byte // nil: encode what is left
	want Verdict
}

func spoilt(t *testing.T, h *hoard) map[string]spoiling {
	t.Helper()
	edit := func(f func(*Proof)) func(*Proof) []byte {
		return func(p *Proof) []byte { f(p); return nil }
	}
	return map[string]spoiling{
		"nothing changed": {edit(func(*Proof) {}), Shown},
		"empty":           {func(*Proof) []byte { return []byte{} }, Missed},
		"trailing byte":   {func(p *Proof) []byte { return append(types.Marshal(p), 0) }, Malformed},
		"too long":        {func(*Proof) []byte { return make([]byte, MaxProof+1) }, Malformed},
		"half a leaf":     {edit(func(p *Proof) { p.Leaf = p.Leaf[:512] }), Malformed},
		"unknown lot":     {edit(func(p *Proof) { p.Lot[0] ^= 1 }), Unknown},
		"another lot":     {edit(func(p *Proof) { p.Lot = other(h, p.Lot) }), Differs},
		"no claim":        {edit(func(p *Proof) { p.Claim = nil }), Elsewhere},
		"claim number":    {edit(func(p *Proof) { p.Claim.Index += 64 }), Elsewhere},
		"claim sister":    {edit(func(p *Proof) { p.Claim.Sisters[0].Hash[3] ^= 1 }), Elsewhere},
		"claim sum":       {edit(func(p *Proof) { p.Claim.Sisters[1].Leaves++ }), Differs},
		"claim overflow":  {edit(func(p *Proof) { p.Claim.Sisters[1].Leaves = math.MaxUint64 }), Elsewhere},
		"claim short":     {edit(func(p *Proof) { p.Claim.Sisters = p.Claim.Sisters[1:] }), Elsewhere},
		"leaf bit":        {edit(func(p *Proof) { p.Leaf[1000] ^= 1 }), Forged},
		"path bit":        {edit(func(p *Proof) { p.Path[0][0] ^= 1 }), Forged},
		"path long":       {edit(func(p *Proof) { p.Path = append(p.Path, p.Path[0]) }), Forged},
		"path short":      {edit(func(p *Proof) { p.Path = p.Path[1:] }), Forged},
		"encoded root":    {edit(func(p *Proof) { p.Range.Encoded[0] ^= 1 }), Forged},
		"modulus":         {edit(func(p *Proof) { p.Range.Modulus[0] ^= 1 }), Forged},
		"range length":    {edit(func(p *Proof) { p.Range.Leaves++ }), Forged},
		"range place":     {edit(func(p *Proof) { p.Place.Index ^= 1 }), Forged},
		"range sister":    {edit(func(p *Proof) { p.Place.Sisters[0].Leaves++ }), Forged},
		"next leaf": {edit(func(p *Proof) {
			l := h.lots[p.Lot]
			start := uint64(0)
			for r, n := range l.entries {
				if n.Encoded == p.Range.Encoded {
					data := l.bytes[r]
					at := bytes.Index(data, p.Leaf) / LeafSize
					h.fill(t, p, start+(uint64(at)+1)%n.Leaves)
					return
				}
				start += n.Leaves
			}
		}), Forged},
		"leaf of another range": {edit(func(p *Proof) {
			inside := h.lots[p.Lot].entries[0].Leaves // first leaf of the second range
			h.fill(t, p, inside)
		}), Forged},
	}
}

// other is a lot of one leaf, so of another size than any asked for.
func other(h *hoard, not types.LotID) types.LotID {
	for _, id := range h.ids {
		if id != not && h.lots[id].tree.Root().Leaves == 1 {
			return id
		}
	}
	return types.LotID{}
}

// TestH6_1Sums lets a host claim other leaves for a lot than the chain knows, as
// rule H6.3 forbids: it can show no sample of that lot.
func TestH6_1Sums(t *testing.T) {
	h := testHoard(t)
	claims := make([]Claim, len(h.ids))
	for i, id := range h.ids {
		claims[i] = Claim{id, h.lots[id].tree.Root().Leaves}
	}
	claims[4].Leaves++
	var err error
	if h.claims, err = ClaimTree(claims); err != nil {
		t.Fatal(err)
	}
	q := h.question(name("sums"), 0)
	path, err := h.claims.Path(4)
	if err != nil {
		t.Fatal(err)
	}
	if root, _, err := path.Fold(claims[4].Sum(), q.Lots); err != nil || root != q.Claims {
		t.Errorf("the false claim must be provable for a dispute: %v, %v", root, err)
	}
	p := Proof{Lot: h.ids[4], Claim: &path}
	h.fill(t, &p, 0)
	for i := range q.Samples {
		if v, err := q.CheckProof(i, types.Marshal(&p), h); v != Differs {
			t.Fatalf("sample %d: %s (%v), want %s", i, v, err, Differs)
		}
	}
}

// TestH6_1Plain gives a host the tree, the plain bytes and the modulus, but
// neither replica nor trapdoor: none of 1,000 audits is answered.
func TestH6_1Plain(t *testing.T) {
	const leaves = 8
	plainBytes := noise("plain", leaves*LeafSize)
	enc, err := rsaChain{}.Encode(testTag, key(t), plainBytes)
	if err != nil {
		t.Fatal(err)
	}
	s := newSlots(t, 1, leaves)
	if err := s.Put(0, PieceRoot(enc)); err != nil {
		t.Fatal(err)
	}
	entry := Entry{
		Range: testTag.Range, Encoded: slotsRoot(t, s), Plain: PieceRoot(plainBytes),
		Modulus: key(t).Modulus().Hash(), Leaves: leaves,
	}
	tree, err := LotTree([]Entry{entry})
	if err != nil {
		t.Fatal(err)
	}
	h := newHoard(t, &lot{[]Entry{entry}, tree, []*Slots{s}, [][]byte{enc}})
	q := h.question(name("plain"), 0)
	q.Samples = draw.Samples(name("chain"), name("plain"), types.Account{7}, 1000, leaves)
	for i, v := range q.Samples {
		p := h.proof(t, q, i)
		if got, err := q.CheckProof(i, types.Marshal(p), h); got != Shown {
			t.Fatalf("sample %d from the replica: %s (%v)", i, got, err)
		}
		p.Leaf = plainBytes[v*LeafSize : (v+1)*LeafSize]
		if got, _ := q.CheckProof(i, types.Marshal(p), h); got != Forged {
			t.Fatalf("sample %d from plain bytes: %s, want %s", i, got, Forged)
		}
	}
}

// TestH6_2 asks each lot in its turn, once in 28 epochs, and refuses what is not
// the lot or the leaf of the turn.
func TestH6_2(t *testing.T) {
	h := testHoard(t)
	turns := make(map[types.LotID]int)
	for epoch := range types.Epoch(28) {
		q := h.question(name("rotation"), epoch)
		for k, turn := range q.Turns {
			turns[turn.Lot]++
			place := len(q.Samples) + k
			p := h.proof(t, q, place)
			if v, err := q.CheckProof(place, types.Marshal(p), h); v != Shown {
				t.Errorf("turn %d of epoch %d: %s (%v)", k, epoch, v, err)
			}
			if leaves := h.lots[turn.Lot].tree.Root().Leaves; leaves > 1 {
				wrong := *p
				h.fill(t, &wrong, (turn.Leaf+1)%leaves)
				if v, _ := q.CheckProof(place, types.Marshal(&wrong), h); v != Forged {
					t.Errorf("another leaf of the lot: %s, want %s", v, Forged)
				}
			}
			p.Claim = &SumPath{}
			if v, _ := q.CheckProof(place, types.Marshal(p), h); v != Elsewhere {
				t.Errorf("turn with a claim: %s, want %s", v, Elsewhere)
			}
			p.Claim, p.Lot = nil, h.ids[0]
			if turn.Lot == h.ids[0] {
				p.Lot = h.ids[1]
			}
			if v, _ := q.CheckProof(place, types.Marshal(p), h); v != Elsewhere {
				t.Errorf("turn of another lot: %s, want %s", v, Elsewhere)
			}
		}
	}
	for _, id := range h.ids {
		if turns[id] != 1 {
			t.Errorf("lot %s had %d turns in 28 epochs, want 1", id.Short(), turns[id])
		}
	}
}

func TestBundle(t *testing.T) {
	h := testHoard(t)
	q := h.question(name("bundle"), 3)
	b := h.bundle(t, q)
	b.Proofs[2], b.Proofs[9] = nil, nil
	report, err := q.Check(b, h)
	if err != nil || report.Good() || !report.Honest() {
		t.Errorf("a bundle with gaps is not good, but honest: %v (%v)", report.Verdicts, err)
	}
	if d := cmp.Diff([]uint32{2, 9}, b.Missed()); d != "" {
		t.Error(d)
	}
	for i, p := range b.Proofs {
		path, err := b.Path(i)
		if err != nil {
			t.Fatal(err)
		}
		if err := CheckMember(b.Root(), uint32(len(b.Proofs)), uint32(i), p, path); err != nil {
			t.Errorf("proof %d: %v", i, err)
		}
		if err := CheckMember(b.Root(), uint32(len(b.Proofs)), uint32(i), append(p, 0), path); !errors.Is(err, ErrPath) {
			t.Errorf("changed proof %d: %v, want ErrPath", i, err)
		}
	}
	if err := CheckMember(b.Root(), 3, 9, nil, nil); !errors.Is(err, ErrPath) {
		t.Errorf("proof 9 of 3: %v, want ErrPath", err)
	}
	short := &Bundle{Proofs: b.Proofs[:2]}
	if report, err = q.Check(short, h); err != nil || report.Verdicts[0] != Shown || report.Verdicts[2] != Missed {
		t.Errorf("short bundle: %v (%v)", report.Verdicts, err)
	}
	if _, err := q.Check(&Bundle{Proofs: append(b.Proofs, nil)}, h); err == nil {
		t.Error("a bundle longer than the question passes")
	}
	if v, _ := q.CheckProof(q.Places(), b.Proofs[0], h); v != Elsewhere {
		t.Errorf("proof beyond the question: %s", v)
	}
	b.Proofs[0] = []byte{1}
	if report, err = q.Check(b, h); err != nil || report.Honest() {
		t.Errorf("a bundle with a false proof is honest: %v (%v)", report.Verdicts, err)
	}
	if got, want := b.Size(), uint64(len(slices.Concat(b.Proofs...))); got != want {
		t.Errorf("size %d, want %d", got, want)
	}
	if _, err := ParseBundle(make([]byte, MaxBundle+1)); err == nil {
		t.Error("a bundle above the limit is read")
	}
}

// TestG11 binds every field of every range, their order and number, and the sum.
func TestG11(t *testing.T) {
	base := newLot(t, "g11", 4, 1, 9).entries
	root := func(n []Entry) Sum {
		tree, err := LotTree(n)
		if err != nil {
			t.Fatal(err)
		}
		return tree.Root()
	}
	if got := root(base); got.Leaves != 14 {
		t.Errorf("lot of %d leaves, want 14", got.Leaves)
	}
	for what, f := range map[string]func(n []Entry) []Entry{
		"range":   func(n []Entry) []Entry { n[1].Range[0] ^= 1; return n },
		"encoded": func(n []Entry) []Entry { n[1].Encoded[0] ^= 1; return n },
		"plain":   func(n []Entry) []Entry { n[1].Plain[0] ^= 1; return n },
		"modulus": func(n []Entry) []Entry { n[1].Modulus[0] ^= 1; return n },
		"leaves":  func(n []Entry) []Entry { n[1].Leaves, n[0].Leaves = 2, 3; return n },
		"order":   func(n []Entry) []Entry { n[0], n[2] = n[2], n[0]; return n },
		"one off": func(n []Entry) []Entry { return n[:2] },
		"one on":  func(n []Entry) []Entry { return append(n, n[0]) },
	} {
		if root(f(slices.Clone(base))).Hash == root(base).Hash {
			t.Errorf("another %s gives the same root", what)
		}
	}
	for what, n := range map[string][]Entry{
		"none": nil, "65": make([]Entry, 65), "no leaves": {{}},
		"overflow": {{Leaves: math.MaxUint64}, {Leaves: 1}},
	} {
		if _, err := LotTree(n); !errors.Is(err, ErrSum) {
			t.Errorf("%s: %v, want ErrSum", what, err)
		}
	}
}

func TestSumTree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 40).Draw(t, "lots")
		claims := make([]Claim, n)
		for i := range claims {
			claims[i] = Claim{types.Hash{byte(i)}, rapid.Uint64Range(1, 50).Draw(t, "leaves")}
		}
		tree, err := ClaimTree(claims)
		if err != nil {
			t.Fatal(err)
		}
		start := uint64(0)
		for i, c := range claims {
			path, err := tree.Path(i)
			if err != nil {
				t.Fatal(err)
			}
			root, first, err := path.Fold(c.Sum(), uint64(n))
			if err != nil || root != tree.Root() || first != start {
				t.Fatalf("lot %d leads to %v from %d (%v), want %v from %d", i, root, first, err, tree.Root(), start)
			}
			for _, v := range []uint64{start, start + c.Leaves - 1} {
				if item, inside, err := tree.Find(v); err != nil || item != i || inside != v-start {
					t.Fatalf("leaf %d found in lot %d at %d (%v), want lot %d", v, item, inside, err, i)
				}
			}
			start += c.Leaves
		}
		if _, _, err := tree.Find(start); !errors.Is(err, ErrPath) || tree.Root().Leaves != start {
			t.Fatalf("leaf %d of %d: %v", start, tree.Root().Leaves, err)
		}
	})
}

func TestClaimTreeRefuses(t *testing.T) {
	a, b := types.Hash{1}, types.Hash{2}
	for what, claims := range map[string][]Claim{
		"descending": {{b, 1}, {a, 1}},
		"twice":      {{a, 1}, {a, 1}},
		"empty lot":  {{a, 1}, {b, 0}},
		"overflow":   {{a, math.MaxUint64}, {b, 1}},
	} {
		if _, err := ClaimTree(claims); !errors.Is(err, ErrSum) {
			t.Errorf("%s: %v, want ErrSum", what, err)
		}
	}
	none, err := ClaimTree(nil)
	if err != nil || none.Root() != (Sum{}) {
		t.Errorf("no claims: %v (%v)", none.Root(), err)
	}
	if _, err := none.Path(0); !errors.Is(err, ErrPath) {
		t.Errorf("path in no claims: %v", err)
	}
	node := types.H("staddle/sum/1", types.Be64(3), types.Be64(4), a[:], b[:])
	if got, err := sumNode(Sum{3, a}, Sum{4, b}); err != nil || got != (Sum{7, node}) {
		t.Errorf("node %v (%v), want %s", got, err, node)
	}
}

func FuzzProof(f *testing.F) {
	h := newHoard(f, newLot(f, "fuzz", 3, 300), newLot(f, "fuzz2", 2))
	q := h.question(name("fuzz"), 0)
	q.Turns = []Turn{{h.ids[0], 1}}
	for _, i := range []int{0, 1, len(q.Samples)} {
		f.Add(types.Marshal(h.proof(f, q, i)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		roundTrip(t, b, new(Proof))
		for i := range q.Places() {
			v, err := q.CheckProof(i, b, h)
			if (v == Shown) != (err == nil) {
				t.Fatalf("%s with reason %v", v, err)
			}
			if v == Shown && !bytes.Equal(b, types.Marshal(h.proof(t, q, i))) {
				t.Fatalf("place %d has two proofs", i)
			}
		}
	})
}

func FuzzBundle(f *testing.F) {
	f.Add(types.Marshal(&Bundle{Epoch: 9, Proofs: [][]byte{{1, 2}, nil}}))
	f.Add([]byte{0x84, 1, 0, 0x58, 32})
	f.Fuzz(func(t *testing.T, b []byte) { roundTrip(t, b, new(Bundle)) })
}

func FuzzClaimAndEntry(f *testing.F) {
	f.Add(types.Marshal(Claim{types.Hash{1}, 7}))
	f.Add(types.Marshal(Entry{Leaves: 4}))
	f.Add(types.Marshal(SumPath{3, []Sum{{4, types.Hash{5}}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		roundTrip(t, b, new(Claim))
		roundTrip(t, b, new(Entry))
		roundTrip(t, b, new(SumPath))
	})
}

// BenchmarkClaims100k lays 100,000 small lots end to end.
func BenchmarkClaims100k(b *testing.B) {
	claims := make([]Claim, 100_000)
	for i := range claims {
		claims[i] = Claim{types.Hash(append(types.Be32(uint32(i)), make([]byte, 28)...)), 10}
	}
	for b.Loop() {
		if _, err := ClaimTree(claims); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCheck judges 64 samples and 3,571 turns, the rotation of 100,000 lots.
func BenchmarkCheck(b *testing.B) {
	h := testHoard(b)
	q := h.question(name("bench"), 0)
	proofs := h.bundle(b, q).Proofs[:64]
	turn := Turn{h.ids[0], 0}
	p := Proof{Lot: turn.Lot}
	h.fill(b, &p, 0)
	encoded := types.Marshal(&p)
	q.Turns = nil
	for range 3571 {
		q.Turns, proofs = append(q.Turns, turn), append(proofs, encoded)
	}
	bundle := &Bundle{Proofs: proofs}
	for b.Loop() {
		if r, err := q.Check(bundle, h); err != nil || !r.Good() {
			b.Fatal(err, r.Verdicts)
		}
	}
}
