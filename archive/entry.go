package archive

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"unicode/utf8"
)

// Type says what an entry of the folder is.
type Type uint8

// The kinds of entry that a dataset keeps.
const (
	File    Type = 1
	Dir     Type = 2
	Symlink Type = 3
)

// String gives the type's name in the table of contents.
func (t Type) String() string {
	switch t {
	case File:
		return "reg"
	case Dir:
		return "dir"
	case Symlink:
		return "symlink"
	}
	return fmt.Sprintf("type(%d)", uint8(t))
}

// Limits of an entry.
const (
	// MaxPath is the longest path and the longest target of a symlink in bytes.
	MaxPath = 8192
	// MaxFile is the largest file in bytes: as much as 2^32 pieces hold.
	MaxFile = 1 << 50
)

// Entry is one file, directory or symlink of a dataset.
type Entry struct {
	Name    string      // slash-separated, no leading or trailing slash, valid UTF-8
	Type    Type        //
	Mode    fs.FileMode // permission bits only; 0777 for a symlink
	ModTime int64       // Unix seconds, years 1 to 9999
	Size    int64       // bytes of a file, else 0
	Link    string      // target of a symlink as the folder has it
}

// key is the entry's name in tar, by whose bytes entries are sorted: a
// directory's ends in a slash, so all that it holds follows it at once.
func (e *Entry) key() string {
	if e.Type == Dir {
		return e.Name + "/"
	}
	return e.Name
}

// aligned reports whether the payload starts on a piece boundary (G4).
func (e *Entry) aligned() bool { return e.Type == File && e.Size >= AlignedSize }

// check says why e cannot stand in a table of contents.
func (e *Entry) check() error {
	switch {
	case e.Name == "." || !fs.ValidPath(e.Name) || strings.ContainsRune(e.Name, 0):
		return fmt.Errorf("name %q is not a clean path", e.Name)
	case len(e.Name) > MaxPath:
		return fmt.Errorf("name of %d bytes above limit %d", len(e.Name), MaxPath)
	case e.Mode&^fs.ModePerm != 0:
		return fmt.Errorf("mode %v has more than permission bits", e.Mode)
	case e.ModTime < minTime || e.ModTime > maxTime:
		return fmt.Errorf("time %d outside %d to %d", e.ModTime, int64(minTime), int64(maxTime))
	case e.Size < 0 || e.Size > MaxFile || e.Size > 0 && e.Type != File:
		return fmt.Errorf("%v has size %d, limit %d", e.Type, e.Size, int64(MaxFile))
	case (e.Link != "") != (e.Type == Symlink):
		return fmt.Errorf("%v with link %q", e.Type, e.Link)
	case e.Type != File && e.Type != Dir && e.Type != Symlink:
		return fmt.Errorf("unknown %v", e.Type)
	}
	return checkLinkText(e.Link)
}

func checkLinkText(link string) error {
	switch {
	case len(link) > MaxPath:
		return fmt.Errorf("link of %d bytes above limit %d", len(link), MaxPath)
	case !utf8.ValidString(link):
		return errors.New("link is not UTF-8")
	case strings.ContainsRune(link, 0):
		return errors.New("link holds a zero byte")
	}
	return nil
}

// cleanName makes a foreign tar name safe: relative, no "..", no zero byte. The
// archive's own root gives ".".
func cleanName(name string) (string, error) {
	switch {
	case name == "":
		return "", errors.New("empty name")
	case len(name) > MaxPath:
		return "", fmt.Errorf("name of %d bytes above limit %d", len(name), MaxPath)
	case strings.ContainsRune(name, 0):
		return "", errors.New("name holds a zero byte")
	case strings.HasPrefix(name, "/"):
		return "", errors.New("absolute name")
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", errors.New("name climbs out of the folder")
		}
	}
	return path.Clean(name), nil
}

// LinkLeadsOut reports whether a symlink of that name may point outside the
// folder: its target is absolute, climbs above the top, or climbs after a name
// (which might itself be a link elsewhere).
func LinkLeadsOut(name, target string) bool {
	if target == "" || strings.HasPrefix(target, "/") || strings.ContainsRune(target, 0) {
		return true
	}
	above, named := strings.Count(name, "/"), false
	for part := range strings.SplitSeq(target, "/") {
		switch {
		case part == "" || part == ".":
		case part != "..":
			named = true
		case named || above == 0:
			return true
		default:
			above--
		}
	}
	return false
}
