package ipfs

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/ipfs/go-cid"
	gocar "github.com/ipld/go-car/v2"
	"github.com/ipld/go-car/v2/blockstore"
	"github.com/multiformats/go-multihash"

	"github.com/staddle/staddle/types"
)

// folder stores a small tree with a file in several blocks, one that occurs
// twice, and an inline one, and gives its root.
func folder(t testing.TB, s *shelf) cid.Cid {
	film := s.file(t, noise("film", 500<<10), 64<<10)
	text := s.file(t, []byte("some text\n"), 64<<10)
	mh, err := multihash.Sum([]byte("inline"), multihash.IDENTITY, -1)
	if err != nil {
		t.Fatal(err)
	}
	sub := s.dir(t, link{"again.txt", text, 10}, link{"inline", cid.NewCidV1(cid.Raw, mh), 6})
	return s.dir(t, link{"film.bin", film, 500 << 10}, link{"sub", sub, 100}, link{"text.txt", text, 10})
}

func export(t testing.TB, s Blocks, v CARVersion, roots ...cid.Cid) []byte {
	t.Helper()
	var b bytes.Buffer
	done, err := Export(t.Context(), &b, s, roots, ExportOptions{Version: v})
	if err != nil {
		t.Fatal(err)
	}
	if done.Bytes != int64(b.Len()) {
		t.Fatalf("said %d bytes, wrote %d", done.Bytes, b.Len())
	}
	return b.Bytes()
}

func TestCARRoundTrip(t *testing.T) {
	for _, v := range []CARVersion{CARv1, CARv2} {
		t.Run(fmt.Sprint(v), func(t *testing.T) {
			s, back := newShelf(), newShelf()
			root := folder(t, s)
			im, err := Import(t.Context(), iotest.OneByteReader(bytes.NewReader(export(t, s, v, root))), back.Put)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(im.Roots, []cid.Cid{root}) || im.Version != v || im.Blocks != len(s.blocks) {
				t.Errorf("imported %+v, want root %s and %d blocks", im, root, len(s.blocks))
			}
			if !slices.Equal(back.hashes(), s.hashes()) {
				t.Error("other blocks came back")
			}
		})
	}
}

// The files are what the reference implementation reads, the index included.
func TestCARForOthers(t *testing.T) {
	s := newShelf()
	root := folder(t, s)
	r, err := gocar.NewBlockReader(bytes.NewReader(export(t, s, CARv1, root)))
	if err != nil {
		t.Fatal(err)
	}
	var order []cid.Cid
	for b, err := r.Next(); !errors.Is(err, io.EOF); b, err = r.Next() {
		if err != nil {
			t.Fatal(err)
		}
		order = append(order, b.Cid())
	}
	if len(order) != len(s.blocks) || order[0] != root || order[1].Prefix().Codec != cid.DagProtobuf || order[2].Prefix().Codec != cid.Raw {
		t.Errorf("order %v", order)
	}
	file := bytes.NewReader(export(t, s, CARv2, root))
	whole, err := gocar.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	if stats, err := whole.Inspect(true); err != nil || stats.BlockCount != uint64(len(order)) || !whole.Header.Characteristics.IsFullyIndexed() {
		t.Errorf("inspect: %+v, %v", stats, err)
	}
	indexed, err := blockstore.NewReadOnly(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range order {
		b, err := indexed.Get(t.Context(), c)
		if err != nil || !bytes.Equal(b.RawData(), s.blocks[string(c.Hash())]) {
			t.Errorf("block %s by the index: %v", c, err)
		}
	}
}

func TestCARFromOthers(t *testing.T) {
	s, back := newShelf(), newShelf()
	root := folder(t, s)
	name := t.TempDir() + "/x.car"
	w, err := blockstore.OpenReadWrite(name, []cid.Cid{root}, gocar.UseDataPadding(77), gocar.UseIndexPadding(11))
	if err != nil {
		t.Fatal(err)
	}
	all := walker{blocks: s, visit: func(c cid.Cid, b []byte) error { return w.Put(t.Context(), foreign{c, b}) }}
	if err := all.walk(t.Context(), []cid.Cid{root}); err != nil {
		t.Fatal(err)
	}
	if err := w.Finalize(); err != nil {
		t.Fatal(err)
	}
	im, err := Import(t.Context(), bytes.NewReader(readFile(t, name)), back.Put)
	if err != nil || im.Version != CARv2 || !slices.Equal(back.hashes(), s.hashes()) {
		t.Fatalf("imported %+v: %v", im, err)
	}
}

func TestCARWithoutRoots(t *testing.T) {
	s := newShelf()
	im, err := Import(t.Context(), bytes.NewReader(export(t, s, CARv1)), s.Put)
	if err != nil || len(im.Roots) != 0 || im.Blocks != 0 {
		t.Fatalf("%+v, %v", im, err)
	}
}

// A CAR may name a root that it does not hold, hold a block twice, and blocks
// below no root.
func TestCARLooseEnds(t *testing.T) {
	s := newShelf()
	absent, leaf := types.RawCID([]byte("absent")), []byte("leaf")
	header, err := carHeader([]cid.Cid{absent})
	if err != nil {
		t.Fatal(err)
	}
	file := slices.Concat(header, section(types.RawCID(leaf), leaf), section(types.RawCID(leaf), leaf))
	im, err := Import(t.Context(), bytes.NewReader(file), s.Put)
	if err != nil || !slices.Equal(im.Roots, []cid.Cid{absent}) || im.Blocks != 2 || len(s.blocks) != 1 {
		t.Fatalf("%+v, %v", im, err)
	}
}

func hashed(t testing.TB, code uint64, b []byte) cid.Cid {
	t.Helper()
	mh, err := multihash.Sum(b, code, -1)
	if err != nil {
		t.Fatal(err)
	}
	return cid.NewCidV1(cid.Raw, mh)
}

func TestCARBadInput(t *testing.T) {
	leaf := []byte("leaf")
	header, err := carHeader([]cid.Cid{types.RawCID(leaf)})
	if err != nil {
		t.Fatal(err)
	}
	good := section(types.RawCID(leaf), leaf)
	v2 := func(change func(h *carV2)) []byte {
		h := carV2{dataStart: 51, dataSize: uint64(len(header) + len(good))}
		change(&h)
		return slices.Concat(carPragma, h.encode(), header, good)
	}
	huge := hashed(t, multihash.IDENTITY, make([]byte, 1<<20))
	cut, err := multihash.Sum(leaf, multihash.SHA2_256, 20)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		file []byte
		want error
		text string
	}{
		"empty":                   {nil, ErrCAR, "header at byte 0: cut short"},
		"not a CAR":               {[]byte("PK\x03\x04 and so on, a file of another kind, long enough that a header could be in it, if it were one"), ErrCAR, "header at byte 0"},
		"header cut":              {header[:20], ErrCAR, "header at byte 0: cut short"},
		"header of a gigabyte":    {binary.AppendUvarint(nil, 1<<30), ErrTooBig, "header at byte 0: block is too big: 1073741824 bytes, limit 1048576"},
		"header length too long":  {append([]byte{0xba, 0x80, 0x00}, header...), ErrCAR, "not the shortest form"},
		"header of version 3":     {[]byte("\x11\xa2eroots\x80gversion\x03"), ErrCAR, "header has version 3, want 1"},
		"header without roots":    {[]byte("\x0a\xa1gversion\x01"), ErrCAR, "header has no list of roots"},
		"header without version":  {[]byte("\x08\xa1eroots\x80"), ErrCAR, "header has no version"},
		"header with more fields": {[]byte("\x14\xa3axa1eroots\x80gversion\x01"), ErrCAR, "header at byte 0"},
		"root is text":            {[]byte("\x13\xa2eroots\x81axgversion\x01"), ErrCAR, "root 0 is no CID"},
		"section cut in length":   {slices.Concat(header, good[:0], []byte{0x80}), ErrCAR, "section at byte 59: cut short"},
		"section cut in block":    {slices.Concat(header, good[:len(good)-1]), ErrCAR, "section at byte 59: cut short"},
		"section of length 0":     {slices.Concat(header, good, []byte{0}), ErrCAR, "section at byte 100: length 0"},
		"section of a terabyte":   {slices.Concat(header, binary.AppendUvarint(nil, 1<<40)), ErrTooBig, "section at byte 59: block is too big: 1099511627776 bytes, limit 2097320"},
		"length that overflows":   {slices.Concat(header, bytes.Repeat([]byte{0xff}, 11)), ErrCAR, "section at byte 59"},
		"section without a CID":   {slices.Concat(header, []byte{4, 'l', 'e', 'a', 'f'}), ErrCAR, "section at byte 59: CID"},
		"block above the limit":   {slices.Concat(header, section(types.RawCID(make([]byte, MaxBlock+1)), make([]byte, MaxBlock+1))), ErrTooBig, "2097153 bytes, limit 2097152"},
		"a flipped bit":           {slices.Concat(header, section(types.RawCID(leaf), []byte("leaF"))), ErrMismatch, "section at byte 59"},
		"identity of a megabyte":  {slices.Concat(header, section(huge, nil)), ErrIdentity, "1048576 bytes, limit 128"},
		"identity that lies":      {slices.Concat(header, section(hashed(t, multihash.IDENTITY, leaf), []byte("leaf!"))), ErrMismatch, "section at byte 59"},
		"identity root too long":  {rootedAt(hashed(t, multihash.IDENTITY, make([]byte, MaxIdentity+1))), ErrIdentity, "root 0"},
		"sha1":                    {slices.Concat(header, section(hashed(t, multihash.SHA1, leaf), leaf)), ErrHash, "sha1 (0x11), want sha2-256 or identity"},
		"murmur3":                 {slices.Concat(header, section(hashed(t, multihash.MURMUR3X64_64, leaf), leaf)), ErrHash, "murmur3-x64-64 (0x22)"},
		"blake3":                  {slices.Concat(header, section(hashed(t, multihash.BLAKE3, leaf), leaf)), ErrHash, "blake3 (0x1e)"},
		"blake2b":                 {slices.Concat(header, section(hashed(t, multihash.BLAKE2B_MIN+31, leaf), leaf)), ErrHash, "blake2b-256 (0xb220)"},
		"sha2-512":                {slices.Concat(header, section(hashed(t, multihash.SHA2_512, leaf), leaf)), ErrHash, "sha2-512 (0x13)"},
		"sha2-256 cut":            {slices.Concat(header, section(cid.NewCidV1(cid.Raw, cut), leaf)), ErrHash, "sha2-256 cut to 20 bytes, want 32"},
		"v2 pragma alone":         {carPragma, ErrCAR, "header of version 2 at byte 11: cut short"},
		"v2 data in the header":   {v2(func(h *carV2) { h.dataStart = 50 }), ErrCAR, "data at 50 overlap the header of 51 bytes"},
		"v2 data past the end":    {v2(func(h *carV2) { h.dataSize += 9 }), ErrCAR, "data at byte 151: cut short"},
		"v2 data end in a block":  {v2(func(h *carV2) { h.dataSize -= 2 }), ErrCAR, "section at byte 110: cut short"},
		"v2 data of no bytes":     {v2(func(h *carV2) { h.dataSize = 0 }), ErrCAR, "0 bytes of data at 51"},
		"v2 data of 2^64 bytes":   {v2(func(h *carV2) { h.dataSize = 1<<64 - 1 }), ErrCAR, "header of version 2 at byte 11"},
		"v2 padding of 2^62":      {v2(func(h *carV2) { h.dataStart = 1 << 62 }), ErrCAR, "padding at byte 151: cut short"},
		"v2 index in the data":    {v2(func(h *carV2) { h.index = 60 }), ErrCAR, "index at 60, inside the data that end at 151"},
		"v2 in v2":                {slices.Concat(carPragma, carV2{dataStart: 51, dataSize: 200}.encode(), v2(func(*carV2) {})), ErrCAR, "header has version 2, want 1"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			put := func(_ context.Context, c cid.Cid, b []byte) error { return Check(c, b) }
			_, err := Import(t.Context(), bytes.NewReader(tt.file), put)
			if !errors.Is(err, tt.want) || !strings.Contains(fmt.Sprint(err), tt.text) {
				t.Errorf("error %v, want %v with %q", err, tt.want, tt.text)
			}
		})
	}
}

func rootedAt(c cid.Cid) []byte {
	header, err := carHeader([]cid.Cid{c})
	if err != nil {
		panic(err)
	}
	return header
}

// Every shortening of a CAR is told from a whole one, except at the end of a
// section of version 1, where nothing tells.
func TestCARCutAnywhere(t *testing.T) {
	s := newShelf()
	root := s.dir(t, link{"a", s.raw([]byte("a")), 1}, link{"b", s.raw([]byte("b")), 1})
	for v, open := range map[CARVersion]int{CARv1: 3, CARv2: 0} {
		file := export(t, s, v, root)
		if v == CARv2 {
			file = file[:len(file)-len(carIndex{}.head())-3*40]
		}
		whole := 0
		for n := range len(file) {
			if _, err := Import(t.Context(), bytes.NewReader(file[:n]), newShelf().Put); err == nil {
				whole++
			}
		}
		if whole != open {
			t.Errorf("version %d: %d shortened files passed, want %d", v, whole, open)
		}
	}
}

func TestImportErrorsPass(t *testing.T) {
	s := newShelf()
	file := export(t, s, CARv1, folder(t, s))
	broken, full := errors.New("line broken"), errors.New("disk full")
	_, err := Import(t.Context(), io.MultiReader(bytes.NewReader(file[:70000]), iotest.ErrReader(broken)), s.Put)
	if !errors.Is(err, broken) || errors.Is(err, ErrCAR) {
		t.Errorf("broken stream: %v", err)
	}
	_, err = Import(t.Context(), bytes.NewReader(file), func(context.Context, cid.Cid, []byte) error { return full })
	if !errors.Is(err, full) || errors.Is(err, ErrCAR) {
		t.Errorf("full disk: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = Import(ctx, bytes.NewReader(file), s.Put); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// liar breaks the contract of Blocks: every block links to itself and to more.
type liar struct{ links []byte }

func (l liar) Get(context.Context, cid.Cid) ([]byte, error) { return l.links, nil }
func (liar) Has(context.Context, cid.Cid) (bool, error)     { return true, nil }

// No bytes name themselves, but a source may lie: the walk ends all the same.
func TestExportCycle(t *testing.T) {
	s := newShelf()
	other := types.NodeCID([]byte("other"))
	first := s.pb(t, nil, link{"other", pbAs(other), 1})
	loop := s.pb(t, nil, link{"back", first, 1}, link{"self", pbAs(other), 1})
	l := liar{s.blocks[string(loop.Hash())]}
	done, err := Export(t.Context(), io.Discard, l, []cid.Cid{first, first}, ExportOptions{})
	if err != nil || done.Blocks != 2 {
		t.Fatalf("%+v, %v", done, err)
	}
}

func pbAs(c cid.Cid) cid.Cid { return cid.NewCidV1(cid.DagProtobuf, c.Hash()) }

func TestExportBounds(t *testing.T) {
	s := newShelf()
	chain := s.raw([]byte("end"))
	for range 50 {
		chain = s.pb(t, nil, link{"next", chain, 1})
	}
	var many []link
	for i := range 50 {
		many = append(many, link{fmt.Sprintf("%03d", i), s.raw([]byte{byte(i)}), 1})
	}
	wide := s.dir(t, many...)
	tests := map[string]struct {
		root   cid.Cid
		bounds Bounds
		want   string
	}{
		"deep":     {chain, Bounds{Depth: 49}, "more than 49 links deep"},
		"deep fit": {chain, Bounds{Depth: 50, Pending: 1, Blocks: 51}, ""},
		"wide":     {wide, Bounds{Pending: 49}, "50 links wait, limit 49"},
		"wide fit": {wide, Bounds{Pending: 50, Blocks: 51, Depth: 1}, ""},
		"enormous": {wide, Bounds{Blocks: 50}, "more than 50 blocks"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for _, v := range []CARVersion{CARv1, CARv2} {
				_, err := Export(t.Context(), io.Discard, s, []cid.Cid{tt.root}, ExportOptions{v, tt.bounds})
				if errors.Is(err, ErrBounds) != (tt.want != "") || !strings.Contains(fmt.Sprint(err), tt.want) {
					t.Errorf("version %d: %v, want %q", v, err, tt.want)
				}
			}
		})
	}
}

// bomb is a DAG of few blocks in which width^depth paths lead to the end.
func bomb(t testing.TB, s *shelf, width, depth int, data []byte, name func(int) string) cid.Cid {
	c := s.raw([]byte("end"))
	for range depth {
		var links []link
		for i := range width {
			links = append(links, link{name(i), c, 1})
		}
		c = s.pb(t, data, links...)
	}
	return c
}

func TestExportBomb(t *testing.T) {
	s := newShelf()
	root := bomb(t, s, 256, 8, shardData(t), func(i int) string { return fmt.Sprintf("%02X", i) })
	done, err := Export(t.Context(), io.Discard, s, []cid.Cid{root}, ExportOptions{Version: CARv2})
	if err != nil || done.Blocks != 9 {
		t.Fatalf("%+v, %v", done, err)
	}
	if s.gets > 20 {
		t.Errorf("%d reads for 9 blocks", s.gets)
	}
}

func TestExportMissing(t *testing.T) {
	s := newShelf()
	root := s.dir(t, link{"gone", types.RawCID([]byte("gone")), 4})
	for _, v := range []CARVersion{CARv1, CARv2, 3} {
		_, err := Export(t.Context(), io.Discard, s, []cid.Cid{root}, ExportOptions{Version: v})
		if err == nil || IsNotHeld(err) != (v < 3) {
			t.Errorf("version %d: %v", v, err)
		}
	}
}

// flow makes a CAR of n leaves without holding it.
func flow(n int) io.Reader {
	r, w := io.Pipe()
	go func() {
		header, err := carHeader(nil)
		if err == nil {
			_, err = w.Write(header)
		}
		for i := 0; i < n && err == nil; i++ {
			leaf := make([]byte, 256<<10)
			binary.LittleEndian.PutUint64(leaf, uint64(i))
			_, err = w.Write(section(types.RawCID(leaf), leaf))
		}
		w.CloseWithError(err)
	}()
	return r
}

func TestImportMemory(t *testing.T) {
	var peak uint64
	blocks := 0
	put := func(context.Context, cid.Cid, []byte) error {
		if blocks++; blocks%20 != 0 {
			return nil
		}
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		peak = max(peak, m.HeapAlloc)
		return nil
	}
	var before runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	im, err := Import(t.Context(), flow(200), put)
	if err != nil || im.Blocks != 200 || im.Bytes != 200*256<<10 {
		t.Fatalf("%+v, %v", im, err)
	}
	if peak > before.HeapAlloc+4<<20 {
		t.Errorf("%d bytes of heap for a stream of %d", peak-before.HeapAlloc, im.Bytes)
	}
}

func FuzzImport(f *testing.F) {
	s := newShelf()
	root := s.dir(f, link{"a", s.raw([]byte("a")), 1})
	for _, v := range []CARVersion{CARv1, CARv2} {
		var b bytes.Buffer
		if _, err := Export(context.Background(), &b, s, []cid.Cid{root}, ExportOptions{Version: v}); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		_, _ = Import(t.Context(), bytes.NewReader(file), func(_ context.Context, c cid.Cid, b []byte) error {
			if err := Check(c, b); err != nil {
				t.Fatal(err)
			}
			return nil
		})
	})
}

func FuzzLinks(f *testing.F) {
	s := newShelf()
	root := s.dir(f, link{"a", s.raw([]byte("a")), 1})
	f.Add(uint64(cid.DagProtobuf), s.blocks[string(root.Hash())])
	f.Add(uint64(cid.DagCBOR), []byte("\xa1aa\x82\x01\x02"))
	f.Add(uint64(cid.DagJSON), []byte(`{"a":{"/":"bafkqaaa"}}`))
	f.Add(uint64(cid.DagCBOR), bytes.Repeat([]byte{0x81}, 5000))
	f.Fuzz(func(t *testing.T, codec uint64, block []byte) {
		c := cid.NewCidV1(codec&0xffff, types.RawCID(block).Hash())
		links, err := Links(c, block)
		if err == nil && len(links) > len(block) {
			t.Errorf("%d links in %d bytes", len(links), len(block))
		}
	})
}
