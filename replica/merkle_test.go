package replica

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"errors"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/staddle/staddle/types"
)

func name(s string) types.Hash { return types.H(s) }

// noise is n bytes that follow from a name.
func noise(of string, n int) []byte {
	key := name(of)
	c, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err)
	}
	out := make([]byte, n)
	cipher.NewCTR(c, make([]byte, aes.BlockSize)).XORKeyStream(out, out)
	return out
}

func some(n int) []types.Hash {
	out := make([]types.Hash, n)
	for i := range out {
		out[i] = LeafHash([]byte{byte(i), byte(i >> 8)})
	}
	return out
}

// rfcRoot is the definition of RFC 9162, section 2.1.1, as it stands there.
func rfcRoot(hashes []types.Hash) types.Hash {
	n := len(hashes)
	if n == 0 {
		return sha256.Sum256(nil)
	}
	if n == 1 {
		return hashes[0]
	}
	k := 1
	for 2*k < n {
		k *= 2
	}
	return NodeHash(rfcRoot(hashes[:k]), rfcRoot(hashes[k:]))
}

func TestTreeVectors(t *testing.T) {
	leaves := make([]types.Hash, 7)
	for i := range leaves {
		leaves[i] = LeafHash([]byte{byte(i)})
	}
	got := map[string]string{
		"1": Root(leaves[:1]).String(), "3": Root(leaves[:3]).String(),
		"4": Root(leaves[:4]).String(), "7": Root(leaves).String(),
		"join": NodeHash(Root(leaves[:4]), Root(leaves[4:])).String(),
		"C":    Commitment(7, Root(leaves)).String(),
	}
	want := map[string]string{
		"1":    "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
		"3":    "3b6cccd7e3e023ff393006f030315ee7ad9eb111b022b41fba7e5b7a3973f688",
		"4":    "9bcd51240af4005168f033121ba85be5a6ed4f0e6a5fac262066729b8fbfdecb",
		"7":    "3560191803028444b232018ac047fdb561c09c23a7a6876c85e08b5e4d48e9f3",
		"join": "3560191803028444b232018ac047fdb561c09c23a7a6876c85e08b5e4d48e9f3",
		"C":    "5dd1b918eabb820b7890355b7d69d71a3d0e3193a3ca5eff0c7cea10c74104ec",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestTreeShapeAndPaths(t *testing.T) {
	for n := range 70 {
		hashes := some(n)
		want := rfcRoot(hashes)
		if got := Root(hashes); got != want {
			t.Fatalf("root of %d leaves %s, want %s", n, got, want)
		}
		for i := range hashes {
			path, err := Path(hashes, i)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := Fold(hashes[i], uint64(i), uint64(n), path); err != nil || got != want {
				t.Fatalf("leaf %d of %d leads to %s (%v), want %s", i, n, got, err, want)
			}
		}
	}
}

func TestFoldRefuses(t *testing.T) {
	hashes := some(11)
	root := Root(hashes)
	path, err := Path(hashes, 9)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []struct {
		name     string
		i, count uint64
		path     []types.Hash
	}{
		{"number beyond", 11, 11, path},
		{"empty tree", 0, 0, nil},
		{"short", 9, 11, path[:2]},
		{"long", 9, 11, append(path[:len(path):len(path)], root)},
		{"place with a longer path", 3, 11, path},
	} {
		if _, err := Fold(hashes[9], v.i, v.count, v.path); !errors.Is(err, ErrPath) {
			t.Errorf("%s: %v, want ErrPath", v.name, err)
		}
	}
	if got, err := Fold(hashes[9], 8, 11, path); err != nil || got == root {
		t.Errorf("leaf 9 passes as leaf 8 (%v)", err)
	}
	for _, i := range []int{-1, 11} {
		if _, err := Path(hashes, i); !errors.Is(err, ErrPath) {
			t.Errorf("path of leaf %d: %v, want ErrPath", i, err)
		}
	}
}

func TestStreamEqualsTree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := noise("stream", rapid.IntRange(0, 9000).Draw(t, "bytes"))
		padded := append(append([]byte(nil), data...), make([]byte, PaddedLen(len(data))-len(data))...)
		want := rfcRoot(leafHashes(padded))
		var s Stream
		for rest := data; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "write")
			if k, err := s.Write(rest[:n]); k != n || err != nil {
				t.Fatalf("wrote %d of %d (%v)", k, n, err)
			}
			rest = rest[n:]
			s.Root() // asking on the way changes nothing
		}
		if got := s.Root(); got != want || s.Len() != uint64(len(data)) {
			t.Fatalf("root %s of %d bytes, want %s of %d", got, s.Len(), want, len(data))
		}
		if got := PieceRoot(data); got != want {
			t.Fatalf("piece root %s, want %s", got, want)
		}
	})
}

// allocated is the bytes that f asks of the heap.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestStreamMemory(t *testing.T) {
	buf := noise("memory", 1<<20)
	var s Stream
	got := allocated(func() {
		for range 64 {
			if _, err := s.Write(buf); err != nil {
				t.Fatal(err)
			}
		}
	})
	if got > 64<<10 {
		t.Errorf("hashing 64 MiB took %d bytes of heap, want at most 64 KiB", got)
	}
}

func BenchmarkTree(b *testing.B) {
	buf := noise("bench", 1<<20)
	b.SetBytes(int64(len(buf)))
	for b.Loop() {
		PieceRoot(buf)
	}
}
