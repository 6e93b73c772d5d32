package archive

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/staddle/staddle/types"
)

// TestSameBytes: order of listing, owners of workers and number of cores do not
// show. Members are made by three compressors, last first.
func TestSameBytes(t *testing.T) {
	fsys := folder(mixed()...)
	want, sink := mixedSet()
	p, err := NewPlanner(fsys, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var members []Member
	for {
		m, err := p.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		members = append(members, m)
	}
	workers := []*Compressor{NewCompressor(fsys), NewCompressor(plainFS{fsys.(memFS)}), NewCompressor(fsys)}
	packed := make([]Packed, len(members))
	for i := len(members) - 1; i >= 0; i-- {
		if packed[i], err = workers[i%3].Compress(nil, members[i]); err != nil {
			t.Fatal(err)
		}
	}
	again := new(memory)
	a, err := NewAssembler(Options{}, again)
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range members {
		if err := a.Add(m, packed[i]); err != nil {
			t.Fatal(err)
		}
	}
	got, err := a.Finish()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(sameCID)); diff != "" {
		t.Errorf("another dataset (-want +got)\n%s", diff)
	}
	if !slices.Equal(sink.tgz, again.tgz) {
		t.Error("other bytes")
	}
	var names []string
	for e := range open(t, sink.tgz).All() {
		names = append(names, e.key())
	}
	if !slices.IsSorted(names) || len(names) != int(want.Files+want.Dirs+want.Symlinks) {
		t.Errorf("%d entries, sorted: %v", len(names), slices.IsSorted(names))
	}
}

// TestRenameFilm: renaming a film changes at most two pieces.
func TestRenameFilm(t *testing.T) {
	base := []file{
		{name: "films/a.mp4", data: noise(1, 9_000_000)},
		{name: "films/b.mp4", data: noise(2, 6_000_000)},
		{name: "films/c.mp4", data: noise(3, 5_000_000)},
		{name: "notes", data: prose(1, 2000)},
	}
	_, before := pack(t, folder(base...), Options{})
	for _, name := range []string{"films/b-renamed.mp4", "films/b" + fmt.Sprint(noise(1, 60)) + ".mp4"} {
		renamed := slices.Clone(base)
		renamed[1].name = name
		_, after := pack(t, folder(renamed...), Options{})
		if n := after.newPieces(before); n > 2 {
			t.Errorf("renamed to a name of %d bytes: %d of %d pieces are new, want at most 2", len(name), n, len(after.pieces))
		}
	}
}

// documents are many small files whose sizes vary as those of texts do.
func documents(n int) []file {
	var files []file
	for i := range n {
		files = append(files, file{
			name: fmt.Sprintf("y%d/m%02d/doc-%06d.txt", i/10000, i/500%20, i),
			data: noise(uint64(i)+1, 8_000+int(noise(uint64(i), 1)[0])*64),
		})
	}
	return files
}

// TestEditsInSmallFiles: 20 edits in 200,000 files keep at least 95 % of the
// pieces, scaled to 2 in 6,000 (a harder ratio); padding takes at most 4 %.
func TestEditsInSmallFiles(t *testing.T) {
	files := documents(6_000)
	m, before := packStored(t, folder(files...))
	if m.Padding*100 > m.Size*4 {
		t.Errorf("%d of %d bytes are padding, want at most 4 %%", m.Padding, m.Size)
	}
	edited := slices.Clone(files)
	edited[1234].data = append(slices.Clone(edited[1234].data), "one line more\n"...)
	edited[4777].data = edited[4777].data[100:]
	_, after := packStored(t, folder(edited...))
	kept := len(after.pieces) - after.newPieces(before)
	t.Logf("%d of %d pieces kept, padding %d of %d bytes", kept, len(after.pieces), m.Padding, m.Size)
	if kept*100 < len(after.pieces)*95 {
		t.Errorf("%d of %d pieces kept, want 95 %%", kept, len(after.pieces))
	}
	t.Run("a file less", func(t *testing.T) {
		_, after := packStored(t, folder(slices.Delete(slices.Clone(files), 3000, 3001)...))
		if kept := len(after.pieces) - after.newPieces(before); kept*100 < len(after.pieces)*90 {
			t.Errorf("%d of %d pieces kept, want 90 %%", kept, len(after.pieces))
		}
	})
}

// TestBadFolders: what cannot be kept is named once and left out, or an error.
func TestBadFolders(t *testing.T) {
	good := file{name: "good", data: []byte("x")}
	for _, c := range []struct {
		name string
		bad  file
		kept bool
		want string
	}{
		{"unreadable file", file{name: "bad", data: []byte("x"), mode: 0o200}, false, "cannot be opened: permission denied"},
		{"unreadable directory", file{name: "bad", dir: true, mode: 0o300}, true, "the directory cannot be read: permission denied"},
		{"device", file{name: "bad", mode: fs.ModeDevice | 0o600}, false, "is a device"},
		{"socket", file{name: "bad", mode: fs.ModeSocket | 0o600}, false, "is a socket"},
		{"pipe", file{name: "bad", mode: fs.ModeNamedPipe | 0o600}, false, "is a named pipe"},
		{"not UTF-8", file{name: "b\xffd", data: []byte("x")}, false, "the name is not UTF-8"},
		{"link out", file{name: "bad", link: "../out"}, true, `links to "../out", outside the folder; kept as a link, not made when unpacking`},
		{"absolute link", file{name: "bad", link: "/etc/passwd"}, true, `links to "/etc/passwd", outside the folder; kept as a link, not made when unpacking`},
		{"link not UTF-8", file{name: "bad", link: "b\xffd"}, false, "link is not UTF-8"},
		{"long path", file{name: longPath(), data: []byte("x")}, false, "name of 8209 bytes above limit 8192"},
	} {
		t.Run(c.name, func(t *testing.T) {
			fsys := folder(good, c.bad)
			var got []Warning
			m, sink := pack(t, fsys, Options{Warn: func(w Warning) { got = append(got, w) }})
			if diff := cmp.Diff([]Warning{{c.bad.name, c.want}}, got); diff != "" || m.Warnings != 1 {
				t.Errorf("%d warnings (-want +got)\n%s", m.Warnings, diff)
			}
			r := open(t, sink.tgz)
			if _, err := r.Stat("good"); err != nil {
				t.Error(err)
			}
			if _, err := r.Stat(c.bad.name); (err == nil) != c.kept {
				t.Errorf("kept: %v, want %v", err == nil, c.kept)
			}
			var w *Warning
			if _, err := Pack(fsys, Options{Strict: true}, new(memory)); !errors.As(err, &w) || w.Reason != c.want {
				t.Errorf("strict: %v", err)
			}
		})
	}
}

func longPath() string {
	return strings.Repeat(strings.Repeat("x", 199)+"/", 40) + strings.Repeat("y", 209)
}

// shrinking is a folder whose large files lose bytes after they are planned.
type shrinking struct{ memFS }

func (s shrinking) Open(name string) (fs.File, error) {
	f, err := s.memFS.Open(name)
	if m, ok := f.(*memFile); ok && err == nil {
		short := *m.n
		short.data = short.data[:len(short.data)*2/3]
		return &memFile{m.n, m.r}, s.swap(name, &short)
	}
	return f, err
}

// swap makes the next Open see the shorter file.
func (s shrinking) swap(name string, n *memNode) error {
	s.nodes[name] = n
	return nil
}

func TestShrinkingFile(t *testing.T) {
	big := noise(1, 3*StoredChunk)
	fsys := shrinking{memFS{build([]file{{name: "big", data: big}, {name: "small", data: []byte("still whole")}})}}
	var got []Warning
	_, sink := pack(t, fsys, Options{Warn: func(w Warning) { got = append(got, w) }})
	if len(got) == 0 || got[0].Path != "big" {
		t.Errorf("warnings %v, want one about the big file", got)
	}
	r := open(t, sink.tgz)
	for name, size := range map[string]int64{"big": int64(len(big)), "small": 11} {
		if e, err := r.Stat(name); err != nil || e.Size != size {
			t.Errorf("%q has %d bytes, want %d (%v)", name, e.Size, size, err)
		}
	}
}

var errFull = errors.New("disk full")

// failing is a Sink that is full after so many pieces or blocks.
type failing struct{ pieces, nodes int }

func (f *failing) Piece(uint32, types.Hash, []byte) error { f.pieces--; return f.full(f.pieces) }
func (f *failing) Node(types.Node) error                  { f.nodes--; return f.full(f.nodes) }

func (f *failing) full(left int) error {
	if left < 0 {
		return errFull
	}
	return nil
}

// TestFullDisk: the sink's error comes through, whatever was to be written.
func TestFullDisk(t *testing.T) {
	fsys := folder(file{name: "film", data: noise(1, 6_000_000)})
	m, sink := pack(t, fsys, Options{})
	for left := range int(m.Pieces) + 1 {
		f := &failing{left, 1 << 20}
		if _, err := Pack(fsys, Options{}, f); errors.Is(err, errFull) != (left < int(m.Pieces)) {
			t.Errorf("full after %d of %d pieces: %v", left, m.Pieces, err)
		}
	}
	for left := range len(sink.order) + 1 {
		f := &failing{1 << 20, left}
		if _, err := Pack(fsys, Options{}, f); errors.Is(err, errFull) != (left < len(sink.order)) {
			t.Errorf("full after %d of %d blocks: %v", left, len(sink.order), err)
		}
	}
}

func TestProgress(t *testing.T) {
	var last Progress
	m, _ := pack(t, folder(mixed()...), Options{Progress: func(p Progress) {
		if p.Bytes < last.Bytes || p.Files < last.Files || p.Size < last.Size {
			t.Errorf("progress goes back from %+v to %+v", last, p)
		}
		last = p
	}})
	if last.Files != m.Files || last.Bytes != m.Content {
		t.Errorf("progress ends at %+v, the dataset has %d files of %d bytes", last, m.Files, m.Content)
	}
}
