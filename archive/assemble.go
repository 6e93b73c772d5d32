package archive

import (
	"crypto/sha256"
	"fmt"

	"github.com/staddle/staddle/types"
)

// Groups of small entries (G5), in bytes of the TGZ.
const (
	groupLeast = 1 << 20
	groupMost  = 8 << 20
	groupOdds  = 256
)

// groupEnds reports whether a piece boundary comes before the entry of that
// name, when its group already holds held bytes (G5).
func groupEnds(held int64, name string) bool {
	if held < groupLeast {
		return false
	}
	digest := types.Hash(sha256.Sum256([]byte(name)))
	return held >= groupMost || digest.U64()%groupOdds == 0
}

// Assembler joins members into a TGZ, in the Planner's order, and computes
// everything that a Manifest holds. It keeps 32 bytes a piece and the deflated
// table of contents in memory.
type Assembler struct {
	opts   Options
	sink   Sink
	cut    *cutter
	toc    *tocWriter
	ranger *Ranger
	unixfs *UnixFS

	digests  digestList
	offset   int64 // bytes written
	group    int64 // where the open group of small entries began
	payload  int64 // where the payload of the open file began
	media    mediaCount
	manifest Manifest
	scratch  []byte
}

// NewAssembler begins a dataset.
func NewAssembler(opts Options, sink Sink) (*Assembler, error) {
	if err := opts.check(); err != nil {
		return nil, err
	}
	ranger, err := NewRanger(opts.RangePieces)
	if err != nil {
		return nil, err
	}
	a := &Assembler{opts: opts, sink: sink, toc: newTOCWriter(), ranger: ranger, unixfs: NewUnixFS(sink.Node)}
	a.cut = newCutter(a.piece)
	a.manifest = Manifest{Packer: Packer, Name: opts.Name}
	return a, nil
}

// Warn counts a warning of the Planner and passes it on.
func (a *Assembler) Warn(w Warning) {
	a.manifest.Warnings++
	if a.opts.Warn != nil {
		a.opts.Warn(w)
	}
}

// Add takes the next member.
func (a *Assembler) Add(m Member, p Packed) error {
	if p.Changed {
		w := Warning{m.Entry.Name, "became shorter while it was read; zeros stand for the rest"}
		if a.opts.Strict {
			return &w
		}
		a.Warn(w)
	}
	if err := a.align(m); err != nil {
		return err
	}
	at := a.offset
	if m.Stored && !p.Changed {
		a.runs(m)
	}
	if err := a.writeKnown(p.Bytes, p.pieces); err != nil {
		return err
	}
	var err error
	if m.Header {
		err = a.header(m)
	} else {
		err = a.chunk(m, at, p.Digest)
	}
	a.progress(m)
	return err
}

// runs tells where the blocks of a stored member will stand (G3).
func (a *Assembler) runs(m Member) {
	if a.opts.Runs == nil {
		return
	}
	at := a.offset + gzipHead
	for off := int64(0); off < m.Size; off += storedBlock {
		at += blockHead
		a.opts.Runs(Run{File: m.Entry, At: at, Offset: m.Offset + off, Size: min(storedBlock, m.Size-off)})
		at += storedBlock
	}
}

func (a *Assembler) write(p []byte) error { return a.writeKnown(p, nil) }

// writeKnown writes bytes of which the digests of the whole pieces may be known.
func (a *Assembler) writeKnown(p []byte, known []types.Hash) error {
	a.offset += int64(len(p))
	return a.cut.write(p, known)
}

// align writes the padding that must come before m (G4, G5).
func (a *Assembler) align(m Member) error {
	switch {
	case m.Header && !m.Entry.aligned() && groupEnds(a.offset-a.group, m.Entry.Name):
		if err := a.pad(); err != nil {
			return err
		}
		a.group = a.offset
	case !m.Header && m.Offset == 0 && m.Entry.aligned():
		if err := a.pad(); err != nil {
			return err
		}
		a.ranger.FileStart(a.nextPiece())
	}
	return nil
}

// nextPiece is the number of the piece that the next byte falls into.
func (a *Assembler) nextPiece() uint32 { return uint32(a.offset/types.PieceSize) + 1 }

func (a *Assembler) pad() error {
	gap := paddingTo(a.offset)
	a.manifest.Padding += uint64(gap)
	a.scratch = appendPadding(a.scratch[:0], gap)
	return a.write(a.scratch)
}

// header notes an entry; one without payload goes to the table of contents now.
func (a *Assembler) header(m Member) error {
	switch m.Entry.Type {
	case Dir:
		a.manifest.Dirs++
	case Symlink:
		a.manifest.Symlinks++
	default:
		a.manifest.Files++
		a.manifest.Content += uint64(m.Entry.Size)
		a.media[m.media] += uint64(m.Entry.Size)
	}
	if !m.Last {
		return nil
	}
	return a.toc.add(headRecord(m.Entry))
}

// chunk notes a payload member that began at that offset.
func (a *Assembler) chunk(m Member, at int64, digest types.Hash) error {
	if m.Offset == 0 {
		a.payload = at
	}
	if m.Last && m.Entry.aligned() {
		a.ranger.FileEnd(uint32((a.offset-1)/types.PieceSize) + 1)
		a.group = a.offset
	}
	if m.Size == 0 {
		return nil
	}
	r := chunkRecord(m, at, digest)
	if m.Last && !m.Stored {
		r.PackedSize = a.offset - a.payload
	}
	return a.toc.add(r)
}

func (a *Assembler) progress(m Member) {
	if a.opts.Progress == nil {
		return
	}
	left := uint64(max(m.Entry.Size-m.Offset-m.Size, 0))
	files := a.manifest.Files
	if m.Entry.Type == File && !m.Last {
		files--
	}
	a.opts.Progress(Progress{m.Entry.Name, files, a.manifest.Content - left, uint64(a.offset)})
}

// piece receives each cut piece.
func (a *Assembler) piece(number uint32, digest types.Hash, data []byte) error {
	a.digests.add(digest)
	a.ranger.Add(digest)
	if err := a.unixfs.Add(digest, len(data)); err != nil {
		return fmt.Errorf("keep a block of the UnixFS file: %w", err)
	}
	if err := a.sink.Piece(number, digest, data); err != nil {
		return fmt.Errorf("keep piece %d: %w", number, err)
	}
	return nil
}

// Finish writes the table of contents and the footer and computes the roots.
func (a *Assembler) Finish() (out Manifest, err error) {
	m := &a.manifest
	m.TOCOffset = a.offset
	if m.TOCDigest, err = a.toc.finish(a.write); err != nil {
		return out, fmt.Errorf("write the table of contents: %w", err)
	}
	if err := a.write(appendFooter(nil, m.TOCOffset)); err != nil {
		return out, err
	}
	if err := a.cut.flush(); err != nil {
		return out, err
	}
	m.Size, m.Pieces, m.MediaTypes = uint64(a.offset), a.cut.number, a.media.top()
	if m.UnixFS, err = a.unixfs.Root(); err != nil {
		return out, fmt.Errorf("keep a block of the UnixFS file: %w", err)
	}
	m.Ranges = a.ranger.Finish()
	root, nodes := types.RangeBlocks(m.Ranges)
	for m.RangesRoot = root; len(nodes) > 0; nodes = nodes[1:] {
		if err := a.sink.Node(nodes[0]); err != nil {
			return out, fmt.Errorf("keep a block of the range list: %w", err)
		}
	}
	if m.Index, err = BuildIndex(m.Pieces, a.digests.at, a.sink.Node); err != nil {
		return out, fmt.Errorf("build the index: %w", err)
	}
	return *m, nil
}

// digestList keeps digests in parts that are never copied again.
type digestList struct{ parts [][]types.Hash }

const digestPart = 1 << 14

func (l *digestList) add(h types.Hash) {
	last := len(l.parts) - 1
	if last < 0 || len(l.parts[last]) == digestPart {
		l.parts = append(l.parts, make([]types.Hash, 0, digestPart))
		last++
	}
	l.parts[last] = append(l.parts[last], h)
}

// at gives the digest of the piece with that number, from 1.
func (l *digestList) at(number uint32) types.Hash {
	return l.parts[(number-1)/digestPart][(number-1)%digestPart]
}
