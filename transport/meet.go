package transport

import (
	"crypto/sha256"
	"fmt"
	"sync"

	"github.com/staddle/staddle/keys"
	"github.com/staddle/staddle/types"
)

// maxCards bounds the cache of certificates that were found good.
const maxCards = 1024

// card is a certificate with its bytes.
type card struct {
	keys.Certificate
	raw []byte
}

func newCard(c keys.Certificate) *card { return &card{Certificate: c, raw: types.Marshal(c)} }

// cards remembers certificates whose signature holds, so that a busy peer
// costs one check and not one a stream.
type cards struct {
	mu    sync.Mutex
	good  map[types.Hash]keys.Certificate
	order []types.Hash // oldest first
}

func newCards() *cards { return &cards{good: map[types.Hash]keys.Certificate{}} }

func (c *cards) find(digest types.Hash) (keys.Certificate, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	found, ok := c.good[digest]
	return found, ok
}

func (c *cards) keep(digest types.Hash, good keys.Certificate) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.good[digest]; known {
		return
	}
	c.good[digest] = good
	c.order = append(c.order, digest)
	if len(c.order) > maxCards {
		delete(c.good, c.order[0])
		c.order = c.order[1:]
	}
}

// verify reads a certificate that the proven device handed over and checks
// it at now (K1). The cheap checks come first.
func (c *cards) verify(raw []byte, device types.Device, now types.Millis) (keys.Certificate, error) {
	digest := types.Hash(sha256.Sum256(raw))
	found, known := c.find(digest)
	if !known {
		if err := types.Unmarshal(raw, &found); err != nil {
			return keys.Certificate{}, fmt.Errorf("%w: %w", ErrCertificate, err)
		}
	}
	if found.Device != device {
		return keys.Certificate{}, fmt.Errorf("%w: it names %s, the peer is %s", ErrWrongDevice, found.Device, device)
	}
	if known && now < found.Expiry {
		return found, nil
	}
	if err := found.Verify(now); err != nil {
		return keys.Certificate{}, err
	}
	c.keep(digest, found)
	return found, nil
}

// introduce sends this host's certificate, the first message of every stream.
func (s *Stream) introduce() error {
	s.armWrite(s.host.config.Limits.Meet)
	return s.fail("send certificate", writeFrame(tallied{s}, s.host.own.Load().raw))
}

// meet reads the peer's certificate, once, and resets the stream when it does
// not hold.
func (s *Stream) meet() error {
	s.meeting.Do(func() {
		s.meetError = s.readCertificate()
		if s.meetError != nil {
			_ = s.Reset(reasonFor(s.meetError))
		}
	})
	return s.meetError
}

func (s *Stream) readCertificate() error {
	s.armRead(s.host.config.Limits.Meet)
	raw, err := readFrame(tallied{s}, keys.MaxCertificate)
	if err != nil {
		return s.fail("read certificate", err)
	}
	found, err := s.host.cards.verify(raw, s.device, s.host.config.Now())
	if err == nil {
		err = s.host.admit(s.link, found)
	}
	if err != nil {
		return s.fail("check certificate", err)
	}
	if !s.known { // else admit has seen to it that the account is the same
		s.account, s.roles = found.Account, found.Roles
	}
	return nil
}

// admit enters a verified certificate for a connected device.
func (h *Host) admit(l *link, c keys.Certificate) error {
	if err := h.allowed(c.Account); err != nil {
		return err
	}
	watch, err := h.peers.met(l, c, h.config.Now())
	if err != nil {
		return err
	}
	for _, f := range watch {
		h.start(func() { f(h.peer(l)) })
	}
	return nil
}
