package library

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/staddle/staddle/archive"
	"github.com/staddle/staddle/types"
)

// Files of a dataset in a directory that a disk carries (spec/export.md).
const (
	manifestFile = "staddle-export.txt"
	blocksFile   = "blocks.car"
	piecesDir    = "pieces"

	manifestHead = "staddle export 1"
	maxManifest  = 1 << 16
	partPieces   = 4096 // pieces in a file: 1 GiB, which every file system takes
)

// ErrExport marks a directory that holds no whole export.
var ErrExport = errors.New("not a whole export of a dataset")

// manifest is what manifestFile says.
type manifest struct {
	Attachment types.Attachment
	Blocks     int64 // bytes of blocksFile
}

// text is the canonical form: lines, the last with the SHA-256 of those before.
func (m *manifest) text() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\n", manifestHead)
	fmt.Fprintf(&b, "dataset %s\n", Ref{Dataset: m.Attachment.Dataset()})
	fmt.Fprintf(&b, "attachment %x\n", types.Marshal(&m.Attachment))
	fmt.Fprintf(&b, "blocks %d\n", m.Blocks)
	fmt.Fprintf(&b, "sum %x\n", sha256.Sum256(b.Bytes()))
	return b.Bytes()
}

// parseManifest reads the canonical form and no other. Errors wrap ErrExport.
func parseManifest(b []byte) (m manifest, err error) {
	lines := strings.Split(string(b), "\n")
	if lines[0] != manifestHead {
		return m, fmt.Errorf("%w: begins with %.40q, want %q", ErrExport, lines[0], manifestHead)
	}
	if len(lines) != 6 {
		return m, fmt.Errorf("%w: %d lines in %s, want 6", ErrExport, len(lines), manifestFile)
	}
	text, _ := strings.CutPrefix(lines[2], "attachment ")
	raw, err := hex.DecodeString(text)
	if err == nil {
		err = types.Unmarshal(raw, &m.Attachment)
	}
	if err == nil {
		err = m.Attachment.CheckVisibility()
	}
	if err != nil {
		return m, fmt.Errorf("%w: attachment: %w", ErrExport, err)
	}
	text, _ = strings.CutPrefix(lines[3], "blocks ")
	if m.Blocks, err = strconv.ParseInt(text, 10, 64); err != nil {
		return m, fmt.Errorf("%w: blocks: %w", ErrExport, err)
	}
	if m.Blocks < 0 || !bytes.Equal(m.text(), b) {
		return m, fmt.Errorf("%w: the sum of %s does not fit its lines", ErrExport, manifestFile)
	}
	return m, nil
}

// readManifest reads the manifest of a directory.
func readManifest(root *os.Root) (m manifest, err error) {
	f, err := root.Open(manifestFile)
	if err != nil {
		return m, fmt.Errorf("%w: %w", ErrExport, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxManifest+1))
	if err == nil && len(b) > maxManifest {
		err = fmt.Errorf("%s has more than %d bytes", manifestFile, maxManifest)
	}
	if err != nil {
		return m, fmt.Errorf("%w: %w", ErrExport, err)
	}
	return parseManifest(b)
}

// place says where a piece lies: the name of its file, below the directory, and
// its offset.
func place(number uint32) (name string, off int64) {
	part := (number - 1) / partPieces
	return filepath.Join(piecesDir, fmt.Sprintf("%06d", part+1)), int64((number-1)%partPieces) * types.PieceSize
}

// partSize is the length of the file that holds a piece, in bytes.
func partSize(number uint32, size int64) int64 {
	start := int64((number-1)/partPieces) * partPieces * types.PieceSize
	return min(size-start, partPieces*types.PieceSize)
}

// parts keeps one file of pieces open.
type parts struct {
	root *os.Root
	flag int
	name string
	file *os.File
}

// at opens the file of a piece.
func (p *parts) at(number uint32) (*os.File, int64, error) {
	name, off := place(number)
	if name == p.name {
		return p.file, off, nil
	}
	if err := p.close(); err != nil {
		return nil, 0, err
	}
	f, err := p.root.OpenFile(name, p.flag, 0o644)
	if err != nil {
		return nil, 0, err
	}
	p.name, p.file = name, f
	return f, off, nil
}

// close makes what was written durable.
func (p *parts) close() error {
	if p.file == nil {
		return nil
	}
	f := p.file
	p.file, p.name = nil, ""
	if p.flag == os.O_RDONLY {
		return f.Close()
	}
	return errors.Join(f.Sync(), f.Close())
}

// read gives a piece that is whole in its file; an error when it is not.
func (p *parts) read(number uint32, length int64, digest types.Hash) ([]byte, error) {
	f, off, err := p.at(number)
	if err != nil {
		return nil, err
	}
	b := make([]byte, length)
	if _, err := f.ReadAt(b, off); err != nil {
		return nil, fmt.Errorf("piece %d in %s: %w", number, p.name, err)
	}
	if got := archive.PieceDigest(b); got != digest {
		return nil, &BadError{fmt.Sprintf("piece %d in %s", number, p.name), fmt.Errorf("hashes to %s, want %s", got.Short(), digest.Short())}
	}
	return b, nil
}
