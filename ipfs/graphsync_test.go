package ipfs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/ipld/go-ipld-prime/codec/dagjson"
	"github.com/ipld/go-ipld-prime/datamodel"
	"github.com/ipld/go-ipld-prime/node/basicnode"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/staddle/staddle/types"
)

// graph opens graphsync on a host of its own.
func graph(t testing.TB, b Blocks) *GraphSync {
	t.Helper()
	g := OpenGraphSync(station(t), b)
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	return g
}

func TestGraphSyncAll(t *testing.T) {
	s, back := newShelf(), newShelf()
	root := folder(t, s)
	server, client := graph(t, s), graph(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	done, err := client.Fetch(ctx, at(server.host), root, SelectAll(), back)
	if err != nil || !slices.Equal(back.hashes(), s.hashes()) {
		t.Fatalf("%+v of %d blocks: %v", done, len(s.blocks), err)
	}
	if again, err := client.Fetch(ctx, at(server.host), root, SelectAll(), back); err != nil {
		t.Fatalf("again: %+v, %v", again, err)
	}
}

// Pieces [a, b) of a dataset come with the blocks above them, and no others.
func TestGraphSyncPieces(t *testing.T) {
	const size = 64
	s := newShelf()
	total := unixfsWidth*2 + 30
	data := noise("dataset", total*size-5)
	root := s.file(t, data, size)
	server, client := graph(t, s), graph(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	for _, r := range [][2]int{{0, 1}, {0, total}, {total - 1, total}, {100, 200}, {170, 174}, {174, 348}, {1, 349}, {200, total}} {
		t.Run(fmt.Sprint(r), func(t *testing.T) {
			selector, err := SelectPieces(int64(r[0]), int64(r[1]), int64(total))
			if err != nil {
				t.Fatal(err)
			}
			back := newShelf()
			if _, err := client.Fetch(ctx, at(server.host), root, selector, back); err != nil {
				t.Fatal(err)
			}
			leaves := map[string]bool{}
			for i := range total {
				c := types.RawCID(data[i*size : min((i+1)*size, len(data))])
				if held, _ := back.Has(ctx, c); held != (i >= r[0] && i < r[1]) {
					t.Errorf("piece %d held: %v", i, held)
				}
				leaves[string(c.Hash())] = true
			}
			inner := 0
			for _, h := range back.hashes() {
				if !leaves[h] {
					inner++
				}
			}
			if want := 1 + (r[1]-1)/unixfsWidth - r[0]/unixfsWidth + 1; inner != want {
				t.Errorf("%d inner blocks, want %d", inner, want)
			}
		})
	}
}

func TestGraphSyncRefuses(t *testing.T) {
	s, back := newShelf(), newShelf()
	root := folder(t, s)
	private := s.raw([]byte("private"))
	serve := only{}
	for _, h := range s.hashes() {
		serve[h] = h != string(private.Hash())
	}
	server, client, closed := graph(t, Public(s, serve)), graph(t, nil), graph(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	tests := map[string]struct {
		from     peer.AddrInfo
		root     cid.Cid
		selector datamodel.Node
	}{
		"private":        {at(server.host), private, SelectAll()},
		"not held":       {at(server.host), types.RawCID([]byte("none")), SelectAll()},
		"serves nothing": {at(closed.host), root, SelectAll()},
		"no limit":       {at(server.host), root, parsed(t, `{"R":{"l":{"none":{}},":>":{"a":{">":{"@":{}}}}}}`)},
		"range bomb":     {at(server.host), root, parsed(t, `{"f":{"f>":{"Links":{"r":{"^":0,"$":99999,">":{".":{}}}}}}}`)},
		"nobody":         {peer.AddrInfo{ID: station(t).ID()}, root, SelectAll()},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if done, err := client.Fetch(ctx, tt.from, tt.root, tt.selector, back); err == nil || done.Blocks > 0 || ctx.Err() != nil {
				t.Errorf("%+v, %v", done, err)
			}
		})
	}
	full := errors.New("disk full")
	if _, err := client.Fetch(ctx, at(server.host), root, SelectAll(), failing{back, full}); err == nil || ctx.Err() != nil {
		t.Errorf("full disk: %v", err)
	}
}

// failing is a store that takes nothing.
type failing struct {
	*shelf
	err error
}

func (f failing) Put(context.Context, cid.Cid, []byte) error { return f.err }

func parsed(t testing.TB, text string) datamodel.Node {
	t.Helper()
	b := basicnode.Prototype.Any.NewBuilder()
	if err := dagjson.Decode(b, strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	return b.Build()
}

func TestCheckSelector(t *testing.T) {
	pieces, err := SelectPieces(1000, 1<<31, 1<<32)
	if err != nil {
		t.Fatal(err)
	}
	for name, n := range map[string]datamodel.Node{
		"all": SelectAll(), "pieces": pieces, "matcher": parsed(t, `{".":{}}`),
		"subset": parsed(t, `{".":{"subset":{"[":0,"]":10}}}`),
		"index":  parsed(t, `{"i":{"i":3,">":{".":{}}}}`),
		"fields": parsed(t, `{"f":{"f>":{"a":{".":{}},"b":{"a":{">":{".":{}}}}}}}`),
		"union":  parsed(t, `{"R":{"l":{"depth":5},":>":{"|":[{".":{}},{"a":{">":{"@":{}}}}]}}}`),
	} {
		if err := CheckSelector(n); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	deep := strings.Repeat(`{"a":{">":`, 70) + `{".":{}}` + strings.Repeat(`}}`, 70)
	wide := `{"|":[` + strings.Repeat(`{".":{}},`, 1000) + `{".":{}}]}`
	wideRanges := `{"|":[` + strings.Repeat(`{"r":{"^":0,"$":8192,">":{".":{}}}},`, 20) + `{".":{}}]}`
	for name, tt := range map[string]struct{ text, want string }{
		"no limit":       {`{"R":{"l":{"none":{}},":>":{"a":{">":{"@":{}}}}}}`, "recursion without a depth"},
		"too deep":       {`{"R":{"l":{"depth":101},":>":{"@":{}}}}`, "recursion of 101 levels, at most 100"},
		"negative depth": {`{"R":{"l":{"depth":-1},":>":{"@":{}}}}`, "recursion of -1 levels"},
		"stop":           {`{"R":{"l":{"depth":1},":>":{"@":{}},"!":{"/":{}}}}`, "other fields"},
		"doubling":       {`{"R":{"l":{"depth":50},":>":{"a":{">":{"|":[{"@":{}},{"@":{}}]}}}}}`, "two parts of a union recurse"},
		"nested":         {`{"R":{"l":{"depth":5},":>":{"|":[{"a":{">":{"@":{}}}},{"R":{"l":{"depth":5},":>":{"a":{">":{"@":{}}}}}}]}}}`, "recursion inside a recursion"},
		"long range":     {`{"r":{"^":0,"$":8193,">":{".":{}}}}`, "range 0 to 8193"},
		"huge range":     {`{"r":{"^":0,"$":9223372036854775807,">":{".":{}}}}`, "range 0 to 9223372036854775807"},
		"empty range":    {`{"r":{"^":5,"$":5,">":{".":{}}}}`, "range 5 to 5"},
		"many ranges":    {wideRanges, "too many entries together"},
		"nesting":        {deep, "more than 64 levels"},
		"many parts":     {wide, "more than 1000 parts"},
		"condition":      {`{"&":{"&":{},">":{".":{}}}}`, "is not known"},
		"interpret as":   {`{"~":{"as":"unixfs",">":{".":{}}}}`, "is not known"},
		"two kinds":      {`{".":{},"@":{}}`, "want a map of one entry"},
		"a number":       {`5`, "want a map of one entry"},
		"union of map":   {`{"|":{}}`, "union is no list"},
		"fields of list": {`{"f":{"f>":[]}}`, "fields are no map"},
		"all of nothing": {`{"a":{}}`, "key not found"},
		"all of number":  {`{"a":3}`, ""},
		"limit is text":  {`{"R":{"l":"x",":>":{"@":{}}}}`, "recursion without a depth"},
	} {
		if err := CheckSelector(parsed(t, tt.text)); !errors.Is(err, ErrSelector) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
	if err := CheckSelector(nil); !errors.Is(err, ErrSelector) {
		t.Errorf("nothing: %v", err)
	}
}

func TestSelectPiecesRefuses(t *testing.T) {
	for _, r := range [][3]int64{{-1, 1, 5}, {3, 3, 5}, {4, 3, 5}, {0, 6, 5}, {0, 1, 1<<32 + 1}, {0, 0, 0}} {
		if n, err := SelectPieces(r[0], r[1], r[2]); err == nil {
			t.Errorf("%v: %v", r, n)
		}
	}
}

func FuzzCheckSelector(f *testing.F) {
	f.Add(`{"R":{"l":{"depth":5},":>":{"|":[{".":{}},{"a":{">":{"@":{}}}}]}}}`)
	f.Fuzz(func(_ *testing.T, text string) {
		b := basicnode.Prototype.Any.NewBuilder()
		if err := dagjson.Decode(b, strings.NewReader(text)); err == nil {
			_ = CheckSelector(b.Build())
		}
	})
}
