package ipfs

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/ipfs/go-cid"
)

// ExportOptions are the choices of Export.
type ExportOptions struct {
	Version CARVersion // 0: CARv1
	Bounds  Bounds
}

// Exported counts what Export wrote: sections, and bytes of the file.
type Exported struct {
	Blocks int
	Bytes  int64
}

// Export streams the DAGs below roots as a CAR: depth first, parents before
// children, each block once. Version 2 walks the DAG twice, since its header
// says how long the data are, and ends with an index; it keeps 40 bytes a block.
// Errors: ErrBounds, ErrHash, those of blocks and of w.
func Export(ctx context.Context, w io.Writer, blocks Blocks, roots []cid.Cid, o ExportOptions) (Exported, error) {
	header, err := carHeader(roots)
	if err != nil {
		return Exported{}, fmt.Errorf("write CAR: %w", err)
	}
	e := exporter{w: bufio.NewWriterSize(w, 64<<10), blocks: blocks, roots: roots, bounds: o.Bounds, header: header}
	switch o.Version {
	case 0, CARv1:
		err = e.payload(ctx)
	case CARv2:
		err = e.wrapped(ctx)
	default:
		err = fmt.Errorf("version %d, want %d or %d", o.Version, CARv1, CARv2)
	}
	if err == nil {
		err = e.w.Flush()
	}
	if err != nil {
		return e.done, fmt.Errorf("write CAR: %w", err)
	}
	return e.done, nil
}

type exporter struct {
	w      *bufio.Writer
	blocks Blocks
	roots  []cid.Cid
	bounds Bounds
	header []byte    // of version 1
	index  *carIndex // nil: none is written
	start  int64     // where the payload begins
	done   Exported
}

func (e *exporter) write(b []byte) error {
	n, err := e.w.Write(b)
	e.done.Bytes += int64(n)
	return err
}

// payload writes the file of version 1.
func (e *exporter) payload(ctx context.Context) error {
	if err := e.write(e.header); err != nil {
		return err
	}
	w := walker{blocks: e.blocks, bounds: e.bounds, visit: e.section}
	return w.walk(ctx, e.roots)
}

func (e *exporter) section(c cid.Cid, block []byte) error {
	if e.index != nil {
		e.index.add(c, uint64(e.done.Bytes-e.start))
	}
	name := c.Bytes()
	head := binary.AppendUvarint(nil, uint64(len(name)+len(block)))
	if err := e.write(append(head, name...)); err != nil {
		return err
	}
	e.done.Blocks++
	return e.write(block)
}

// wrapped writes the file of version 2.
func (e *exporter) wrapped(ctx context.Context) error {
	size, err := e.measure(ctx)
	if err != nil {
		return err
	}
	h := carV2{indexed: true, dataStart: uint64(len(carPragma) + carV2Size), dataSize: uint64(size)}
	h.index = h.dataStart + h.dataSize
	if err := e.write(append(append([]byte(nil), carPragma...), h.encode()...)); err != nil {
		return err
	}
	e.start, e.index = e.done.Bytes, new(carIndex)
	if err := e.payload(ctx); err != nil {
		return err
	}
	if have := e.done.Bytes - e.start; have != size {
		return fmt.Errorf("data had %d bytes at the first walk and %d at the second", size, have)
	}
	if err := e.write(e.index.head()); err != nil {
		return err
	}
	for i := range *e.index {
		if err := e.write((*e.index)[i][:]); err != nil {
			return err
		}
	}
	return nil
}

// measure is the length of the payload, found without reading its leaves where
// the source knows their sizes.
func (e *exporter) measure(ctx context.Context) (int64, error) {
	size := int64(len(e.header))
	add := func(c cid.Cid, n int) {
		n += c.ByteLen()
		size += int64(n + len(binary.AppendUvarint(nil, uint64(n))))
	}
	w := walker{blocks: e.blocks, bounds: e.bounds}
	w.visit = func(c cid.Cid, block []byte) error {
		add(c, len(block))
		return nil
	}
	w.leaf = func(c cid.Cid) error {
		n, err := sizeOf(ctx, e.blocks, c)
		if err != nil {
			return fmt.Errorf("size of block %s: %w", c, err)
		}
		add(c, n)
		return nil
	}
	err := w.walk(ctx, e.roots)
	return size, err
}
