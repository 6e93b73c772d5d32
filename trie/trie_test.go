package trie

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ipfs/go-cid"
	"pgregory.net/rapid"

	"github.com/staddle/staddle/types"
)

func number(n uint64) []byte {
	var e types.Encoder
	e.Uint(n)
	return e.Data()
}

func bytesValue(b []byte) []byte {
	var e types.Encoder
	e.Bytes(b)
	return e.Data()
}

// filled is a map of keys k0..k<n-1>, stored in the Memory.
func filled(t testing.TB, n int) (Memory, cid.Cid) {
	t.Helper()
	mem := Memory{}
	m := New(mem)
	for i := range n {
		if err := m.Set(fmt.Sprintf("k%d", i), number(uint64(i))); err != nil {
			t.Fatal(err)
		}
	}
	return mem, store(t, mem, m)
}

func store(t testing.TB, mem Memory, m *Map) cid.Cid {
	t.Helper()
	root, nodes, err := m.Flush()
	if err != nil {
		t.Fatal(err)
	}
	mem.Put(nodes)
	return root
}

func open(t testing.TB, src Source, root cid.Cid) *Map {
	t.Helper()
	m, err := Open(src, root)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestGetSetDelete(t *testing.T) {
	mem := Memory{}
	m := New(mem)
	steps := []struct {
		name string
		do   func() (any, error)
		want any
	}{
		{"absent", func() (any, error) { _, ok, err := m.Get("a"); return ok, err }, false},
		{"set", func() (any, error) { return nil, m.Set("a", number(1)) }, nil},
		{"get before flush", func() (any, error) { v, _, err := m.Get("a"); return v, err }, number(1)},
		{"set again", func() (any, error) { return nil, m.Set("a", number(2)) }, nil},
		{"newest", func() (any, error) { v, _, err := m.Get("a"); return v, err }, number(2)},
		{"delete", func() (any, error) { return m.Delete("a") }, true},
		{"delete twice", func() (any, error) { return m.Delete("a") }, false},
		{"gone", func() (any, error) { _, ok, err := m.Get("a"); return ok, err }, false},
	}
	for _, s := range steps {
		got, err := s.do()
		if err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		if d := cmp.Diff(s.want, got); d != "" {
			t.Fatalf("%s: %s", s.name, d)
		}
	}
}

func TestSetRefuses(t *testing.T) {
	long := bytesValue(make([]byte, MaxValue-3)) // head of 3 bytes
	tests := []struct {
		name, key string
		value     []byte
		ok        bool
	}{
		{"largest value", "k", long, true},
		{"value one byte too long", "k", bytesValue(make([]byte, MaxValue-2)), false},
		{"no value", "k", nil, false},
		{"integer not shortest", "k", []byte{0x18, 0x01}, false},
		{"float", "k", []byte{0xfb, 0, 0, 0, 0, 0, 0, 0, 0}, false},
		{"trailing byte", "k", []byte{0x01, 0x01}, false},
		{"cut", "k", []byte{0x82, 0x01}, false},
		{"empty key", "", number(1), false},
		{"longest key", string(make([]byte, MaxKey)), number(1), true},
		{"key too long", string(make([]byte, MaxKey+1)), number(1), false},
	}
	for _, tt := range tests {
		m := New(Memory{})
		if err := m.Set(tt.key, tt.value); (err == nil) != tt.ok {
			t.Errorf("%s: Set gave %v", tt.name, err)
		}
	}
}

func TestSetKeepsNoAlias(t *testing.T) {
	m := New(Memory{})
	v := bytesValue([]byte("abc"))
	if err := m.Set("k", v); err != nil {
		t.Fatal(err)
	}
	v[1] = 'X'
	got, _, err := m.Get("k")
	if err != nil {
		t.Fatal(err)
	}
	got[2] = 'Y'
	again, _, _ := m.Get("k")
	if d := cmp.Diff(bytesValue([]byte("abc")), again); d != "" {
		t.Fatal(d)
	}
}

func TestFlushGivesChildrenFirstAndOnlyNew(t *testing.T) {
	mem, root := filled(t, 1000)
	m := open(t, mem, root)
	if err := m.Set("k7", number(1_000_000)); err != nil {
		t.Fatal(err)
	}
	root2, nodes, err := m.Flush()
	if err != nil {
		t.Fatal(err)
	}
	path, err := Path(mem, root, "k7")
	if err != nil {
		t.Fatal(err)
	}
	if len(nodes) != len(path) || nodes[len(nodes)-1].CID != root2 {
		t.Fatalf("%d new nodes, want the %d on the path with the root last", len(nodes), len(path))
	}
	held := Memory{}
	for c, b := range mem {
		held[c] = b
	}
	for _, n := range nodes {
		links, err := Links(n.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range links {
			if held[l] == nil {
				t.Fatalf("node %s comes before its child %s", n.CID, l)
			}
		}
		held.Put([]types.Node{n})
	}
}

func TestFlushTwice(t *testing.T) {
	mem, root := filled(t, 200)
	m := open(t, mem, root)
	check := func(what string, wantRoot cid.Cid, wantNew bool) {
		t.Helper()
		got, nodes, err := m.Flush()
		if err != nil || got != wantRoot || (len(nodes) > 0) != wantNew {
			t.Fatalf("%s: root %s, %d nodes, %v; want %s", what, got, len(nodes), err, wantRoot)
		}
	}
	check("nothing changed", root, false)
	for _, v := range []uint64{99, 3} { // away and back to the old value
		if err := m.Set("k3", number(v)); err != nil {
			t.Fatal(err)
		}
	}
	check("changed and restored", root, false)
	if err := m.Set("extra", number(5)); err != nil {
		t.Fatal(err)
	}
	changed, nodes, err := m.Flush()
	if err != nil || len(nodes) == 0 {
		t.Fatal(err, len(nodes))
	}
	check("flushed before", changed, false)
	if v, ok, err := m.Get("extra"); err != nil || !ok || !slices.Equal(v, number(5)) {
		t.Fatalf("get after a flush that nobody stored: %v %v %v", v, ok, err)
	}
	if _, err := m.Delete("extra"); err != nil {
		t.Fatal(err)
	}
	check("back at the first root", root, false)
}

func TestEachSeesUnstoredNodes(t *testing.T) {
	m := New(Memory{})
	want := map[string]uint64{}
	count := func() map[string]uint64 {
		got := map[string]uint64{}
		err := m.Each(func(k string, v []byte) error {
			got[k] = types.NewDecoder(v).Uint()
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	for i := range uint64(300) {
		k := fmt.Sprint("key", i)
		want[k] = i
		if err := m.Set(k, number(i)); err != nil {
			t.Fatal(err)
		}
		if i%97 == 0 {
			if d := cmp.Diff(want, count()); d != "" {
				t.Fatal(d)
			}
		}
		if i == 150 {
			if _, _, err := m.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if d := cmp.Diff(want, count()); d != "" {
		t.Fatal(d)
	}
}

func TestEachThenFlushDropsWhatWasReplaced(t *testing.T) {
	m, plain := New(Memory{}), New(Memory{})
	for i := range uint64(100) {
		for _, x := range []*Map{m, plain} {
			if err := x.Set(fmt.Sprint(i), number(i)); err != nil {
				t.Fatal(err)
			}
		}
		if err := m.Each(func(string, []byte) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	_, got, err := m.Flush()
	if err != nil {
		t.Fatal(err)
	}
	_, want, err := plain.Flush()
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(names(want), names(got)); d != "" {
		t.Fatal(d)
	}
}

func names(nodes []types.Node) (out []string) {
	for _, n := range nodes {
		out = append(out, n.CID.String())
	}
	return out
}

func TestEachEndsWithTheErrorOfFn(t *testing.T) {
	mem, root := filled(t, 50)
	stop := errors.New("stop")
	calls := 0
	err := open(t, mem, root).Each(func(string, []byte) error { calls++; return stop })
	if !errors.Is(err, stop) || calls != 1 {
		t.Fatalf("%v after %d calls", err, calls)
	}
}

func TestPathProves(t *testing.T) {
	mem, root := filled(t, 2000)
	for _, key := range []string{"k1", "k1999", "absent"} {
		nodes, err := Path(mem, root, key)
		if err != nil {
			t.Fatal(err)
		}
		if nodes[0].CID != root || len(nodes) > 4 {
			t.Fatalf("path to %s of %d nodes starts at %s", key, len(nodes), nodes[0].CID)
		}
		proof := Memory{}
		proof.Put(nodes)
		want, wantOK, _ := open(t, mem, root).Get(key)
		got, ok, err := open(t, proof, root).Get(key)
		if err != nil || ok != wantOK || !slices.Equal(got, want) {
			t.Fatalf("proof of %s says %x %v %v", key, got, ok, err)
		}
	}
}

// TestModel compares the map with a Go map over random steps, and its root with
// that of a map filled afresh.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mem, model := Memory{}, map[string]uint64{}
		m := New(mem)
		for range rapid.IntRange(1, 120).Draw(t, "steps") {
			k := fmt.Sprint(rapid.IntRange(0, 60).Draw(t, "key"))
			switch rapid.IntRange(0, 5).Draw(t, "op") {
			case 0:
				_, had := model[k]
				if ok, err := m.Delete(k); err != nil || ok != had {
					t.Fatalf("delete %s: %v %v", k, ok, err)
				}
				delete(model, k)
			case 1:
				root, nodes, err := m.Flush()
				if err != nil {
					t.Fatal(err)
				}
				mem.Put(nodes)
				if m, err = Open(mem, root); err != nil {
					t.Fatal(err)
				}
			default:
				model[k] = rapid.Uint64Range(0, 3).Draw(t, "value")
				if err := m.Set(k, number(model[k])); err != nil {
					t.Fatal(err)
				}
			}
		}
		compare(t, m, model)
	})
}

func compare(t *rapid.T, m *Map, model map[string]uint64) {
	got, fresh := map[string]uint64{}, New(Memory{})
	err := m.Each(func(k string, v []byte) error {
		got[k] = types.NewDecoder(v).Uint()
		return fresh.Set(k, v)
	})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(model, got); d != "" {
		t.Fatal(d)
	}
	root, _, err := m.Flush()
	if err != nil {
		t.Fatal(err)
	}
	if want, _, _ := fresh.Flush(); root != want {
		t.Fatalf("root %s, filled afresh %s", root, want)
	}
}

// TestDigit checks our reading of key hashes against the library's: every entry
// of a large map stands where belongs says.
func TestDigit(t *testing.T) {
	mem, root := filled(t, 5000)
	n := 0
	if err := open(t, mem, root).Each(func(string, []byte) error { n++; return nil }); err != nil || n != 5000 {
		t.Fatalf("%d entries, %v", n, err)
	}
	h := binary.BigEndian.AppendUint64(nil, 0xF83E_0000_0000_0001)
	if got := []int{digit(h, 0), digit(h, 1), digit(h, 2)}; !slices.Equal(got, []int{31, 0, 31}) {
		t.Fatal(got)
	}
}
