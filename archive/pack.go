package archive

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"unicode/utf8"

	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/types"
)

// DefaultRangePieces is N of rule G7 on main communities.
const DefaultRangePieces = 256

// Options of packing; the zero value packs for a main community without a name.
type Options struct {
	Name        string         // name of the dataset, at most types.MaxName bytes of UTF-8
	RangePieces int            // N of G7, a power of two from 4 to 256; 0 means 256
	Strict      bool           // the first Warning is an error
	Warn        func(Warning)  // told of each thing that is left out; may be nil
	Progress    func(Progress) // called after each member; may be nil
	Runs        func(Run)      // told, in order and before their first piece, where bytes of files stand as they are; may be nil
}

// Run is bytes of a file that stand in the TGZ as they are (G3).
type Run struct {
	File   *Entry
	At     int64 // in the TGZ
	Offset int64 // in the file
	Size   int64 // bytes, at least 1
}

// Progress says how far packing is.
type Progress struct {
	Name  string // entry at work; hostile text
	Files uint64 // regular files done
	Bytes uint64 // file bytes done
	Size  uint64 // bytes of the dataset so far
}

// Sink receives what a dataset consists of. An error ends packing.
type Sink interface {
	// Piece receives the pieces in order, numbered from 1. data is valid only
	// during the call.
	Piece(number uint32, digest types.Hash, data []byte) error
	// Node receives blocks of the index, the UnixFS file and the range list,
	// children before parents; all after the last piece but for some of UnixFS.
	Node(types.Node) error
}

// Manifest describes a packed dataset: what an attachment needs, and counts for
// people.
type Manifest struct {
	Packer     string
	Name       string
	Size       uint64        // bytes of the TGZ
	Pieces     uint32        // number of pieces
	Index      cid.Cid       // root of the piece index
	UnixFS     cid.Cid       // root of the UnixFS file over the same pieces
	RangesRoot cid.Cid       // first block of the range list
	Ranges     []types.Range // in order
	TOCOffset  int64         // where the table of contents begins
	TOCDigest  types.Hash    // SHA-256 of its JSON
	MediaTypes []string      // at most types.MaxMediaTypes, most bytes first

	Files, Dirs, Symlinks uint64
	Content               uint64 // bytes of all files
	Padding               uint64 // bytes of the TGZ that only align
	Warnings              uint64 // things left out or changed while packing
}

func (o *Options) check() error {
	if len(o.Name) > types.MaxName {
		return fmt.Errorf("dataset name of %d bytes above limit %d", len(o.Name), types.MaxName)
	}
	if !utf8.ValidString(o.Name) || strings.ContainsRune(o.Name, 0) {
		return fmt.Errorf("dataset name %q is not clean UTF-8", o.Name)
	}
	if o.RangePieces == 0 {
		o.RangePieces = DefaultRangePieces
	}
	return nil
}

// Pack turns the folder fsys into a dataset on one core, in memory that does not
// grow with the size of files. Symlinks need an fs.ReadLinkFS. The result
// depends on the folder alone.
func Pack(fsys fs.FS, opts Options, sink Sink) (Manifest, error) {
	a, err := NewAssembler(opts, sink)
	if err != nil {
		return Manifest{}, err
	}
	opts.Warn = a.Warn
	p, err := NewPlanner(fsys, opts)
	if err != nil {
		return Manifest{}, err
	}
	c := NewCompressor(fsys)
	defer c.Close()
	var buf []byte
	for {
		m, err := p.Next()
		if errors.Is(err, io.EOF) {
			return a.Finish()
		}
		if err != nil {
			return Manifest{}, err
		}
		packed, err := c.Compress(buf[:0], m)
		if err != nil {
			return Manifest{}, err
		}
		buf = packed.Bytes
		if err := a.Add(m, packed); err != nil {
			return Manifest{}, err
		}
	}
}
