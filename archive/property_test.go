package archive

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// drawFolder draws a folder of files, links and empty directories.
func drawFolder(t *rapid.T) []file {
	part := rapid.OneOf(
		rapid.StringMatching(`[a-c]{1,2}(\.[a-c])?`), rapid.SampledFrom([]string{"-", "é", "日本", "a b", "\n", "..a", "A", "~", "0", "very-long-" + fmt.Sprint(noise(1, 40))}),
	)
	kinds := map[string]bool{"": true} // directory or not, for the paths above
	var files []file
	for range rapid.IntRange(0, 12).Draw(t, "entries") {
		name, parts := "", rapid.IntRange(1, 4).Draw(t, "depth")
		for i := range parts {
			if name != "" {
				name += "/"
			}
			name += part.Draw(t, "part")
			isDir, known := kinds[name]
			if known && (!isDir || i == parts-1) {
				name = ""
				break
			}
			kinds[name] = i < parts-1
		}
		if name == "" {
			continue
		}
		f := file{name: name, time: rapid.Int64Range(1, 1<<33).Draw(t, "time")}
		f.mode = rapid.SampledFrom([]fs.FileMode{0o600, 0o644, 0o755, 0o400, 0o777}).Draw(t, "mode")
		switch rapid.IntRange(0, 9).Draw(t, "kind") {
		case 0:
			f.dir, f.mode, kinds[name] = true, 0o700, true
		case 1:
			f.link = rapid.SampledFrom([]string{"a", "a/b/c", "./x", "日本"}).Draw(t, "link")
		case 2:
			f.data = noise(rapid.Uint64().Draw(t, "seed"), rapid.IntRange(60_000, 80_000).Draw(t, "noise"))
		default:
			f.data = prose(rapid.Uint64().Draw(t, "seed"), rapid.IntRange(0, 2000).Draw(t, "prose"))
		}
		files = append(files, f)
	}
	return files
}

// TestRandomFolders: pack, then unpack both ways: the same folder.
func TestRandomFolders(t *testing.T) {
	top, round := t.TempDir(), 0
	rapid.Check(t, func(r *rapid.T) {
		fsys := folder(drawFolder(r)...)
		_, sink := pack(t, fsys, Options{Strict: true})
		_, again := pack(t, fsys, Options{})
		if !bytes.Equal(sink.tgz, again.tgz) {
			r.Fatal("packed twice, other bytes")
		}
		want := tree(t, fsys)
		warn := UnpackOptions{Warn: func(w Warning) { r.Errorf("warning: %v", &w) }}
		for _, unpack := range []func(Target) (Unpacked, error){
			func(to Target) (Unpacked, error) { return Unpack(bytes.NewReader(sink.tgz), to, warn) },
			func(to Target) (Unpacked, error) { return open(t, sink.tgz).UnpackTo(to, warn) },
		} {
			round++
			dir := filepath.Join(top, strconv.Itoa(round))
			if err := os.Mkdir(dir, 0o700); err != nil {
				r.Fatal(err)
			}
			_, err := unpack(newDiskTarget(t, dir))
			diff := cmp.Diff(want, tree(t, os.DirFS(dir)))
			if err != nil || diff != "" {
				r.Fatalf("%v (-want +got)\n%s", err, diff)
			}
		}
	})
}

func TestDates(t *testing.T) {
	for unix, want := range map[int64]string{
		0: "1970-01-01T00:00:00Z", -1: "1969-12-31T23:59:59Z", minTime: "0001-01-01T00:00:00Z", maxTime: "9999-12-31T23:59:59Z",
		951782400: "2000-02-29T00:00:00Z", 1_790_000_000: "2026-09-21T14:13:20Z", -2203891200: "1900-03-01T00:00:00Z",
	} {
		if got := formatDate(unix); got != want {
			t.Errorf("%d is %s, want %s", unix, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		unix := rapid.Int64Range(minTime, maxTime).Draw(t, "unix")
		if got, err := parseDate(formatDate(unix)); err != nil || got != unix {
			t.Fatalf("%d comes back as %d (%v)", unix, got, err)
		}
	})
	for _, bad := range []string{"", "2026-11-20T08:00:00+", "2026-11-31T08:00:00Z", "2026-13-20T08:00:00Z", "2026-11-20T24:00:00Z", "2026-11-20 08:00:00Z", "0000-01-01T00:00:00Z", "2026-11-20T08:0x:00Z"} {
		if _, err := parseDate(bad); err == nil {
			t.Errorf("%q accepted", bad)
		}
	}
}

func TestJoinCRC(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.SliceOf(rapid.Byte()).Draw(t, "a"), rapid.SliceOf(rapid.Byte()).Draw(t, "b")
		if got, want := joinCRC(crcOf(a), crcOf(b), int64(len(b))), crcOf(append(bytes.Clone(a), b...)); got != want {
			t.Fatalf("%08x, want %08x", got, want)
		}
	})
}
