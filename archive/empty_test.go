package archive

import (
	"bytes"
	"testing"
	"testing/fstest"
)

// TestEmptyBeforeLarge packs a large file right after an empty one: nothing of
// the empty one may be taken for the large one's bytes.
func TestEmptyBeforeLarge(t *testing.T) {
	folder := fstest.MapFS{
		"a": {Data: nil},
		"b": {Data: bytes.Repeat([]byte("not a small file "), 1<<18)},
	}
	m, err := Pack(folder, Options{Name: "folder"}, discard{})
	if err != nil {
		t.Fatal(err)
	}
	if m.Files != 2 || m.Content != uint64(len(folder["b"].Data)) {
		t.Errorf("%d files of %d bytes, want 2 of %d", m.Files, m.Content, len(folder["b"].Data))
	}
}
