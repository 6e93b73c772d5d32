package archive

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/staddle/staddle/types"
)

// TestStoredInPlace: a member whose bytes are read where they stay is what
// AppendStored makes of them, also when the file has become shorter since it was
// planned, and the digests of its pieces are right.
func TestStoredInPlace(t *testing.T) {
	data := noise(3, 2*StoredChunk+70000)
	for _, length := range []int{len(data), len(data) - 1, StoredChunk + storedBlock, StoredChunk, 100, 0} {
		t.Run(fmt.Sprint(length), func(t *testing.T) {
			p, err := NewPlanner(folder(file{name: "film", data: data}), Options{})
			if err != nil {
				t.Fatal(err)
			}
			c := NewCompressor(folder(file{name: "film", data: data[:length]}))
			for {
				m, err := p.Next()
				if err != nil {
					break
				}
				got, err := c.Compress([]byte("before"), m)
				if err != nil {
					t.Fatal(err)
				}
				if !m.Header {
					checkStored(t, m, got, append(bytes.Clone(data[:length]), make([]byte, len(data)+tarBlock-length)...), length)
				}
			}
		})
	}
}

func checkStored(t *testing.T, m Member, got Packed, padded []byte, length int) {
	t.Helper()
	payload := padded[m.Offset:][:m.Size]
	want := Packed{
		Bytes:   AppendStored([]byte("before"), append(bytes.Clone(payload), make([]byte, m.Pad)...)),
		Digest:  PieceDigest(payload),
		Changed: m.Size > 0 && int64(length) < m.Offset+m.Size,
	}
	for b := want.Bytes[len("before"):]; len(b) >= types.PieceSize; b = b[types.PieceSize:] {
		want.pieces = append(want.pieces, PieceDigest(b[:types.PieceSize]))
	}
	if !bytes.Equal(got.Bytes, want.Bytes) {
		t.Fatalf("member at %d of %d bytes differs from that of %d", m.Offset, len(got.Bytes), len(want.Bytes))
	}
	got.Bytes, want.Bytes = nil, nil
	if d := cmp.Diff(want, got, cmp.AllowUnexported(Packed{})); d != "" {
		t.Fatalf("member at %d: %s", m.Offset, d)
	}
}

// TestRuns: where a run is said to be, the bytes of the file are, and all bytes
// of stored files are in runs.
func TestRuns(t *testing.T) {
	files := map[string][]byte{
		"film": noise(1, StoredChunk+3*storedBlock+7), "photo": noise(2, 3<<20), "song": noise(3, storedFrom),
		"text": prose(4, 2<<20), "tiny": noise(5, 100),
	}
	var list []file
	for name, data := range files {
		list = append(list, file{name: name, data: data})
	}
	var runs []Run
	_, sink := pack(t, folder(list...), Options{Runs: func(r Run) { runs = append(runs, r) }})
	covered, last := map[string]int64{}, int64(0)
	for _, r := range runs {
		want := files[r.File.Name][r.Offset:][:r.Size]
		if r.At < last || !bytes.Equal(sink.tgz[r.At:][:r.Size], want) {
			t.Fatalf("%q: %d bytes from %d do not stand at %d", r.File.Name, r.Size, r.Offset, r.At)
		}
		last = r.At + r.Size
		covered[r.File.Name] += r.Size
	}
	want := map[string]int64{"film": StoredChunk + 3*storedBlock + 7, "photo": 3 << 20, "song": storedFrom}
	if d := cmp.Diff(want, covered); d != "" {
		t.Fatal(d)
	}
}
