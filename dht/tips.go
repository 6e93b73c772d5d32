package dht

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/staddle/staddle/types"
)

// MaxTipPeers is the number of accounts in a tips item.
const MaxTipPeers = 24

// Tips is what a member publishes about a chain: its newest block and accounts
// whose endpoint items lead to more members.
type Tips struct {
	Height types.Height    // of the newest block that the writer accepts
	Root   types.Hash      // its name
	Time   types.Millis    // of writing; never negative
	Peers  []types.Account // at most 24, strictly ascending
}

// TipsSalt is the salt of tips items about a chain (rule M3: slot 0, which adds
// nothing to the salt).
func TipsSalt(chain types.ChainID) []byte { return append([]byte("tips"), chain[:]...) }

const tipsVersion = 1

// EncodeTips gives the content of the item, at most 818 bytes. Errors wrap
// ErrFormat.
func EncodeTips(t Tips) ([]byte, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	out := binary.BigEndian.AppendUint64([]byte{tipsVersion}, uint64(t.Height))
	out = append(out, t.Root[:]...)
	out = binary.BigEndian.AppendUint64(out, uint64(t.Time))
	out = append(out, byte(len(t.Peers)))
	for _, p := range t.Peers {
		out = append(out, p[:]...)
	}
	return out, nil
}

// DecodeTips reads the content of a tips item in its one form. Errors wrap
// ErrFormat.
func DecodeTips(b []byte) (Tips, error) {
	r := &reader{buf: b}
	r.version(tipsVersion)
	t := Tips{Height: types.Height(r.u64()), Root: types.Hash(r.take(types.HashSize))}
	if ms := r.u64(); ms > math.MaxInt64 {
		r.fail("time %d outside 63 bits", ms)
	} else {
		t.Time = types.Millis(ms)
	}
	for range r.count("peers", 0, MaxTipPeers) {
		t.Peers = append(t.Peers, types.Account(r.take(32)))
	}
	if err := r.end(); err != nil {
		return Tips{}, err
	}
	if err := t.check(); err != nil {
		return Tips{}, err
	}
	return t, nil
}

func (t Tips) check() error {
	switch {
	case t.Time < 0:
		return fmt.Errorf("%w: time %d below 0", ErrFormat, t.Time)
	case len(t.Peers) > MaxTipPeers:
		return fmt.Errorf("%w: %d peers, at most %d", ErrFormat, len(t.Peers), MaxTipPeers)
	}
	for i := 1; i < len(t.Peers); i++ {
		if bytes.Compare(t.Peers[i-1][:], t.Peers[i][:]) >= 0 {
			return fmt.Errorf("%w: peer %d does not come after peer %d", ErrFormat, i, i-1)
		}
	}
	return nil
}
