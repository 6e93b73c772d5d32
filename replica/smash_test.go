package replica

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/staddle/staddle/types"
)

// vectorSeed is the secret of the vectors, by hash rather than by HMAC.
func vectorSeed() (s SmashSeed) {
	master, chunk := name("staddle/test/master"), name("staddle/test/chunk")
	h := types.H("staddle/smash/seed", master[:], chunk[:], types.Be32(5))
	copy(s[:], append(types.Be32(5), h[4:]...))
	return s
}

func TestSmashVectors(t *testing.T) {
	s := vectorSeed()
	ash, err := ASH(noise("staddle/test/piece", types.PieceSize), s)
	if err != nil {
		t.Fatal(err)
	}
	got := []any{s.Index(), s.leaf(), ash.String(), Mask(ash).String()}
	want := []any{
		uint32(5), 39,
		"30ed705a9e37dab152b64bced9b7d2011c720297bc253d872c213ce924a0ffe7",
		"a7efb7dd81b05d5d4bc186d9b53ccb8bc23c88f7a66729686efaa7974fc029c0",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestSmashSeed(t *testing.T) {
	root := name("chunk")
	m := hmac.New(sha256.New, []byte("master"))
	m.Write(append(append([]byte("staddle/smash"), root[:]...), 0, 0, 1, 2))
	want := append([]byte{0, 0, 1, 2}, m.Sum(nil)[4:]...)
	if s := NewSmashSeed([]byte("master"), root, 258); !bytes.Equal(s[:], want) || s.Index() != 258 {
		t.Errorf("seed %x, want %x", s, want)
	}
}

// TestASH compares with the tree built leaf by leaf, for whole and short pieces:
// only the leaf that is asked for changes the answer beyond the root.
func TestASH(t *testing.T) {
	for _, n := range []int{0, 1, 40 * LeafSize, 40*LeafSize + 1, types.PieceSize} {
		piece, s := noise("ash", n), vectorSeed() // asks for leaf 39
		padded := append(bytes.Clone(piece), make([]byte, types.PieceSize-n)...)
		leaves := leafHashes(padded)
		salted := sha256.Sum256(append(bytes.Clone(padded[39*LeafSize:40*LeafSize]), s[:]...))
		chunk, err := ChunkRoot(piece)
		if err != nil || chunk != rfcRoot(leaves) {
			t.Errorf("%d bytes: root %s (%v), want %s", n, chunk, err, rfcRoot(leaves))
		}
		leaves[39] = LeafHash(salted[:])
		if got, err := ASH(piece, s); err != nil || got != rfcRoot(leaves) {
			t.Errorf("%d bytes: answer %s (%v), want %s", n, got, err, rfcRoot(leaves))
		}
	}
	long := make([]byte, types.PieceSize+1)
	for _, err := range []error{
		second(ASH(long, SmashSeed{})), second(ChunkRoot(long)),
		second(NewCounterProof(long, SmashSeed{})), (&Crash{}).Add(long),
	} {
		if !errors.Is(err, ErrInput) {
			t.Errorf("a piece above the limit: %v, want ErrInput", err)
		}
	}
}

func TestCrash(t *testing.T) {
	pieces := [][]byte{noise("a", types.PieceSize), noise("b", types.PieceSize), noise("c", 5000)}
	seed := NewSmashSeed([]byte("master"), name("range"), 2)
	run := func(pieces [][]byte) *Crash {
		c := &Crash{Seed: seed}
		for _, p := range pieces {
			if err := c.Add(p); err != nil {
				t.Fatal(err)
			}
		}
		return c
	}
	c0, err := ASH(pieces[0], seed)
	if err != nil {
		t.Fatal(err)
	}
	s1 := sha256.Sum256(append(c0[:], seed[:]...))
	c1, err := ASH(pieces[1], s1)
	if err != nil {
		t.Fatal(err)
	}
	two := run(pieces[:2])
	if two.Answer() != c1 || !bytes.Equal(two.Trail(), []byte{c0[31], c1[31]}) {
		t.Errorf("answer %s, trail %x, want %s, %x%x", two.Answer(), two.Trail(), c1, c0[31], c1[31])
	}
	good := run(pieces)
	asked := SmashSeed(s1).leaf()
	spoilt := bytes.Clone(pieces[1])
	spoilt[asked*LeafSize+3] ^= 1
	bad := run([][]byte{pieces[0], spoilt, pieces[2]})
	if bad.Answer() == good.Answer() {
		t.Error("a spoilt leaf that is asked for does not show")
	}
	if at := FirstDifference(good.Trail(), bad.Trail()); at != 1 {
		t.Errorf("first difference at piece %d, want 1", at)
	}
	if at := FirstDifference(good.Trail(), run(pieces).Trail()); at != -1 {
		t.Errorf("equal trails differ at %d", at)
	}
	if (&Crash{Seed: seed}).Answer() != (types.Hash{}) {
		t.Error("an answer before the first piece")
	}
}

func TestSmashList(t *testing.T) {
	piece := noise("list", 3000)
	chunk, err := ChunkRoot(piece)
	if err != nil {
		t.Fatal(err)
	}
	masks := make([]types.Hash, 8)
	answers := make([]types.Hash, 8)
	for i := range masks {
		if answers[i], err = ASH(piece, NewSmashSeed([]byte("m"), chunk, uint32(i))); err != nil {
			t.Fatal(err)
		}
		masks[i] = Mask(answers[i])
	}
	list, err := NewSmashList(masks)
	if err != nil {
		t.Fatal(err)
	}
	for i := range masks {
		line, err := list.Smash(NewSmashSeed([]byte("m"), chunk, uint32(i)))
		if err != nil {
			t.Fatal(err)
		}
		var s Smash
		if err := types.Unmarshal(types.Marshal(&line), &s); err != nil {
			t.Fatal(err)
		}
		if size := len(types.Marshal(&line)); size > 512 {
			t.Errorf("a line of %d bytes, want at most 512", size)
		}
		for what, err := range map[string]error{
			"mask": s.CheckMask(list.Root()), "answer": s.CheckAnswer(answers[i]),
		} {
			if err != nil {
				t.Errorf("secret %d: %s: %v", i, what, err)
			}
		}
		wrong := s
		wrong.Mask[0] ^= 1
		for what, err := range map[string]error{
			"other mask": wrong.CheckMask(list.Root()), "other list": s.CheckMask(name("list")),
			"other answer": s.CheckAnswer(name("answer")),
		} {
			if !errors.Is(err, ErrSmash) {
				t.Errorf("secret %d: %s: %v, want ErrSmash", i, what, err)
			}
		}
		counter(t, piece, chunk, s, answers[i])
	}
	if _, err := list.Smash(NewSmashSeed(nil, chunk, 8)); !errors.Is(err, ErrPath) {
		t.Errorf("secret 8 of 8: %v", err)
	}
	for _, n := range []int{0, 3, 1<<MaxSmashDepth + 1, 1 << (MaxSmashDepth + 1)} {
		if _, err := NewSmashList(make([]types.Hash, n)); !errors.Is(err, ErrInput) {
			t.Errorf("%d masks: %v, want ErrInput", n, err)
		}
	}
}

// counter shows the true answer to a third party that knows only the root.
func counter(t *testing.T, piece []byte, chunk types.Hash, s Smash, answer types.Hash) {
	t.Helper()
	proof, err := NewCounterProof(piece, s.Seed)
	if err != nil {
		t.Fatal(err)
	}
	var c CounterProof
	if err := types.Unmarshal(types.Marshal(&proof), &c); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Answer(chunk, s.Seed); err != nil || got != answer {
		t.Errorf("counter-proof gives %s (%v), want %s", got, err, answer)
	}
	if _, err := c.Answer(name("chunk"), s.Seed); !errors.Is(err, ErrSmash) {
		t.Errorf("counter-proof of another piece: %v", err)
	}
	c.Segment[0] ^= 1
	if _, err := c.Answer(chunk, s.Seed); !errors.Is(err, ErrSmash) {
		t.Errorf("counter-proof with another leaf: %v", err)
	}
	c.Segment = c.Segment[1:]
	if _, err := c.Answer(chunk, s.Seed); !errors.Is(err, ErrSmash) {
		t.Errorf("counter-proof with a short leaf: %v", err)
	}
}

func FuzzSmash(f *testing.F) {
	f.Add(types.Marshal(&Smash{Seed: vectorSeed(), Path: make([]types.Hash, 3)}))
	f.Add(types.Marshal(&CounterProof{Segment: make([]byte, LeafSize), Path: make([]types.Hash, 8)}))
	f.Fuzz(func(t *testing.T, b []byte) {
		roundTrip(t, b, new(Smash))
		roundTrip(t, b, new(CounterProof))
	})
}
