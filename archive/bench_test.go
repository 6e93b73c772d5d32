package archive

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/staddle/staddle/types"
)

// discard is a Sink that keeps nothing.
type discard struct{}

func (discard) Piece(uint32, types.Hash, []byte) error { return nil }
func (discard) Node(types.Node) error                  { return nil }

func benchPack(b *testing.B, files ...file) {
	fsys, size := folder(files...), int64(0)
	for _, f := range files {
		size += int64(len(f.data))
	}
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Pack(fsys, Options{}, discard{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPackStored(b *testing.B) { benchPack(b, file{name: "film", data: noise(1, 64<<20)}) }

func BenchmarkPackDeflated(b *testing.B) { benchPack(b, file{name: "text", data: prose(1, 16<<20)}) }

func BenchmarkPackSmall(b *testing.B) {
	var files []file
	for i := range 2000 {
		files = append(files, file{name: fmt.Sprintf("d%02d/f%05d", i/100, i), data: prose(uint64(i), 10<<10)})
	}
	benchPack(b, files...)
}

func BenchmarkOpen(b *testing.B) {
	var files []file
	for i := range 20000 {
		files = append(files, file{name: fmt.Sprintf("d%02d/f%05d", i/100, i), data: []byte("x")})
	}
	_, sink := pack(b, folder(files...), Options{})
	b.ReportAllocs()
	for b.Loop() {
		if r := open(b, sink.tgz); r.Len() != 20200 {
			b.Fatal(r.Len())
		}
	}
}

func BenchmarkReadStored(b *testing.B) {
	data := noise(1, 32<<20)
	_, sink := pack(b, folder(file{name: "film", data: data}), Options{})
	f, err := open(b, sink.tgz).Open("film")
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		var w bytes.Buffer
		w.Grow(len(data))
		if _, err := f.WriteTo(&w); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkIndex(b *testing.B) {
	for b.Loop() {
		if _, err := BuildIndex(16384, numbered, discard{}.Node); err != nil {
			b.Fatal(err)
		}
	}
}
