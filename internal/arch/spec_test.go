package arch

import (
	"path/filepath"
	"slices"
	"testing"
)

func TestSpecIndexIsWhole(t *testing.T) {
	unlisted, absent, err := SpecIndex(filepath.Join("..", "..", "spec"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range unlisted {
		t.Errorf("spec/README.md does not list %s", name)
	}
	for _, name := range absent {
		t.Errorf("spec/README.md links to %s, which is not there", name)
	}
}

func TestSpecIndex(t *testing.T) {
	dir := t.TempDir()
	plant(t, dir, "README.md", "[a](a.md) [v](vectors/a.json) [gone](gone.md) [web](https://example.org/x)")
	plant(t, dir, "a.md", "")
	plant(t, dir, "b.md", "")
	plant(t, dir, "vectors/a.json", "")
	plant(t, dir, "vectors/b.txt", "")
	unlisted, absent, err := SpecIndex(dir)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"b.md", "vectors/b.txt"}; !slices.Equal(unlisted, want) {
		t.Errorf("unlisted %q, want %q", unlisted, want)
	}
	if want := []string{"gone.md"}; !slices.Equal(absent, want) {
		t.Errorf("absent %q, want %q", absent, want)
	}
	if _, _, err := SpecIndex(t.TempDir()); err == nil {
		t.Error("no error for a directory without an index")
	}
}
