package archive

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/staddle/staddle/types"
)

var update = flag.Bool("update", false, "write the vectors anew (only before a format is released)")

// vectorFile is spec/vectors/tgz.json. Inputs are made from SHA-256 alone, so
// that others can make them.
type vectorFile struct {
	Comment    string
	Compressor []compressorVector
	Dataset    datasetVector
}

type compressorVector struct {
	Name, Make string
	Bytes      int    // of input
	Length     int    // of the gzip member
	SHA256     string // of the gzip member
}

type datasetVector struct {
	Files                            []string
	Empty                            string // SHA-256 of the TGZ of an empty folder
	SHA256                           string // of the TGZ
	Size                             uint64
	Pieces                           uint32
	Index, UnixFS, Ranges, TOCDigest string
	TOCOffset                        int64
	RangePieces, RangeCount          int
	RangeIDs, MediaTypes             []string
	FirstPiece, LastPiece            string
}

const vectorPath = "../spec/vectors/tgz.json"

// stream is SHA-256(seed, be32 0), SHA-256(seed, be32 1), and so on, cut to n bytes.
func stream(seed string, n int) []byte {
	out := make([]byte, 0, n+32)
	for i := uint32(0); len(out) < n; i++ {
		d := sha256.Sum256(append([]byte(seed), types.Be32(i)...))
		out = append(out, d[:]...)
	}
	return out[:n]
}

// hexText is the stream in hexadecimal with a line end after each 64 digits.
func hexText(seed string, n int) []byte {
	raw := stream(seed, n)
	var b strings.Builder
	for len(raw) > 0 && b.Len() < n {
		line := raw[:min(32, len(raw))]
		b.WriteString(hex.EncodeToString(line) + "\n")
		raw = raw[len(line):]
	}
	return []byte(b.String())[:n]
}

// wordText picks words by the low four bits of each byte of the stream.
func wordText(seed string, n int) []byte {
	words := strings.Fields("stone lifts grain off ground where rats and damp do not reach it so all keep")
	var b strings.Builder
	for _, c := range stream(seed, n) {
		if b.Len() >= n {
			break
		}
		b.WriteString(words[c&15])
		b.WriteByte(' ')
	}
	return []byte(b.String())[:n]
}

func makeInput(how string, n int) []byte {
	switch how {
	case "stream":
		return stream("staddle", n)
	case "hex":
		return hexText("staddle", n)
	case "words":
		return wordText("staddle", n)
	}
	return []byte(strings.Repeat("a staddle lifts the granary off the ground\n", n/43+1))[:n]
}

func (c compressorVector) input(t *testing.T) []byte {
	t.Helper()
	return makeInput(c.Make, c.Bytes)
}

func vectorFolder() []file {
	const day = 1_790_000_000
	return []file{
		{name: "README", data: []byte("a staddle lifts the granary\n"), time: day},
		{name: "bin/run", data: []byte("#!/bin/sh\n"), mode: 0o755, time: day + 1},
		{name: "empty", dir: true, mode: 0o700, time: day + 2},
		{name: "film.mp4", data: stream("film", 5_000_000), time: day + 3},
		{name: "link", link: "bin/run", time: day + 4},
		{name: "notes.txt", data: hexText("notes", 1_500_000), time: day + 5},
		{name: "old", data: []byte("1969"), time: -1},
		{name: "photo.jpg", data: stream("photo", 300_000), time: day + 6},
		{name: "日本/" + strings.Repeat("x", 120), data: []byte("long"), time: day + 7},
	}
}

func vectors(t *testing.T) (v vectorFile) {
	t.Helper()
	b, err := os.ReadFile(vectorPath)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func hexSum(b []byte) string {
	d := sha256.Sum256(b)
	return hex.EncodeToString(d[:])
}

func computeDataset(t *testing.T) (d datasetVector) {
	_, empty := pack(t, folder(), Options{})
	m, sink := pack(t, folder(vectorFolder()...), Options{RangePieces: 16})
	for _, f := range vectorFolder() {
		d.Files = append(d.Files, f.name)
	}
	for _, r := range m.Ranges {
		d.RangeIDs = append(d.RangeIDs, r.ID.String())
	}
	d.Empty, d.SHA256, d.Size, d.Pieces = hexSum(empty.tgz), hexSum(sink.tgz), m.Size, m.Pieces
	d.Index, d.UnixFS, d.Ranges = m.Index.String(), m.UnixFS.String(), m.RangesRoot.String()
	d.TOCDigest, d.TOCOffset, d.RangePieces, d.RangeCount = m.TOCDigest.String(), m.TOCOffset, 16, len(m.Ranges)
	d.MediaTypes, d.FirstPiece, d.LastPiece = m.MediaTypes, sink.pieces[0].String(), sink.pieces[len(sink.pieces)-1].String()
	return d
}

// numbered is the digest of the decimal piece number.
func numbered(n uint32) types.Hash { return PieceDigest([]byte(IndexKey(n))) }

// TestVectors holds the format to the bytes in spec/vectors.
func TestVectors(t *testing.T) {
	if *update {
		writeVectors(t)
	}
	if diff := cmp.Diff(vectors(t).Dataset, computeDataset(t)); diff != "" {
		t.Errorf("the format changed (-vector +now)\n%s", diff)
	}
}

func writeVectors(t *testing.T) {
	v := vectorFile{Comment: "Inputs are described in spec/tgz.md, section Vectors."}
	for _, c := range []compressorVector{
		{Name: "nothing", Make: "stream"},
		{Name: "hex text", Make: "hex", Bytes: 100_000},
		{Name: "words", Make: "words", Bytes: DeflatedChunk},
		{Name: "noise", Make: "stream", Bytes: 70_000},
		{Name: "repetition", Make: "repeat", Bytes: DeflatedChunk},
		{Name: "full member of hex text", Make: "hex", Bytes: DeflatedChunk},
	} {
		out, err := appendDeflated(nil, makeInput(c.Make, c.Bytes), newDeflater())
		if err != nil {
			t.Fatal(err)
		}
		c.Length, c.SHA256 = len(out), hexSum(out)
		v.Compressor = append(v.Compressor, c)
	}
	v.Dataset = computeDataset(t)
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(vectorPath), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(vectorPath, append(b, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}
