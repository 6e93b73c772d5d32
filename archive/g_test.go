package archive

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/flate"
	"pgregory.net/rapid"

	"github.com/staddle/staddle/types"
)

// offsets gives where each payload member of a file begins, from the reader.
func offsets(t *testing.T, tgz []byte, name string) (starts []int64, end int64, stored bool) {
	t.Helper()
	n, err := open(t, tgz).lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range n.chunks {
		starts = append(starts, c.offset)
	}
	return starts, n.end, n.stored
}

func open(t testing.TB, tgz []byte) *Reader {
	t.Helper()
	r, err := Open(bytes.NewReader(tgz), int64(len(tgz)), 0)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestG1: the packer is named, and the compressor gives the bytes it gave when
// the packer was made, whatever it compressed before and however it is fed.
func TestG1(t *testing.T) {
	_, sink := pack(t, folder(file{name: "a", data: []byte("x")}), Options{})
	r := open(t, sink.tgz)
	z, err := gzip.NewReader(bytes.NewReader(sink.tgz[r.TOCOffset():]))
	if err != nil {
		t.Fatal(err)
	}
	toc, err := io.ReadAll(z)
	if err != nil || !bytes.Contains(toc, []byte(`"packer":"staddle/tgz/1"`)) {
		t.Fatalf("table of contents names no packer (%v)", err)
	}
	v := vectors(t)
	z1 := newDeflater()
	for _, c := range v.Compressor {
		got, err := appendDeflated(nil, c.input(t), z1)
		if err != nil {
			t.Fatal(err)
		}
		if digest := sha256.Sum256(got); hex.EncodeToString(digest[:]) != c.SHA256 || len(got) != c.Length {
			t.Errorf("%s: %d bytes with digest %x, the packer gave %d with %s", c.Name, len(got), digest, c.Length, c.SHA256)
		}
	}
	t.Run("history and writes do not matter", func(t *testing.T) {
		for _, size := range []int{1, 512, 70_000, DeflatedChunk} {
			data := prose(uint64(size), size)
			fresh, err := appendDeflated(nil, data, newDeflater())
			if err != nil {
				t.Fatal(err)
			}
			used, err := appendDeflated(nil, data, z1)
			if err != nil || !bytes.Equal(fresh, used) {
				t.Errorf("%d bytes: a used compressor gives other bytes (%v)", size, err)
			}
			var out bytes.Buffer
			z1.Reset(&out)
			for rest := data; len(rest) > 0; {
				n := min(len(rest), 1+len(rest)/3)
				if _, err := z1.Write(rest[:n]); err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			if err := z1.Close(); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(out.Bytes(), fresh[gzipHead:len(fresh)-gzipTail]) {
				t.Errorf("%d bytes: short writes give other bytes", size)
			}
		}
	})
}

// TestG2: what is stored is decided by eight samples at fixed offsets.
func TestG2(t *testing.T) {
	half := append(noise(1, 150_000), prose(1, 150_000)...)
	// Compressible but for the eight places that are looked at.
	trap := prose(2, 900_000)
	for k := range 8 {
		copy(trap[k*(len(trap)-4096)/7:], noise(uint64(k), 4096))
	}
	for _, c := range []struct {
		name   string
		data   []byte
		stored bool
	}{
		{"65,535 bytes of noise", noise(1, 65535), false},
		{"65,536 bytes of noise", noise(1, 65536), true},
		{"prose", prose(1, 65536), false},
		{"half noise", half, false},
		{"noise where it is sampled", trap, true},
		{"more than a chunk of noise", noise(3, DeflatedChunk+5), true},
		{"more than a chunk of prose", prose(3, DeflatedChunk+5), false},
	} {
		_, sink := pack(t, folder(file{name: "f", data: c.data}), Options{})
		if _, _, stored := offsets(t, sink.tgz, "f"); stored != c.stored {
			t.Errorf("%s: stored %v, want %v", c.name, stored, c.stored)
		}
	}
	t.Run("threshold", func(t *testing.T) {
		for _, noisy := range []int{0, 20000, 29000, 30000, 30500, 31000, 32000, 32768} {
			data := append(noise(9, noisy), make([]byte, samples*sampleBytes-noisy)...)
			var out bytes.Buffer
			z, _ := flate.NewWriter(&out, 6)
			if _, err := z.Write(data); err != nil {
				t.Fatal(err)
			}
			if err := z.Close(); err != nil {
				t.Fatal(err)
			}
			s := sampler{z: newDeflater()}
			got, err := s.stored(1<<20, func(p []byte, off int64) error {
				k := off * 7 / (1<<20 - 4096)
				if k*(1<<20-4096)/7 != off {
					k++
				}
				copy(p, data[k*4096:])
				return nil
			})
			if want := out.Len() > 30720; err != nil || got != want {
				t.Errorf("samples deflate to %d of 32768: stored %v, want %v (%v)", out.Len(), got, want, err)
			}
		}
	})
}

// TestG3: a full stored member has 64 blocks in exactly 16 pieces.
func TestG3(t *testing.T) {
	data := noise(1, StoredChunk)
	m := AppendStored(nil, data)
	if len(m) != 4_194_304 || StoredMember != 16*types.PieceSize || StoredChunk != 4_193_966 {
		t.Fatalf("full member of %d bytes from %d, want 4194304 from 4193966", len(m), StoredChunk)
	}
	var got []byte
	for block, at := 0, 10; block < 64; block++ {
		size := int(binary.LittleEndian.Uint16(m[at+1:]))
		want, final := 65531, byte(0)
		if block == 63 {
			want, final = 65531-18, 1
		}
		if size != want || m[at] != final || binary.LittleEndian.Uint16(m[at+3:]) != ^uint16(size) {
			t.Fatalf("block %d holds %d bytes with flag %d, want %d with %d", block, size, m[at], want, final)
		}
		got = append(got, m[at+5:at+5+size]...)
		at += 5 + size
	}
	if !bytes.Equal(got, data) {
		t.Error("blocks hold other bytes")
	}
	for _, n := range []int{0, 1, 65531, 65532, StoredChunk - 1} {
		m := AppendStored(nil, data[:n])
		z, err := gzip.NewReader(bytes.NewReader(m))
		if err != nil {
			t.Fatal(err)
		}
		if back, err := io.ReadAll(z); err != nil || !bytes.Equal(back, data[:n]) {
			t.Errorf("%d bytes do not come back: %v", n, err)
		}
		if int64(len(m)) != storedLength(int64(n)) {
			t.Errorf("member of %d bytes takes %d, computed %d", n, len(m), storedLength(int64(n)))
		}
	}
	t.Run("members follow each other", func(t *testing.T) {
		film := noise(2, 3*StoredChunk+StoredChunk-3) // the padding of tar does not fit any more
		_, sink := pack(t, folder(file{name: "film", data: film}), Options{})
		starts, end, _ := offsets(t, sink.tgz, "film")
		want := []int64{starts[0], starts[0] + StoredMember, starts[0] + 2*StoredMember, starts[0] + 3*StoredMember}
		if diff := cmp.Diff(want, starts); diff != "" || end != starts[0]+4*StoredMember {
			t.Errorf("members at %v until %d", starts, end)
		}
		for _, off := range []int64{0, 65530, 65531, StoredChunk - 1, StoredChunk, 2*StoredChunk + 70000} {
			n, _ := open(t, sink.tgz).lookup("film")
			if at, _ := n.storedAt(off); sink.tgz[at] != film[off] {
				t.Errorf("byte %d of the film is not at %d", off, at)
			}
		}
	})
}

// TestG4: payloads of 4 MiB and more begin on a piece boundary, behind padding
// that every gzip reads over.
func TestG4(t *testing.T) {
	_, sink := pack(t, folder(
		file{name: "a", data: prose(1, 100)},
		file{name: "big deflated", data: prose(2, AlignedSize)},
		file{name: "big stored", data: noise(3, AlignedSize)},
		file{name: "small stored", data: noise(4, AlignedSize-1)},
	), Options{})
	for name, aligned := range map[string]bool{"big deflated": true, "big stored": true, "small stored": false, "a": false} {
		starts, _, _ := offsets(t, sink.tgz, name)
		if got := starts[0]%types.PieceSize == 0; got != aligned {
			t.Errorf("payload of %q at %d, aligned %v, want %v", name, starts[0], got, aligned)
		}
		if !bytes.HasPrefix(sink.tgz[starts[0]:], []byte{0x1f, 0x8b}) {
			t.Errorf("payload of %q does not begin with a gzip header", name)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		offset := rapid.Int64Range(0, 1<<30).Draw(t, "offset")
		if rapid.Bool().Draw(t, "near") {
			offset = offset/types.PieceSize*types.PieceSize + types.PieceSize - offset%70000%types.PieceSize
		}
		gap := paddingTo(offset)
		p := appendPadding(nil, gap)
		if int64(len(p)) != gap || (offset+gap)%types.PieceSize != 0 || gap >= types.PieceSize+minPadding {
			t.Fatalf("at %d a gap of %d is padded with %d", offset, gap, len(p))
		}
		if gap == 0 {
			return
		}
		z, err := gzip.NewReader(bytes.NewReader(p))
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, z); n != 0 || err != nil {
			t.Fatalf("padding unpacks to %d bytes: %v", n, err)
		}
	})
}

// TestG5: groups of small files end by the hash of a path or at 8 MiB.
func TestG5(t *testing.T) {
	chosen, other := "", ""
	for i := 0; chosen == "" || other == ""; i++ {
		name := fmt.Sprintf("file-%d", i)
		digest := sha256.Sum256([]byte(name))
		if binary.BigEndian.Uint64(digest[:8])%256 == 0 {
			chosen = name
		} else {
			other = name
		}
	}
	for _, c := range []struct {
		name string
		held int64
		want bool
	}{
		{chosen, 1<<20 - 1, false},
		{chosen, 1 << 20, true},
		{other, 1 << 20, false},
		{other, 8<<20 - 1, false},
		{other, 8 << 20, true},
	} {
		if got := groupEnds(c.held, c.name); got != c.want {
			t.Errorf("group of %d ends before %q: %v, want %v", c.held, c.name, got, c.want)
		}
	}
	t.Run("boundaries", func(t *testing.T) {
		var files []file
		for i := range 2000 {
			files = append(files, file{name: fmt.Sprintf("file-%05d", i), data: noise(uint64(i), 8000)})
		}
		_, sink := packStored(t, folder(files...))
		r := open(t, sink.tgz)
		held, end, cuts := int64(0), int64(0), 0
		for i := range r.nodes {
			n := &r.nodes[i]
			head := n.chunks[0].offset // header member: found by what lies before it
			cut := (end+types.PieceSize-1)/types.PieceSize*types.PieceSize < head && end > 0
			if cut != groupEnds(end-held, n.Name) {
				t.Fatalf("%q: boundary %v with %d bytes held", n.Name, cut, end-held)
			}
			if cut {
				cuts++
				held = (end + types.PieceSize - 1) / types.PieceSize * types.PieceSize
			}
			end = n.end
		}
		if cuts < 2 {
			t.Errorf("%d boundaries, too few to see anything", cuts)
		}
	})
}

// TestG6: pieces are 262,144 bytes, the last shorter, addressed by SHA-256.
func TestG6(t *testing.T) {
	m, sink := mixedSet()
	if types.PieceSize != 262144 || m.Pieces != uint32((len(sink.tgz)+262143)/262144) {
		t.Errorf("%d pieces for %d bytes", m.Pieces, len(sink.tgz))
	}
	for i, got := range sink.pieces {
		start := i * 262144
		part := sink.tgz[start:min(start+262144, len(sink.tgz))]
		if want := sha256.Sum256(part); got != want || PieceLength(uint32(i+1), int64(len(sink.tgz))) != len(part) {
			t.Errorf("piece %d of %d bytes is %s, want %x", i+1, len(part), got, want)
		}
		if c := types.RawCIDOf(got); c.String() != types.RawCID(part).String() || c.Version() != 1 || c.Type() != 0x55 {
			t.Errorf("piece %d has CID %s", i+1, c)
		}
	}
	for _, c := range []struct {
		number uint32
		size   int64
		want   int
	}{{0, 10, 0}, {1, 0, 0}, {1, 1, 1}, {1, 262144, 262144}, {2, 262144, 0}, {2, 262145, 1}} {
		if got := PieceLength(c.number, c.size); got != c.want {
			t.Errorf("piece %d of %d bytes has %d, want %d", c.number, c.size, got, c.want)
		}
	}
}

// span is an aligned payload, in piece numbers.
type span struct{ first, last uint32 }

// cutAgain is rule G7 read from its text: all pieces at hand, cuts before some.
func cutAgain(digests []types.Hash, spans []span, n int) (out []types.Range) {
	within, begins := map[uint32]bool{}, map[uint32]bool{}
	for _, s := range spans {
		if int(s.last-s.first)+1 < n {
			continue
		}
		for p := s.first; p <= s.last; p++ {
			within[p] = true
			begins[p] = begins[p] || (p-s.first)%uint32(n) == 0
		}
		begins[s.last+1] = true
	}
	count := uint32(0)
	for i := range digests {
		number := uint32(i + 1)
		if count++; number == uint32(len(digests)) || begins[number+1] || int(count) == n ||
			!within[number] && int(count) >= n/4 && binary.BigEndian.Uint64(digests[i][:8])%uint64(n/2) == 0 {
			first := number + 1 - count
			out = append(out, types.Range{ID: types.RangeOf(digests[first-1 : number]), First: first, Count: count})
			count = 0
		}
	}
	return out
}

func TestG7(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.SampledFrom([]int{4, 8, 16, 256}).Draw(t, "n")
		r, err := NewRanger(n)
		if err != nil {
			t.Fatal(err)
		}
		var digests []types.Hash
		var spans []span
		add := func() {
			d := types.Hash(sha256.Sum256(binary.BigEndian.AppendUint64(nil, rapid.Uint64().Draw(t, "digest"))))
			digests = append(digests, d)
			r.Add(d)
		}
		for range rapid.IntRange(0, 6).Draw(t, "parts") {
			for range rapid.IntRange(0, 3*min(n, 20)).Draw(t, "plain") {
				add()
			}
			if rapid.Bool().Draw(t, "file") {
				first := uint32(len(digests) + 1)
				size := rapid.IntRange(1, 3*n).Draw(t, "pieces")
				r.FileStart(first)
				early := rapid.Bool().Draw(t, "ends inside its last piece")
				for i := range size {
					if early && i == size-1 {
						r.FileEnd(first + uint32(size) - 1)
					}
					add()
				}
				if !early {
					r.FileEnd(first + uint32(size) - 1)
				}
				spans = append(spans, span{first, first + uint32(size) - 1})
			}
		}
		if diff := cmp.Diff(cutAgain(digests, spans, n), r.Finish()); diff != "" {
			t.Fatalf("ranges (-want +got)\n%s", diff)
		}
	})
	t.Run("of a folder", func(t *testing.T) {
		fsys := folder(
			file{name: "a", data: noise(1, 3<<20)},
			file{name: "film", data: noise(2, 9<<20)},
			file{name: "just under", data: prose(3, AlignedSize)},
			file{name: "z", data: noise(4, 3<<20)},
		)
		for _, n := range []int{16, 256} {
			m, sink := pack(t, fsys, Options{RangePieces: n})
			var spans []span
			for _, name := range []string{"film", "just under"} {
				starts, end, _ := offsets(t, sink.tgz, name)
				spans = append(spans, span{uint32(starts[0]/types.PieceSize) + 1, uint32((end-1)/types.PieceSize) + 1})
			}
			if diff := cmp.Diff(cutAgain(sink.pieces, spans, n), m.Ranges); diff != "" {
				t.Errorf("N = %d (-want +got)\n%s", n, diff)
			}
		}
	})
	for _, n := range []int{-1, 1, 2, 3, 12, 512} {
		if _, err := NewRanger(n); err == nil {
			t.Errorf("ranges of %d pieces accepted", n)
		}
	}
}

// TestG8: a range is named by its digests in order; TestG10: others are refused.
func TestG8(t *testing.T) {
	m, sink := pack(t, folder(file{name: "film", data: noise(2, 9<<20)}), Options{RangePieces: 16})
	next := uint32(1)
	for _, r := range m.Ranges {
		part := sink.pieces[r.First-1 : r.First-1+r.Count]
		all := binary.BigEndian.AppendUint32(append([]byte("staddle/range/1"), 0), r.Count)
		for _, d := range part {
			all = append(all, d[:]...)
		}
		if want := types.Hash(sha256.Sum256(all)); r.ID != want || r.First != next {
			t.Errorf("range of %d pieces from %d is %s, want %s from %d", r.Count, r.First, r.ID, want, next)
		}
		next += r.Count
	}
	if next != m.Pieces+1 || len(m.Ranges) < 3 {
		t.Errorf("%d ranges end before piece %d of %d", len(m.Ranges), next, m.Pieces)
	}
}

func TestG10(t *testing.T) {
	m, sink := pack(t, folder(file{name: "film", data: noise(2, 5<<20)}), Options{RangePieces: 16})
	r := m.Ranges[len(m.Ranges)-1]
	part := sink.pieces[r.First-1 : r.First-1+r.Count]
	if err := CheckRange(r, part); err != nil {
		t.Error(err)
	}
	if err := CheckRange(r, part[1:]); err == nil {
		t.Error("a range without its first piece is accepted")
	}
	other := append([]types.Hash(nil), part...)
	other[0][31] ^= 1
	if err := CheckRange(r, other); err == nil {
		t.Error("a range with one bit changed is accepted")
	}
	if len(part) > 1 {
		other[0], other[1] = part[1], part[0]
		if err := CheckRange(r, other); err == nil {
			t.Error("a range in another order is accepted")
		}
	}
}

// TestG9: the manifest holds all that an attachment names.
func TestG9(t *testing.T) {
	m, sink := pack(t, folder(mixed()...), Options{Name: "mixed", RangePieces: 16})
	a := types.Attachment{
		Index: m.Index, UnixFS: m.UnixFS, Pieces: m.Pieces, Size: m.Size, Ranges: m.RangesRoot,
		RangeCount: uint32(len(m.Ranges)), Name: m.Name, MediaTypes: m.MediaTypes, Visibility: types.VisibilityPublic,
	}
	var back types.Attachment
	if err := types.Unmarshal(types.Marshal(&a), &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(a, back, cmp.Comparer(sameCID)); diff != "" {
		t.Errorf("attachment (-want +got)\n%s", diff)
	}
	want := []string{"video/mp4", "text/plain", "image/jpeg", "text/x-shellscript", "application/json"}
	if diff := cmp.Diff(want, m.MediaTypes); diff != "" {
		t.Errorf("media types (-want +got)\n%s", diff)
	}
	var got []types.Range
	for next := m.RangesRoot; next.Defined(); {
		var l types.RangeList
		if err := types.Unmarshal(sink.nodes[next], &l); err != nil {
			t.Fatal(err)
		}
		got, next = append(got, l.Ranges...), l.Next
	}
	if diff := cmp.Diff(m.Ranges, got); diff != "" {
		t.Errorf("range list (-want +got)\n%s", diff)
	}
	for _, o := range []Options{{Name: string(make([]byte, 256))}, {Name: "\xff"}, {Name: "a\x00"}, {RangePieces: 3}} {
		if _, err := Pack(folder(), o, new(memory)); err == nil {
			t.Errorf("options %+v are accepted", o)
		}
	}
}
