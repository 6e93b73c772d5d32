package trie

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	hamt "github.com/filecoin-project/go-hamt-ipld/v3"
	"github.com/google/go-cmp/cmp"
	"github.com/ipfs/go-cid"
	cbg "github.com/whyrusleeping/cbor-gen"

	"github.com/staddle/staddle/types"
)

// counted is a Source that counts what it is asked for.
type counted struct {
	Memory
	asked int
}

func (c *counted) Node(id cid.Cid) ([]byte, error) { c.asked++; return c.Memory.Node(id) }

// failing is a Source whose disk is broken.
type failing struct{ err error }

func (f failing) Node(cid.Cid) ([]byte, error) { return nil, f.err }

// TestS1 is rule S1, one subtest a trap of the library.
func TestS1(t *testing.T) {
	t.Run("errors of the source pass unharmed", trapErrors)
	t.Run("sha-256 and not blake2b or murmur3", trapHashes)
	t.Run("no value that cannot be read again", trapCanonical)
	t.Run("no value above 4 KiB inline", trapLarge)
	t.Run("all gaps of a level at once", trapGaps)
	t.Run("readers open their own map", trapReaders)
}

func trapErrors(t *testing.T) {
	mem, root := filled(t, 1000)
	top := Memory{root: mem[root]}
	broken := errors.New("disk on fire")
	if _, err := Open(failing{broken}, root); !errors.Is(err, broken) {
		t.Errorf("open: %v", err)
	}
	var none *types.Missing
	if _, err := Open(Memory{}, root); !errors.As(err, &none) || none.CID != root {
		t.Errorf("open: %v", err)
	}
	do := map[string]func(m *Map) error{
		"get":     func(m *Map) error { _, _, err := m.Get("k1"); return err },
		"set":     func(m *Map) error { return m.Set("k1", number(9)) },
		"delete":  func(m *Map) error { _, err := m.Delete("k1"); return err },
		"each":    func(m *Map) error { return m.Each(func(string, []byte) error { return nil }) },
		"path":    func(*Map) error { _, err := Path(top, root, "k1"); return err },
		"missing": func(m *Map) error { m.blocks.src = failing{broken}; _, err := m.Missing([]string{"k1"}); return err },
	}
	for _, name := range slices.Sorted(maps.Keys(do)) {
		err := do[name](open(t, top, root))
		var gap *types.Missing
		if name == "missing" {
			if !errors.Is(err, broken) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if !errors.As(err, &gap) || top[gap.CID] != nil || (mem[gap.CID] == nil) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// vector is one map of spec/vectors/trie.json.
type vector struct {
	Name  string `json:"name"`
	Keys  int    `json:"keys"` // keys "k0".."k<n-1>", value = the number
	Root  string `json:"root"`
	Nodes int    `json:"nodes"`
	Hex   string `json:"hex,omitempty"` // of the root node
}

const vectorFile = "../spec/vectors/trie.json"

func trapHashes(t *testing.T) {
	var got []vector
	for _, v := range []vector{{Name: "empty"}, {Name: "three keys", Keys: 3}, {Name: "thousand keys", Keys: 1000}} {
		mem, root := filled(t, v.Keys)
		v.Root, v.Nodes = root.String(), len(mem)
		if v.Keys < 10 {
			v.Hex = fmt.Sprintf("%x", mem[root])
		}
		got = append(got, v)
	}
	if os.Getenv("UPDATE_VECTORS") != "" {
		out, _ := json.MarshalIndent(got, "", "  ")
		if err := os.WriteFile(vectorFile, append(out, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	var want []vector
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatal(d)
	}
}

// trapCanonical first shows the trap: the bare library makes a root that cannot
// be opened again.
func trapCanonical(t *testing.T) {
	bad := []byte{0x18, 0x01}
	bare := newBlocks(Memory{})
	n, err := hamt.NewNode(bare, options()...)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.SetRaw(context.Background(), "k", bad); err != nil {
		t.Fatal(err)
	}
	root, err := n.Write(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	mem := Memory{root: bare.made[root].bytes}
	if _, err := Open(mem, root); !errors.Is(err, ErrMalformed) {
		t.Fatalf("the unreadable node opens: %v", err)
	}
	m := New(mem)
	if err := m.Set("k", bad); err == nil || !strings.Contains(err.Error(), "canonical") {
		t.Fatalf("set accepts it: %v", err)
	}
	if _, ok, _ := m.Get("k"); ok {
		t.Fatal("the refused value is there")
	}
}

func trapLarge(t *testing.T) {
	mem := Memory{}
	m := New(mem)
	if err := m.Set("contract", bytesValue(make([]byte, MaxValue))); err == nil {
		t.Fatal("4,096 bytes and their head are accepted")
	}
	for i := range 3000 { // the worst node stays readable
		if err := m.Set(fmt.Sprint(i), bytesValue(make([]byte, MaxValue-3))); err != nil {
			t.Fatal(err)
		}
	}
	root := store(t, mem, m)
	largest := 0
	for _, b := range mem {
		largest = max(largest, len(b))
	}
	if worst := 32 * 3 * (MaxKey + MaxValue + 10); largest > MaxNode || worst > MaxNode {
		t.Fatalf("largest node %d, worst %d, limit %d", largest, worst, MaxNode)
	}
	if _, ok, err := open(t, mem, root).Get("2999"); err != nil || !ok {
		t.Fatal(ok, err)
	}
}

func trapGaps(t *testing.T) {
	full, root := filled(t, 20_000)
	keys := make([]string, 2000)
	for i := range keys {
		keys[i] = fmt.Sprintf("k%d", i*7)
	}
	here := &counted{Memory: Memory{root: full[root]}}
	m := open(t, here, root)
	rounds, fetched := 0, 0
	for {
		here.asked = 0
		gaps, err := m.Missing(keys)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.IsSortedFunc(gaps, func(a, b cid.Cid) int { return bytes.Compare(a.Bytes(), b.Bytes()) }) {
			t.Fatal("gaps are not sorted")
		}
		if len(gaps) == 0 {
			break
		}
		if limit := fetched + len(gaps); here.asked > limit {
			t.Fatalf("round %d asks the source %d times for %d gaps", rounds, here.asked, len(gaps))
		}
		fetched = len(gaps)
		for _, c := range gaps {
			here.Put([]types.Node{{CID: c, Bytes: full[c]}})
		}
		rounds++
	}
	if rounds > 5 {
		t.Fatalf("%d rounds for 2,000 keys", rounds)
	}
	usable(t, m, keys)
}

// usable checks that after Missing said "none", no change meets a gap.
func usable(t *testing.T, m *Map, keys []string) {
	t.Helper()
	for i, k := range keys {
		var err error
		switch i % 3 {
		case 0:
			_, err = m.Delete(k)
		case 1:
			err = m.Set(k, number(1<<40))
		default:
			_, _, err = m.Get(k)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := m.Flush(); err != nil {
		t.Fatal(err)
	}
}

// trapReaders runs under -race: one Map would race, one a goroutine does not.
func trapReaders(t *testing.T) {
	mem, root := filled(t, 500)
	done := make(chan error, 4)
	for range cap(done) {
		go func() {
			m, err := Open(mem, root)
			for i := 0; i < 500 && err == nil; i++ {
				_, _, err = m.Get(fmt.Sprintf("k%d", i))
			}
			done <- err
		}()
	}
	for range cap(done) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func encode(t testing.TB, n *hamt.Node) types.Node {
	t.Helper()
	var b bytes.Buffer
	if err := n.MarshalCBOR(&b); err != nil {
		t.Fatal(err)
	}
	return types.NewNode(b.Bytes())
}

func TestStrangersNodes(t *testing.T) {
	mem, root := filled(t, 3)
	good := mem[root]
	wrong := func(b []byte) (Memory, cid.Cid) {
		n := types.NewNode(b)
		return Memory{n.CID: b}, n.CID
	}
	entry := func(k string, v []byte) *hamt.KV { return &hamt.KV{Key: []byte(k), Value: &cbg.Deferred{Raw: v}} }
	misplaced, _ := hamt.NewNode(nil, options()...)
	misplaced.Bitfield.SetBit(misplaced.Bitfield, 1, 1)
	misplaced.Pointers = []*hamt.Pointer{{KVs: []*hamt.KV{entry("k0", number(0))}}}
	if belongs([]byte("k0"), []int{1}) {
		t.Fatal("the test needs a key that is out of place")
	}
	tests := map[string][]byte{
		"trailing byte":    append(slices.Clone(good), 0),
		"cut":              good[:len(good)-1],
		"empty":            {},
		"not a node":       number(7),
		"bits lie":         {0x82, 0x41, 0x03, 0x80},
		"bit 32":           {0x82, 0x45, 1, 0, 0, 0, 0, 0x81, 0x81, 0x82, 0x41, 'k', 1},
		"leading zero":     {0x82, 0x42, 0, 1, 0x81, 0x81, 0x82, 0x41, 'k', 1},
		"long head":        {0x82, 0x58, 1, 1, 0x81, 0x81, 0x82, 0x41, 'k', 1},
		"empty bucket":     {0x82, 0x41, 1, 0x81, 0x80},
		"four in a bucket": {0x82, 0x41, 1, 0x81, 0x84, 0x82, 0x41, 'a', 1, 0x82, 0x41, 'b', 1, 0x82, 0x41, 'c', 1, 0x82, 0x41, 'd', 1},
		"bucket unsorted":  {0x82, 0x41, 1, 0x81, 0x82, 0x82, 0x41, 'b', 1, 0x82, 0x41, 'a', 1},
		"empty key":        {0x82, 0x41, 1, 0x81, 0x81, 0x82, 0x40, 1},
		"bad value":        {0x82, 0x41, 1, 0x81, 0x81, 0x82, 0x41, 'k', 0x18, 1},
		"misplaced key":    encode(t, misplaced).Bytes,
	}
	for _, name := range slices.Sorted(maps.Keys(tests)) {
		src, c := wrong(tests[name])
		m, err := Open(src, c)
		if err == nil {
			err = m.Each(func(string, []byte) error { return nil })
		}
		if !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Open(Memory{root: append(slices.Clone(good), 0)}, root); !errors.Is(err, ErrMalformed) {
		t.Errorf("bytes of another node: %v", err)
	}
	if _, err := Open(mem, types.RawCID(good)); err == nil {
		t.Error("a raw link opens as a trie")
	}
}

// TestStrangersMaze: 32 links to one and the same child, 40 levels deep, would
// be 32^40 visits.
func TestStrangersMaze(t *testing.T) {
	mem, child := filled(t, 20)
	for range 40 {
		n, _ := hamt.NewNode(nil, options()...)
		for i := range 32 {
			n.Bitfield.SetBit(n.Bitfield, i, 1)
			n.Pointers = append(n.Pointers, &hamt.Pointer{Link: child})
		}
		block := encode(t, n)
		mem.Put([]types.Node{block})
		child = block.CID
	}
	src := &counted{Memory: mem}
	err := open(t, src, child).Each(func(string, []byte) error { return nil })
	if !errors.Is(err, ErrMalformed) || src.asked > 60 {
		t.Fatalf("%v after %d nodes", err, src.asked)
	}
}

func FuzzNode(f *testing.F) {
	mem, root := filled(f, 3)
	f.Add(mem[root])
	mem, root = filled(f, 40)
	f.Add(mem[root])
	f.Add([]byte{0x82, 0x40, 0x80})
	f.Add([]byte{0x82, 0x41, 1, 0x81, 0x81, 0x82, 0x5a, 0x00, 0x1f, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		var n hamt.Node
		if parseNode(b, &n) != nil {
			return
		}
		if again := encode(t, &n); !bytes.Equal(again.Bytes, b) {
			t.Fatalf("%x encodes again as %x", b, again.Bytes)
		}
	})
}

// FuzzValue: what Set accepts can be read again from the flushed nodes.
func FuzzValue(f *testing.F) {
	f.Add([]byte{0x01})
	f.Add(bytes.Repeat([]byte{0x81}, 40))
	f.Add(append(bytes.Repeat([]byte{0x81}, 30), 0x80))
	f.Add([]byte{0xa1, 0x61, 'a', 0xf6})
	f.Add([]byte{0xf5})
	f.Fuzz(func(t *testing.T, v []byte) {
		mem := Memory{}
		m := New(mem)
		if m.Set("k", v) != nil {
			return
		}
		got, ok, err := open(t, mem, store(t, mem, m)).Get("k")
		if err != nil || !ok || !bytes.Equal(got, v) {
			t.Fatalf("set %x, read %x %v %v", v, got, ok, err)
		}
	})
}

// TestNodeMemory: a node that announces far more than it holds costs little.
func TestNodeMemory(t *testing.T) {
	lies := [][]byte{
		{0x82, 0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		{0x82, 0x41, 1, 0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		{0x82, 0x41, 1, 0x99, 0x20, 0x00},
		{0x82, 0x41, 1, 0x81, 0x81, 0x82, 0x5a, 0x00, 0x1f, 0xff, 0xff},
		{0x82, 0x41, 1, 0x81, 0x81, 0x82, 0x41, 'k', 0x5a, 0x00, 0x1f, 0xff, 0xff},
	}
	for _, b := range lies {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range 10 {
			var n hamt.Node
			if parseNode(b, &n) == nil {
				t.Fatal("accepted")
			}
		}
		runtime.ReadMemStats(&after)
		if got := (after.TotalAlloc - before.TotalAlloc) / 10; got > 3<<20 {
			t.Errorf("%x costs %d bytes", b, got)
		}
	}
}
