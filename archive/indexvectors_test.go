package archive

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/staddle/staddle/types"
)

// indexVectorFile is spec/vectors/index.json. The digest of piece n is the
// SHA-256 of its number in decimal.
type indexVectorFile struct {
	Comment string
	Index   []indexVector
	UnixFS  []unixfsVector
	Ranges  []rangeVector
}

type indexVector struct {
	Pieces uint32
	Blocks int
	Root   string
}

type unixfsVector struct {
	Pieces, Last int // all pieces but the last have 262,144 bytes
	Blocks       int
	Root         string
}

type rangeVector struct {
	N, Pieces int
	Files     [][2]uint32 // first and last piece of each aligned payload
	Counts    []uint32    // pieces of each range
	FirstID   string
	LastID    string
	Root      string // of the range list
}

const indexVectorPath = "../spec/vectors/index.json"

func (v *indexVector) compute(t *testing.T) {
	t.Helper()
	v.Blocks = 0
	root, err := BuildIndex(v.Pieces, numbered, func(types.Node) error { v.Blocks++; return nil })
	if err != nil {
		t.Fatal(err)
	}
	v.Root = root.String()
}

func (v *unixfsVector) compute(t *testing.T) {
	t.Helper()
	v.Blocks = 0
	u := NewUnixFS(func(types.Node) error { v.Blocks++; return nil })
	for i := 1; i <= v.Pieces; i++ {
		size := types.PieceSize
		if i == v.Pieces {
			size = v.Last
		}
		if err := u.Add(numbered(uint32(i)), size); err != nil {
			t.Fatal(err)
		}
	}
	root, err := u.Root()
	if err != nil {
		t.Fatal(err)
	}
	v.Root = root.String()
}

func (v *rangeVector) compute(t *testing.T) {
	t.Helper()
	r, err := NewRanger(v.N)
	if err != nil {
		t.Fatal(err)
	}
	files := v.Files
	for i := uint32(1); i <= uint32(v.Pieces); i++ {
		if len(files) > 0 && files[0][0] == i {
			r.FileStart(i)
		}
		r.Add(numbered(i))
		if len(files) > 0 && files[0][1] == i {
			r.FileEnd(i)
			files = files[1:]
		}
	}
	list := r.Finish()
	v.Counts = nil
	for _, x := range list {
		v.Counts = append(v.Counts, x.Count)
	}
	v.FirstID, v.LastID = list[0].ID.String(), list[len(list)-1].ID.String()
	root, _ := types.RangeBlocks(list)
	v.Root = root.String()
}

func (f *indexVectorFile) compute(t *testing.T) {
	t.Helper()
	for i := range f.Index {
		f.Index[i].compute(t)
	}
	for i := range f.UnixFS {
		f.UnixFS[i].compute(t)
	}
	for i := range f.Ranges {
		f.Ranges[i].compute(t)
	}
}

// TestIndexVectors holds the roots to the values in spec/vectors.
func TestIndexVectors(t *testing.T) {
	if *update {
		writeIndexVectors(t)
	}
	read := func() (f indexVectorFile) {
		b, err := os.ReadFile(indexVectorPath)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, &f); err != nil {
			t.Fatal(err)
		}
		return f
	}
	want, got := read(), read()
	got.compute(t)
	if diff := cmp.Diff(want, got); diff != "" || len(want.Index)+len(want.UnixFS)+len(want.Ranges) < 12 {
		t.Errorf("the format changed (-vector +now)\n%s", diff)
	}
}

func writeIndexVectors(t *testing.T) {
	t.Helper()
	f := indexVectorFile{
		Comment: "The digest of piece n is SHA-256 of n in decimal. See spec/index.md.",
		Index:   []indexVector{{Pieces: 1}, {Pieces: 3}, {Pieces: 100}, {Pieces: 1000}},
		UnixFS: []unixfsVector{
			{Pieces: 1, Last: 5},
			{Pieces: 2, Last: types.PieceSize},
			{Pieces: 174, Last: 1},
			{Pieces: 175, Last: 1},
			{Pieces: 1000, Last: 1000},
			{Pieces: 174*174 + 1, Last: types.PieceSize},
		},
		Ranges: []rangeVector{
			{N: 16, Pieces: 1},
			{N: 16, Pieces: 100},
			{N: 256, Pieces: 1000},
			{N: 16, Pieces: 100, Files: [][2]uint32{{10, 24}, {25, 40}, {50, 90}}},
			{N: 256, Pieces: 1500, Files: [][2]uint32{{2, 600}, {601, 1000}, {1100, 1200}}},
		},
	}
	f.compute(t)
	b, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(indexVectorPath, append(b, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}
