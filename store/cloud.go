package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/staddle/staddle/store/bucket"
)

// cloud is the shelf in a bucket: one object a segment, which appears whole when
// it is synced and is never appended to afterwards. Until then it is in memory:
// about lazyBytes.
type cloud struct {
	address string
	marker  []byte

	mu sync.Mutex
	b  *bucket.Bucket // nil until it is first needed
}

// bucket opens the bucket; a moment without credentials is not remembered.
func (c *cloud) bucket() (*bucket.Bucket, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.b == nil {
		b, err := bucket.Open(c.address)
		if err != nil {
			return nil, err
		}
		c.b = b
	}
	return c.b, nil
}

func cloudName(number uint32) string { return segmentsDir + "/" + segmentName(number) }

func (c *cloud) list() (map[uint32]int64, error) {
	b, err := c.bucket()
	if err != nil {
		return nil, err
	}
	sizes := map[uint32]int64{}
	err = b.List(segmentsDir+"/", func(name string, size int64) error {
		if number, ok := parseSegmentName(name); ok {
			sizes[number] = size
		}
		return nil
	})
	return sizes, err
}

func (c *cloud) open(number uint32) (segmentFile, error) {
	return &cloudFile{on: c, number: number}, nil
}

func (c *cloud) create(number uint32) (segmentFile, error) {
	return &cloudFile{on: c, number: number, fresh: segmentHead(number)}, nil
}

// reopen is for reading a tail: nothing is written behind it.
func (c *cloud) reopen(number uint32) (segmentFile, error) { return c.open(number) }

func (c *cloud) remove(number uint32) error {
	b, err := c.bucket()
	if err != nil {
		return err
	}
	return b.Remove(cloudName(number))
}

func (c *cloud) cut(number uint32, end int64) error {
	b, err := c.bucket()
	if err != nil {
		return err
	}
	body := make([]byte, end) // at most what a segment may have
	if _, err := b.ReadAt(cloudName(number), body, 0); err != nil {
		return err
	}
	return b.Put(cloudName(number), body)
}

func (c *cloud) room() (room, error) { return unlimited(c.address), nil }

func (c *cloud) whole() bool { return true }

// judge: a bucket that cannot be reached now may be reached later.
func (c *cloud) judge(err error) (stays bool, why error) {
	for _, passing := range []error{bucket.ErrUnreachable, bucket.ErrDenied, bucket.ErrCredentials} {
		if errors.Is(err, passing) {
			return false, err
		}
	}
	return false, nil
}

func (c *cloud) probe() error {
	b, err := c.bucket()
	if err != nil {
		return err
	}
	found, err := b.Get(diskFile, 256)
	switch {
	case errors.Is(err, bucket.ErrAbsent):
		return fmt.Errorf("no object %q in %s", diskFile, c.address)
	case err == nil && !bytes.Equal(found, c.marker):
		return fmt.Errorf("%s holds another disk", c.address)
	}
	return err
}

// prepare makes the marker where nothing else is.
func (c *cloud) prepare() error {
	b, err := c.bucket()
	if err != nil {
		return err
	}
	err = b.List("", func(name string, _ int64) error {
		if name == diskFile {
			return nil
		}
		return fmt.Errorf("%w: found %q", ErrNotStore, name)
	})
	if err != nil {
		return err
	}
	return b.Put(diskFile, c.marker)
}

func (c *cloud) id() ([]byte, error) {
	b, err := c.bucket()
	if err != nil {
		return nil, err
	}
	return b.Get(diskFile, 256)
}

func (c *cloud) clear() error {
	b, err := c.bucket()
	if err != nil {
		return err
	}
	return b.Remove(diskFile)
}

// cloudAhead is what is read at once when a file is read from one end to the other.
const cloudAhead = 1 << 20

// cloudFile is one segment: in memory until it is synced, then an object.
type cloudFile struct {
	on     *cloud
	number uint32

	mu     sync.Mutex
	fresh  []byte // not yet an object
	next   int64  // where the newest read ended
	window []byte // read ahead, from start on
	start  int64
}

// WriteAt writes at the end, or over what was written in vain.
func (f *cloudFile) WriteAt(p []byte, off int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fresh == nil || off > int64(len(f.fresh)) {
		return 0, fmt.Errorf("write at %d of segment %d, which is whole", off, f.number)
	}
	f.fresh = append(f.fresh[:off], p...)
	return len(p), nil
}

// SyncData puts the object; after an error it is still in memory and the next
// call tries again.
func (f *cloudFile) SyncData() error {
	f.mu.Lock()
	body := f.fresh
	f.mu.Unlock()
	if body == nil {
		return nil
	}
	b, err := f.on.bucket()
	if err == nil {
		err = b.Put(cloudName(f.number), body)
	}
	if err != nil {
		return err
	}
	f.mu.Lock()
	f.fresh = nil
	f.mu.Unlock()
	return nil
}

func (f *cloudFile) Close() error { return nil }

// ReadAt reads what was asked, and more when it goes on where the one before
// ended.
func (f *cloudFile) ReadAt(p []byte, off int64) (int, error) {
	f.mu.Lock()
	held, from := f.fresh, int64(0)
	if held == nil {
		held, from = f.window, f.start
	}
	if in := off - from; in >= 0 && in+int64(len(p)) <= int64(len(held)) {
		n := copy(p, held[in:])
		f.next = off + int64(n)
		f.mu.Unlock()
		return n, nil
	}
	fresh, follows := f.fresh != nil, off == f.next && off > 0
	f.next = off + int64(len(p))
	f.mu.Unlock()
	switch {
	case fresh:
		return 0, io.ErrUnexpectedEOF
	case follows && len(p) < cloudAhead:
		return f.readAhead(p, off)
	}
	return f.fetch(p, off)
}

func (f *cloudFile) fetch(p []byte, off int64) (int, error) {
	b, err := f.on.bucket()
	if err != nil {
		return 0, err
	}
	n, err := b.ReadAt(cloudName(f.number), p, off)
	if errors.Is(err, bucket.ErrCut) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (f *cloudFile) readAhead(p []byte, off int64) (int, error) {
	window := make([]byte, cloudAhead)
	n, err := f.fetch(window, off)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return 0, err
	}
	f.mu.Lock()
	f.window, f.start = slices.Clip(window[:n]), off
	f.mu.Unlock()
	if n = copy(p, window[:n]); n < len(p) {
		return n, io.ErrUnexpectedEOF
	}
	return n, nil
}

const (
	smallObject = 4 << 20 // bytes; a bucket is not for many small objects
	manySmall   = 16
)

// mergeSmall copies small objects together where a bucket has many of them.
func (c *compactor) mergeSmall(ctx context.Context) error {
	c.work.Lock()
	defer c.work.Unlock()
	small := map[*disk][]*segment{}
	for _, s := range c.r.segs.list() {
		if s.disk.shelf.whole() && s.disk.takes() && s.end < smallObject && !s.stuck {
			small[s.disk] = append(small[s.disk], s)
		}
	}
	for _, list := range small {
		if len(list) < manySmall {
			continue
		}
		for part := range slices.Chunk(list, 256) {
			if c.stopping() || ctx.Err() != nil {
				return nil
			}
			if err := c.merge(part); err != nil {
				return fmt.Errorf("merge segments %d to %d: %w", part[0].number, part[len(part)-1].number, err)
			}
		}
	}
	return nil
}

// merge copies what lives in some segments, syncs once, and deletes them.
func (c *compactor) merge(list []*segment) error {
	c.r.mu.Lock()
	err := c.r.writable()
	if c.r.active != nil && slices.Contains(list, c.r.active) {
		err = errors.Join(err, c.r.seal())
	}
	c.r.mu.Unlock()
	if err == nil {
		err = c.r.syncAll()
	}
	if err != nil {
		return err
	}
	for _, s := range list {
		if _, err := c.move(s); err != nil {
			return err
		}
	}
	if err := c.r.syncAll(); err != nil || c.stopping() {
		return err
	}
	for _, s := range list {
		if c.lives(s) {
			s.stuck = true // damage; see compact
			continue
		}
		if err := c.retire(s); err != nil {
			return err
		}
	}
	return nil
}
