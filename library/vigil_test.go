package library

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/staddle/staddle/types"
)

// TestVigil: a folder is put at once, then when it has changed and been quiet.
func TestVigil(t *testing.T) {
	t.Parallel()
	v := Vigil{Settle: 10 * time.Second}
	start := time.Unix(1_790_000_000, 0)
	for i, step := range []struct {
		at   int // seconds
		look byte
		due  bool
		fail bool
	}{
		{0, 1, true, false},
		{1, 1, false, false},
		{60, 1, false, false},
		{61, 2, false, false},
		{65, 3, false, false},
		{74, 3, false, false},
		{75, 3, true, false},
		{76, 3, false, false},
		{80, 4, false, false},
		{85, 3, false, false},
		{99, 3, false, false}, // as it was put
		{100, 5, false, false},
		{110, 5, true, true},
		{111, 5, false, false},
		{139, 5, false, false},
		{140, 5, true, false},
		{141, 5, false, false},
	} {
		now := start.Add(time.Duration(step.at) * time.Second)
		due := v.Due(now, Glance{step.look})
		if due != step.due {
			t.Fatalf("step %d, %d s: due %v", i, step.at, due)
		}
		switch {
		case step.fail:
			v.Failed(now, 30*time.Second)
		case due:
			v.Done(Glance{step.look})
		}
	}
}

// TestLook: what changes a dataset changes the look of its folder, and reading it
// does not.
func TestLook(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	plant(t, folder)
	look := func() Glance {
		g, err := Look(folder)
		ok(t, err)
		return g
	}
	last := look()
	if look() != last {
		t.Fatal("it looks another at the second look")
	}
	now := time.Unix(1_700_000_000, 0)
	for what, do := range map[string]func() error{
		"new file": func() error { return os.WriteFile(filepath.Join(folder, "new"), nil, 0o600) },
		"longer":   func() error { return os.WriteFile(filepath.Join(folder, "void"), []byte("x"), 0o600) },
		"touched":  func() error { return os.Chtimes(filepath.Join(folder, "book.txt"), now, now) },
		"mode":     func() error { return os.Chmod(filepath.Join(folder, "book.txt"), 0o400) },
		"renamed":  func() error { return os.Rename(filepath.Join(folder, "film.mkv"), filepath.Join(folder, "movie.mkv")) },
		"gone":     func() error { return os.Remove(filepath.Join(folder, "bin/link")) },
	} {
		ok(t, do())
		if g := look(); g == last {
			t.Errorf("%s: looks the same", what)
		} else {
			last = g
		}
	}
	if _, err := Look(filepath.Join(folder, "absent")); err == nil {
		t.Error("a folder that is not there has a look")
	}
}

// TestGuard: a guarded put stops when more than 30 % of the files are gone, a
// plain one confirms it.
func TestGuard(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	for i := range 10 {
		ok(t, os.WriteFile(filepath.Join(folder, fmt.Sprint(i)), noise(uint64(i), 1000), 0o600))
	}
	s := open(t, t.TempDir(), nil)
	guarded := public
	guarded.Guard = true
	put := func(o PutOptions) error {
		_, err := s.Put(t.Context(), folder, o, Watch{})
		return err
	}
	remove := func(names ...string) {
		for _, n := range names {
			ok(t, os.Remove(filepath.Join(folder, n)))
		}
	}
	ok(t, put(guarded)) // nothing to compare with
	remove("0", "1", "2")
	ok(t, put(guarded)) // 30 %
	remove("3", "4", "5")
	err := put(guarded)
	wantIs(t, err, ErrVanished)
	if want := (&Vanished{Gone: 3, Of: 7}).Error(); err.Error() != want {
		t.Fatalf("%v, want %s", err, want)
	}
	if list, err := s.Versions(folder, filepath.Base(folder)); err != nil || len(list) != 2 {
		t.Fatalf("%d versions, %v", len(list), err)
	}
	ok(t, put(public))
	ok(t, put(guarded))
}

func TestParseKeep(t *testing.T) {
	for _, s := range []string{"", "daily:7", "daily:7,weekly:5", "hourly:24, daily:1,weekly:2,monthly:12,yearly:10000"} {
		if _, err := ParseKeep(s); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
	for _, s := range []string{"daily", "daily:", "daily:0", "daily:-1", "daily:10001", "fortnightly:2", "daily:1,daily:2", ",", "daily:7,"} {
		if _, err := ParseKeep(s); err == nil {
			t.Errorf("%q is accepted", s)
		}
	}
}

// TestStays: of each period the newest, and always the newest of all.
func TestStays(t *testing.T) {
	zone := time.FixedZone("", 2*3600)
	at := []string{
		"2026-09-30 23:00", "2026-10-01 01:00", "2026-11-01 12:00", "2026-11-14 12:00", "2026-11-16 08:00",
		"2026-11-16 21:00", "2026-11-17 00:30", "2026-11-19 09:00", "2026-11-19 09:59", "2026-11-19 10:00",
	}
	var list []Version
	for _, s := range at {
		when, err := time.ParseInLocation("2006-01-02 15:04", s, zone)
		ok(t, err)
		list = append(list, Version{Added: types.Millis(when.UnixMilli())})
	}
	for keep, want := range map[string][]int{
		"":                   {0, 1, 2, 3, 4, 5, 6, 7, 8, 9},
		"daily:1":            {9},
		"daily:3":            {5, 6, 9},
		"weekly:2":           {3, 9},
		"daily:2,weekly:5":   {1, 2, 3, 6, 9},
		"monthly:2,hourly:2": {1, 8, 9},
		"yearly:5":           {9},
	} {
		k, err := ParseKeep(keep)
		ok(t, err)
		var got []int
		for i, stays := range k.stays(list, zone) {
			if stays {
				got = append(got, i)
			}
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%q: %s", keep, d)
		}
	}
}

// TestRetain: versions go as with Remove, but for bound ones, those of other
// folders and the newest.
func TestRetain(t *testing.T) {
	t.Parallel()
	folder, other := t.TempDir(), t.TempDir()
	s := open(t, t.TempDir(), nil)
	name := PutOptions{Name: "notes", Visibility: types.VisibilityPublic, RangePieces: 4}
	day := types.Millis(24 * 3600 * 1000)
	var ids []types.DatasetID
	put := func(dir string) types.DatasetID {
		p, err := s.Put(t.Context(), dir, name, Watch{})
		ok(t, err)
		return p.Attachment.Dataset()
	}
	for i := range 6 {
		ok(t, os.WriteFile(filepath.Join(folder, "note"), noise(uint64(i), 100_000), 0o600))
		ids = append(ids, put(folder))
		s.clock.Add(int64(day / 2))
		if i == 1 {
			ok(t, os.CopyFS(filepath.Join(other, "x"), os.DirFS(folder)))
			ok(t, os.Chtimes(filepath.Join(other, "x/note"), time.Unix(1, 0), time.Unix(1, 0)))
			put(filepath.Join(other, "x"))
		}
	}
	keep, err := ParseKeep("daily:1")
	ok(t, err)
	gone, err := s.Retain(Retaining{
		Folder: folder, Name: "notes", Keep: keep, Zone: time.UTC,
		Bound: func(id types.DatasetID) (bool, error) { return id == ids[2], nil },
	})
	ok(t, err)
	var left []types.DatasetID
	list, err := s.Versions(folder, "notes")
	ok(t, err)
	for _, v := range list {
		left = append(left, v.Dataset)
		wholeHere(t, s, Ref{Dataset: v.Dataset})
	}
	if d := cmp.Diff([]types.DatasetID{ids[2], ids[5]}, left); d != "" || len(gone) != 4 {
		t.Fatalf("%d gone, left %s", len(gone), d)
	}
	if all, err := s.Datasets(); err != nil || len(all) != 3 {
		t.Fatalf("%d datasets, %v", len(all), err)
	}
}
