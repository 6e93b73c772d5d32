package ipfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/ipfs/go-cid"
)

// Major types of CBOR (RFC 8949 section 3.1).
const (
	cborBytes = 2
	cborText  = 3
	cborArray = 4
	cborMap   = 5
	cborTag   = 6
)

// linkTag marks a CID in dag-cbor.
const linkTag = 42

// cborScan finds the links of a dag-cbor block without building its values:
// trees of a hostile block would take a hundred times its bytes. It is as
// lenient as readers of old data are: lengths in longer forms and unsorted keys
// pass.
type cborScan struct {
	rest  []byte
	links []cid.Cid
}

// cborLinks lists the links of one value, which must be the whole block.
func cborLinks(block []byte) ([]cid.Cid, error) {
	s := cborScan{rest: block}
	if err := s.value(0); err != nil {
		return nil, fmt.Errorf("at byte %d: %w", len(block)-len(s.rest), err)
	}
	if len(s.rest) > 0 {
		return nil, fmt.Errorf("%d bytes after the value", len(s.rest))
	}
	return s.links, nil
}

func (s *cborScan) take(n uint64) ([]byte, error) {
	if n > uint64(len(s.rest)) {
		return nil, io.ErrUnexpectedEOF
	}
	b := s.rest[:n]
	s.rest = s.rest[n:]
	return b, nil
}

// head reads the head of an item.
func (s *cborScan) head() (major byte, n uint64, err error) {
	b, err := s.take(1)
	if err != nil {
		return 0, 0, err
	}
	major, info := b[0]>>5, b[0]&31
	switch {
	case info < 24:
		return major, uint64(info), nil
	case info > 27:
		return 0, 0, fmt.Errorf("length of an unknown form (%#x)", b[0])
	}
	if b, err = s.take(1 << (info - 24)); err != nil {
		return 0, 0, err
	}
	var wide [8]byte
	copy(wide[8-len(b):], b)
	return major, binary.BigEndian.Uint64(wide[:]), nil
}

// value reads one item and all inside it. A collection that announces more items
// than there are bytes ends with them.
func (s *cborScan) value(depth int) error {
	if depth > maxNesting {
		return fmt.Errorf("more than %d levels", maxNesting)
	}
	major, n, err := s.head()
	if err != nil {
		return err
	}
	switch major {
	case cborBytes, cborText:
		_, err = s.take(n)
		return err
	case cborArray:
		return s.values(n, depth)
	case cborMap:
		for ; n > 0 && err == nil; n-- {
			err = s.values(2, depth)
		}
		return err
	case cborTag:
		return s.link(n)
	}
	return nil // a number, or a simple value or float, whose bytes were those of the head
}

func (s *cborScan) values(n uint64, depth int) error {
	for ; n > 0; n-- {
		if err := s.value(depth + 1); err != nil {
			return err
		}
	}
	return nil
}

// link reads what follows a tag.
func (s *cborScan) link(tag uint64) error {
	if tag != linkTag {
		return fmt.Errorf("tag %d is not a link", tag)
	}
	major, n, err := s.head()
	if err != nil {
		return err
	}
	if major != cborBytes {
		return errors.New("a link is no byte string")
	}
	b, err := s.take(n)
	if err != nil {
		return err
	}
	if len(b) == 0 || b[0] != 0 {
		return errors.New("a link does not begin with a zero byte")
	}
	c, err := cid.Cast(b[1:])
	if err != nil {
		return fmt.Errorf("a link: %w", err)
	}
	s.links = append(s.links, c)
	return nil
}
