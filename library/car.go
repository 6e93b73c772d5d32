package library

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/types"
)

// maxCARBlock bounds a block in an export; those of index, ranges and UnixFS files
// are far smaller.
const maxCARBlock = 1 << 20

const cidBytes = 36 // of the CIDs that are read here

// carHeader is the header of a CARv1 with one root.
func carHeader(root cid.Cid) []byte {
	var e types.Encoder
	e.Raw([]byte{0xa2}) // {"roots": [root], "version": 1}
	e.Text("roots")
	e.Array(1)
	e.Link(root)
	e.Text("version")
	e.Uint(1)
	return append(binary.AppendUvarint(nil, uint64(len(e.Data()))), e.Data()...)
}

// carWriter writes each block once.
type carWriter struct {
	w    *bufio.Writer
	size int64
	seen map[cid.Cid]struct{}
}

func newCARWriter(w io.Writer, root cid.Cid) (*carWriter, error) {
	c := &carWriter{w: bufio.NewWriterSize(w, 1<<20), seen: map[cid.Cid]struct{}{}}
	return c, c.write(carHeader(root))
}

func (c *carWriter) write(b []byte) error {
	c.size += int64(len(b))
	_, err := c.w.Write(b)
	return err
}

func (c *carWriter) add(n types.Node) error {
	if _, known := c.seen[n.CID]; known {
		return nil
	}
	c.seen[n.CID] = struct{}{}
	head := append(binary.AppendUvarint(nil, uint64(cidBytes+len(n.Bytes))), n.CID.Bytes()...)
	return errors.Join(c.write(head), c.write(n.Bytes))
}

// carIndex knows where blocks lie in a CAR.
type carIndex struct {
	r  io.ReaderAt
	at map[cid.Cid]carPlace
}

type carPlace struct {
	off  int64
	size int32
}

// readCAR goes over the blocks of a CAR of size bytes. Their hashes are checked
// when they are read. Errors wrap ErrExport.
func readCAR(r io.ReaderAt, size int64, root cid.Cid) (*carIndex, error) {
	head := carHeader(root)
	in := bufio.NewReaderSize(io.NewSectionReader(r, 0, size), 1<<16)
	got := make([]byte, len(head))
	if _, err := io.ReadFull(in, got); err != nil || !bytes.Equal(got, head) {
		return nil, fmt.Errorf("%w: %s is no CAR with root %s", ErrExport, blocksFile, root)
	}
	x := &carIndex{r: r, at: map[cid.Cid]carPlace{}}
	for off := int64(len(head)); off < size; {
		n, err := x.next(in, off, size)
		if err != nil {
			return nil, fmt.Errorf("%w: %s at byte %d: %w", ErrExport, blocksFile, off, err)
		}
		off += n
	}
	return x, nil
}

// next reads the head of one block and gives the length of all of it.
func (x *carIndex) next(in *bufio.Reader, off, size int64) (int64, error) {
	n, err := binary.ReadUvarint(in)
	if err != nil {
		return 0, err
	}
	head := int64(len(binary.AppendUvarint(nil, n)))
	if n < cidBytes || n > maxCARBlock+cidBytes || int64(n) > size-off-head {
		return 0, fmt.Errorf("a block of %d bytes", n)
	}
	raw := make([]byte, cidBytes)
	if _, err := io.ReadFull(in, raw); err != nil {
		return 0, err
	}
	c, err := types.ParseCIDBytes(raw)
	if err != nil {
		return 0, err
	}
	body := int64(n) - cidBytes
	x.at[c] = carPlace{off + head + cidBytes, int32(body)}
	_, err = in.Discard(int(body))
	return head + int64(n), err
}

// Node gives a block whose hash was checked; *NotHeld when the CAR has none.
func (x *carIndex) Node(c cid.Cid) ([]byte, error) {
	at, ok := x.at[c]
	if !ok {
		return nil, &NotHeld{"block " + c.String()}
	}
	b := make([]byte, at.size)
	if _, err := x.r.ReadAt(b, at.off); err != nil {
		return nil, fmt.Errorf("block %s in %s: %w", c, blocksFile, err)
	}
	if types.Digest(types.RawCID(b)) != types.Digest(c) {
		return nil, &BadError{"block " + c.String() + " in " + blocksFile, errors.New("it hashes to something else")}
	}
	return b, nil
}
