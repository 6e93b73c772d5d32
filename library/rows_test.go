package library

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/staddle/staddle/types"
)

func exampleHeld() Held {
	return Held{
		Attachment: types.Attachment{
			Index: types.NodeCID([]byte{1}), UnixFS: types.RawCID([]byte{2}), Pieces: 2, Size: types.PieceSize + 1,
			Ranges: types.NodeCID([]byte{3}), RangeCount: 1, Name: "films", MediaTypes: []string{"video/x-matroska"},
			Visibility: types.VisibilityPublic,
		},
		TOC: types.H("toc"), Whole: true, Added: 7, owners: []string{"put/1", "get/2"},
	}
}

func TestRows(t *testing.T) {
	want := exampleHeld()
	var got Held
	ok(t, types.Unmarshal(types.Marshal(&want), &got))
	if d := cmp.Diff(types.Marshal(&want), types.Marshal(&got)); d != "" || got.owners[1] != "get/2" || got.Added != 7 {
		t.Fatalf("%+v %s", got, d)
	}
	j := Leftover{Folder: "/films", Started: 3, owner: "put/9"}
	var again Leftover
	ok(t, types.Unmarshal(types.Marshal(&j), &again))
	if again != j {
		t.Fatalf("%+v", again)
	}
	newer := types.Marshal(&j)
	newer[1] = 2
	if err := types.Unmarshal(newer, &again); err == nil {
		t.Fatal("a row of version 2 is accepted")
	}
}

// TestDamagedRow: a row that is no row, or stands in the wrong place, is an error
// and never a dataset.
func TestDamagedRow(t *testing.T) {
	h := exampleHeld()
	id := h.Attachment.Dataset()
	for name, row := range map[string]types.Row{
		"trailing byte": {Table: tableHeld, Key: string(id[:]), Value: append(types.Marshal(&h), 0)},
		"another key":   {Table: tableHeld, Key: "x", Value: types.Marshal(&h)},
	} {
		s := open(t, t.TempDir(), nil)
		ok(t, s.State.Save(nil, []types.Row{row}))
		if _, err := s.Datasets(); !errors.Is(err, ErrBad) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzHeld(f *testing.F) {
	h := exampleHeld()
	f.Add(types.Marshal(&h))
	f.Add([]byte{0x86, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		var h Held
		if types.Unmarshal(b, &h) == nil && !bytes.Equal(types.Marshal(&h), b) {
			t.Fatalf("%x encodes again as %x", b, types.Marshal(&h))
		}
	})
}

func FuzzLeftover(f *testing.F) {
	f.Add(types.Marshal(&Leftover{Folder: "/x", Started: 1, owner: "put/1"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		var j Leftover
		if types.Unmarshal(b, &j) == nil && !bytes.Equal(types.Marshal(&j), b) {
			t.Fatalf("%x encodes again as %x", b, types.Marshal(&j))
		}
	})
}
