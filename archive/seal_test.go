package archive

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"os"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/staddle/staddle/types"
)

var updatePrivate = flag.Bool("update-private", false, "write spec/vectors/private.json anew")

var sealKey = [32]byte{1, 2, 3}

// sealFolder packs and seals.
func sealFolder(t testing.TB, fsys fs.FS, o SealOptions) (plain *memory, m, sealed Manifest, out *memory) {
	t.Helper()
	out, plain = new(memory), new(memory)
	s, err := NewSealer(o, out)
	if err != nil {
		t.Fatal(err)
	}
	if m, err = Pack(fsys, Options{Name: "films", RangePieces: o.RangePieces}, both{plain, s}); err != nil {
		t.Fatal(err)
	}
	if sealed, err = s.Finish(m); err != nil {
		t.Fatal(err)
	}
	return plain, m, sealed, out
}

// both gives the same to two sinks.
type both struct{ a, b Sink }

func (b both) Piece(number uint32, digest types.Hash, data []byte) error {
	return errors.Join(b.a.Piece(number, digest, bytes.Clone(data)), b.b.Piece(number, digest, data))
}

func (b both) Node(n types.Node) error { return errors.Join(b.a.Node(n), b.b.Node(n)) }

// piece gives a piece of what a sink keeps.
func (m *memory) piece(number uint32) ([]byte, error) {
	at := int(number-1) * types.PieceSize
	if number == 0 || at >= len(m.tgz) {
		return nil, errors.New("no such piece")
	}
	return m.tgz[at:min(at+types.PieceSize, len(m.tgz))], nil
}

func someBoxes(n int) *Boxes {
	b := &Boxes{Ephemeral: types.H("ephemeral"), Fill: types.H("fill")}
	for i := range n {
		digest := types.H("box", types.Be32(uint32(i)))
		b.Keys = append(b.Keys, [BoxSize]byte(append(digest[:], digest[:16]...)))
	}
	return b
}

var sealFiles = folder(
	file{name: "film.mkv", data: noise(1, 5<<20)}, file{name: "book.txt", data: prose(2, 1<<20)}, file{name: "note", data: []byte("x")})

// TestP1_1 checks keys and nonces against a second spelling of the rule, and that
// what is sealed opens.
func TestP1_1(t *testing.T) {
	plain, m, _, out := sealFolder(t, sealFiles, SealOptions{Key: sealKey, RangePieces: 4})
	u, err := Unseal(sealKey, uint32(len(out.pieces)), out.piece)
	if err != nil {
		t.Fatal(err)
	}
	want := Head{Name: "films", MediaTypes: m.MediaTypes, Size: m.Size, TOCOffset: uint64(m.TOCOffset), TOCDigest: m.TOCDigest}
	if d := cmp.Diff(want, u.Head); d != "" {
		t.Fatal(d)
	}
	_, nonceKey := derivePieceKeys(sealKey)
	for n := uint32(1); n <= u.Plain(); n++ {
		sealed, _ := out.piece(n)
		got, err := u.Open(n, sealed)
		clear, _ := plain.piece(n)
		if err != nil || !bytes.Equal(got, clear) {
			t.Fatalf("piece %d: %v", n, err)
		}
		entry, err := u.entry(n)
		if err != nil {
			t.Fatal(err)
		}
		if mac := hmacOf(nonceKey, append([]byte("piece"), plain.pieces[n-1][:]...)); !bytes.Equal(entry[:24], mac[:24]) {
			t.Fatalf("piece %d has nonce %x, want %x", n, entry[:24], mac[:24])
		}
	}
	r, err := Open(u, int64(u.Size), 0)
	if err != nil || r.TOCDigest() != m.TOCDigest || r.Len() != 3 {
		t.Fatalf("%v, %d entries", err, r.Len())
	}
}

// TestP1_2 checks that sealed pieces have full length, and that no hash, name or
// type of the plain dataset is in anything that leaves.
func TestP1_2(t *testing.T) {
	plain, m, sealed, out := sealFolder(t, sealFiles, SealOptions{Key: sealKey, RangePieces: 4})
	if sealed.Name != "" || sealed.MediaTypes != nil || !sealed.TOCDigest.IsZero() || sealed.TOCOffset != 0 {
		t.Fatalf("the public description says %+v", sealed)
	}
	if len(out.tgz) != len(out.pieces)*types.PieceSize || sealed.Size != uint64(len(out.tgz)) {
		t.Fatalf("%d bytes in %d pieces, described as %d", len(out.tgz), len(out.pieces), sealed.Size)
	}
	secret := [][]byte{[]byte("film"), []byte("video"), m.TOCDigest[:]}
	for _, h := range plain.pieces {
		secret = append(secret, h[:])
	}
	public := slices.Clone(out.tgz)
	for _, b := range out.nodes {
		public = append(public, b...)
	}
	for _, s := range secret {
		if bytes.Contains(public, s) {
			t.Errorf("%x is public", s)
		}
	}
	x, err := OpenIndex(memoryNodes(out.nodes), sealed.Index, sealed.Pieces)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range out.pieces {
		if got, err := x.Piece(uint32(i) + 1); err != nil || got != want {
			t.Fatalf("piece %d: %s, %v", i+1, got, err)
		}
	}
}

// TestP2 checks the number of sealed pieces for many sizes.
func TestP2(t *testing.T) {
	for _, c := range []struct {
		plain               uint32
		boxed               bool
		pages, fillers, all uint64
	}{
		{1, false, 0, 14, 16},
		{1, true, 0, 13, 16},
		{15, false, 0, 0, 16},
		{15, true, 0, 15, 32},
		{14, true, 0, 0, 16},
		{16, false, 0, 15, 32},
		{headEntries, false, 0, 13, 6464},
		{headEntries + 1, false, 1, 11, 6464},
		{headEntries + pageEntries, false, 1, 4, 13008},
		{headEntries + pageEntries + 1, true, 2, 1, 13008},
	} {
		pages, fillers, all := sealedLayout(c.plain, c.boxed)
		if pages != c.pages || fillers != c.fillers || all != c.all || all%16 != 0 {
			t.Errorf("%+v: %d pages, %d fillers, %d in all", c, pages, fillers, all)
		}
	}
	_, _, sealed, _ := sealFolder(t, fstest.MapFS{"a": {Data: []byte("x")}}, SealOptions{Key: sealKey})
	if sealed.Size != 16*types.PieceSize {
		t.Fatalf("a dataset of one byte has %d bytes", sealed.Size)
	}
}

// TestSealVersions checks that versions under one key share pieces, and that other
// keys share none.
func TestSealVersions(t *testing.T) {
	other := folder(
		file{name: "film.mkv", data: noise(1, 5<<20)}, file{name: "book.txt", data: prose(3, 1<<20)}, file{name: "note", data: []byte("y")})
	_, _, first, a := sealFolder(t, sealFiles, SealOptions{Key: sealKey, RangePieces: 4})
	_, _, again, b := sealFolder(t, sealFiles, SealOptions{Key: sealKey, RangePieces: 4})
	_, _, _, c := sealFolder(t, other, SealOptions{Key: sealKey, RangePieces: 4})
	_, _, _, d := sealFolder(t, sealFiles, SealOptions{Key: [32]byte{9}, RangePieces: 4})
	if d := cmp.Diff(first.Index.String(), again.Index.String()); d != "" || !bytes.Equal(a.tgz, b.tgz) {
		t.Fatal("the same folder under the same key is another dataset", d)
	}
	if n := c.newPieces(a); n < 2 || n > 12 {
		t.Errorf("%d new pieces of %d", n, len(c.pieces))
	}
	if n := d.newPieces(a); n != len(d.set()) {
		t.Errorf("%d of %d pieces differ under another key", n, len(d.set()))
	}
	if n := len(a.set()); n != len(a.pieces) {
		t.Errorf("%d different pieces of %d", n, len(a.pieces))
	}
}

// TestSealPages seals more pieces than the head has entries for.
func TestSealPages(t *testing.T) {
	const count = headEntries + pageEntries + 3
	out := &paging{kept: map[uint32][]byte{}}
	s, err := NewSealer(SealOptions{Key: sealKey}, out)
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, types.PieceSize)
	data[len(data)-1] = 1
	for n := uint32(1); n <= count; n++ {
		digest := types.H("piece", types.Be32(n))
		if !edge(n) { // only its place in the index matters
			s.number++
			s.digests.add(digest)
			s.entries.add(digest[:24], digest[:16])
			continue
		}
		copy(data, types.Be32(n))
		if err := s.Piece(n, digest, data); err != nil {
			t.Fatal(err)
		}
	}
	m, err := s.Finish(Manifest{Pieces: count, Size: count*types.PieceSize - 7, Name: "big"})
	if err != nil {
		t.Fatal(err)
	}
	u, err := Unseal(sealKey, m.Pieces, func(n uint32) ([]byte, error) { return out.kept[n], nil })
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []uint32{1, headEntries, headEntries + 1, headEntries + pageEntries, headEntries + pageEntries + 1} {
		plain, err := u.Open(n, out.kept[n])
		if err != nil || !bytes.Equal(plain[:4], types.Be32(n)) {
			t.Errorf("piece %d: %v", n, err)
		}
	}
	if _, err := u.Open(count, out.kept[count]); err == nil {
		t.Error("a last piece with seven bytes too many was opened")
	}
	if _, err := u.Open(2, out.kept[1]); !errors.Is(err, ErrKey) {
		t.Errorf("a piece in the place of another: %v", err)
	}
}

// paging keeps a few pieces at the edges.
type paging struct{ kept map[uint32][]byte }

func (p *paging) Piece(number uint32, _ types.Hash, data []byte) error {
	if edge(number) {
		p.kept[number] = bytes.Clone(data)
	}
	return nil
}

func edge(number uint32) bool {
	return number < 3 || number >= headEntries && number < headEntries+2 || number >= headEntries+pageEntries
}

func (p *paging) Node(types.Node) error { return nil }

func TestBoxes(t *testing.T) {
	_, _, _, out := sealFolder(t, fstest.MapFS{"a": {Data: []byte("x")}}, SealOptions{Key: sealKey, Boxes: someBoxes(3)})
	u, err := Unseal(sealKey, 16, out.piece)
	if err != nil || !u.Boxed {
		t.Fatal(u, err)
	}
	piece, _ := out.piece(15)
	ephemeral, places, err := ParseBoxes(piece)
	want := someBoxes(3)
	if err != nil || ephemeral != want.Ephemeral || len(places) != MaxBoxes*BoxSize {
		t.Fatal(err, len(places))
	}
	for i, k := range want.Keys {
		if !bytes.Equal(places[i*BoxSize:][:BoxSize], k[:]) {
			t.Errorf("box %d is %x", i, places[i*BoxSize:][:BoxSize])
		}
	}
	if zero(places[3*BoxSize:][:BoxSize]) || zero(piece[types.PieceSize-boxesFill:]) {
		t.Error("places that are left tell how many members there are")
	}
	if _, _, err := ParseBoxes(piece[1:]); err == nil {
		t.Error("a short piece of boxes was read")
	}
	for _, n := range []int{0, MaxBoxes + 1} {
		if _, err := someBoxes(n).piece(); err == nil {
			t.Errorf("%d boxes were written", n)
		}
	}
	if b, err := someBoxes(MaxBoxes).piece(); err != nil || len(b) != types.PieceSize {
		t.Errorf("%d boxes: %d bytes, %v", MaxBoxes, len(b), err)
	}
}

func TestUnsealRefuses(t *testing.T) {
	_, _, _, out := sealFolder(t, sealFiles, SealOptions{Key: sealKey, RangePieces: 4})
	all := uint32(len(out.pieces))
	for name, c := range map[string]struct {
		key    [32]byte
		pieces uint32
		source func(uint32) ([]byte, error)
		is     error
	}{
		"another key":   {[32]byte{7}, all, out.piece, ErrKey},
		"a flipped bit": {sealKey, all, flipped(out), ErrKey},
		"too few":       {sealKey, all - 16, out.piece, ErrKey},
		"no multiple":   {sealKey, all - 1, out.piece, nil},
		"none":          {sealKey, 0, out.piece, nil},
		"short head":    {sealKey, all, func(uint32) ([]byte, error) { return make([]byte, 100), nil }, nil},
		"gone":          {sealKey, all, func(uint32) ([]byte, error) { return nil, fs.ErrNotExist }, fs.ErrNotExist},
		"head moved":    {sealKey, all + 16, func(uint32) ([]byte, error) { return out.piece(all) }, nil},
	} {
		u, err := Unseal(c.key, c.pieces, c.source)
		if err == nil || u != nil || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: %v", name, err)
		}
	}
	s, err := NewSealer(SealOptions{Key: sealKey}, new(memory))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Piece(2, types.Hash{}, nil); err == nil {
		t.Error("piece 2 was sealed first")
	}
	if _, err := s.Finish(Manifest{}); err == nil {
		t.Error("a dataset of nothing was sealed")
	}
	if _, err := NewSealer(SealOptions{RangePieces: 3}, new(memory)); err == nil {
		t.Error("ranges of 3 pieces")
	}
}

func flipped(m *memory) func(uint32) ([]byte, error) {
	return func(n uint32) ([]byte, error) {
		b, err := m.piece(n)
		b = bytes.Clone(b)
		b[1000] ^= 1
		return b, err
	}
}

func TestReadSealedAtRandom(t *testing.T) {
	plain, _, _, out := sealFolder(t, sealFiles, SealOptions{Key: sealKey, RangePieces: 4})
	u, err := Unseal(sealKey, uint32(len(out.pieces)), out.piece)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		off := rapid.IntRange(0, len(plain.tgz)).Draw(t, "offset")
		buf := make([]byte, rapid.IntRange(0, 600_000).Draw(t, "length"))
		n, err := u.ReadAt(buf, int64(off))
		want := plain.tgz[off:min(off+len(buf), len(plain.tgz))]
		if !bytes.Equal(buf[:n], want) || (err == nil) != (n == len(buf)) {
			t.Fatalf("%d bytes at %d, %v", n, off, err)
		}
	})
}

func FuzzHead(f *testing.F) {
	for _, h := range []Head{{Size: FooterSize}, {Name: "films", MediaTypes: []string{"video/mp4"}, Size: 1 << 30, TOCOffset: 77, Boxed: true}} {
		b := make([]byte, ownSize)
		if err := h.write(b); err != nil {
			f.Fatal(err)
		}
		f.Add(b[:300])
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		b := make([]byte, ownSize)
		copy(b, in)
		h, err := parseHead(b)
		if err != nil {
			return
		}
		again := make([]byte, ownSize)
		if err := h.write(again); err != nil || !bytes.Equal(again[:headSpace], b[:headSpace]) {
			t.Fatalf("%+v is written in another way: %v", h, err)
		}
	})
}

// privateVectors is spec/vectors/private.json.
type privateVectors struct {
	Key      string         `json:"key"` // of the dataset
	Enc      string         `json:"enc"`
	Nonce    string         `json:"nonce"`
	Pieces   []sealedVector `json:"pieces"`
	Own      []ownVector    `json:"own"`
	Head     string         `json:"head"` // record of the dataset below
	Dataset  sealedDataset  `json:"dataset"`
	Boxed    sealedDataset  `json:"boxed"`
	BoxPiece string         `json:"box_piece"` // SHA-256 of the boxes' piece
}

// sealedVector is a piece whose plain bytes are SHA-256("noise" + number in
// decimal) over and over.
type sealedVector struct {
	Length int    `json:"length"`
	Plain  string `json:"plain_sha256"`
	Nonce  string `json:"nonce"`
	Tag    string `json:"tag"`
	Sealed string `json:"sealed_sha256"`
}

// ownVector is a piece of zeros that the encrypted index itself takes.
type ownVector struct {
	Label  string `json:"label"`
	Nonce  string `json:"nonce"`
	Sealed string `json:"sealed_sha256"`
}

type sealedDataset struct {
	Pieces uint32   `json:"pieces"`
	Index  string   `json:"index"`
	UnixFS string   `json:"unixfs"`
	Ranges string   `json:"ranges"`
	Digest []string `json:"digests"`
}

func TestPrivateVectors(t *testing.T) {
	key := types.H("staddle/test/1")
	enc, nonce := derivePieceKeys(key)
	got := privateVectors{Key: key.String(), Enc: hex.EncodeToString(enc[:]), Nonce: hex.EncodeToString(nonce[:])}
	k := newPieceKeys(key)
	for i, n := range []int{types.PieceSize, 1000} {
		seed := PieceDigest([]byte("noise" + string(rune('0'+i))))
		data := bytes.Repeat(seed[:], types.PieceSize/32)[:n]
		out := new(memory)
		s, err := NewSealer(SealOptions{Key: key}, out)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Piece(1, PieceDigest(data), data); err != nil {
			t.Fatal(err)
		}
		e := s.entries.parts[0]
		got.Pieces = append(got.Pieces, sealedVector{
			n, PieceDigest(data).String(), hex.EncodeToString(e[:24]), hex.EncodeToString(e[24:]), out.pieces[0].String(),
		})
	}
	for _, label := range []string{labelHead, labelPage, labelFiller} {
		b := k.sealOwn(label, make([]byte, ownSize))
		got.Own = append(got.Own, ownVector{label, hex.EncodeToString(b[:24]), PieceDigest(b).String()})
	}
	got.addDatasets(t, key)
	if *updatePrivate {
		b, err := json.MarshalIndent(got, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile("../spec/vectors/private.json", append(b, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var want privateVectors
	raw, err := os.ReadFile("../spec/vectors/private.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatal(d)
	}
}

func (v *privateVectors) addDatasets(t *testing.T, key [32]byte) {
	for _, c := range []struct {
		boxes *Boxes
		to    *sealedDataset
	}{{nil, &v.Dataset}, {someBoxes(2), &v.Boxed}} {
		out := new(memory)
		s, err := NewSealer(SealOptions{Key: key, RangePieces: 4, Boxes: c.boxes}, out)
		if err != nil {
			t.Fatal(err)
		}
		for n := uint32(1); n <= 3; n++ {
			data := bytes.Repeat([]byte{byte(n)}, types.PieceSize)
			if n == 3 {
				data = data[:5000]
			}
			if err := s.Piece(n, PieceDigest(data), data); err != nil {
				t.Fatal(err)
			}
		}
		m, err := s.Finish(Manifest{
			Pieces: 3, Size: 2*types.PieceSize + 5000, Name: "films", MediaTypes: []string{"video/mp4"},
			TOCOffset: 2*types.PieceSize + 100, TOCDigest: types.H("toc"),
		})
		if err != nil {
			t.Fatal(err)
		}
		*c.to = sealedDataset{Pieces: m.Pieces, Index: m.Index.String(), UnixFS: m.UnixFS.String(), Ranges: m.RangesRoot.String()}
		for _, h := range out.pieces {
			c.to.Digest = append(c.to.Digest, h.String())
		}
		u, err := Unseal(key, m.Pieces, out.piece)
		if err != nil {
			t.Fatal(err)
		}
		v.Head = hex.EncodeToString(types.Marshal(&u.Head))
		v.BoxPiece = out.pieces[len(out.pieces)-2].String()
	}
}
