package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"

	"github.com/staddle/staddle/types"
)

// grant is the common part of the two kinds of reservation: bytes under the
// quota that only its holder may use.
type grant struct {
	s     *Store
	r     *records
	owner owner

	token [8]byte // the value of references that came through this grant

	mu   sync.Mutex
	left int64 // bytes; changed under mu and r.mu
	over bool
}

// reserve grants n bytes, or says with a QuotaError or DiskError why not.
func (s *Store) reserve(o owner, n int64) (*grant, error) {
	if err := s.gate.enter(); err != nil {
		return nil, err
	}
	defer s.gate.leave()
	if err := o.check(); err != nil {
		return nil, err
	}
	if n < 0 {
		return nil, fmt.Errorf("reserve %d bytes for %q, want at least 0", n, o.name)
	}
	r := s.records()
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.writable(); err != nil {
		return nil, err
	}
	if free := r.quota - r.live - r.reserved; r.quota > 0 && n > free {
		return nil, &QuotaError{Owner: o.name, Want: n, Free: max(free, 0), Quota: r.quota}
	}
	if err := r.hasRoom(n, nil); err != nil {
		return nil, err
	}
	r.reserved += n
	r.grants[o]++
	g := &grant{s: s, r: r, owner: o, left: n}
	binary.BigEndian.PutUint64(g.token[:], rand.Uint64())
	return g, nil
}

// enter opens the store and the grant for one call; leave ends it.
func (g *grant) enter() error {
	if err := g.s.gate.enter(); err != nil {
		return err
	}
	g.mu.Lock()
	if g.over {
		g.leave()
		return ErrSettled
	}
	return nil
}

func (g *grant) leave() {
	g.mu.Unlock()
	g.s.gate.leave()
}

// putLazy stores a payload and syncs only when much is waiting.
func (g *grant) putLazy(key types.Hash, payload []byte) error {
	if g.r.full() {
		if err := g.Sync(); err != nil {
			return err
		}
	}
	if err := g.enter(); err != nil {
		return err
	}
	defer g.leave()
	return g.r.put(g, id{g.owner.kind, key}, payload)
}

// full reports whether enough waits for a sync.
func (r *records) full() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lazy >= lazyBytes || r.index.waiting() >= lazyRows
}

// put stores a payload durably; callers at once share one sync.
func (g *grant) put(key types.Hash, payload []byte) error {
	if err := g.putLazy(key, payload); err != nil {
		return err
	}
	return g.Sync()
}

// Left is the number of bytes not yet used.
func (g *grant) Left() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.left
}

// Sync returns when everything put before is durable.
func (g *grant) Sync() error {
	if err := g.s.gate.enter(); err != nil {
		return err
	}
	defer g.s.gate.leave()
	return g.r.syncAll()
}

// Commit makes what was put durable and gives the unused bytes back. What was
// put belongs to the owner also without Commit, after a crash for example.
func (g *grant) Commit() error {
	if err := g.enter(); err != nil {
		return err
	}
	defer g.leave()
	if err := g.r.syncAll(); err != nil {
		return err
	}
	g.settle()
	return nil
}

// Release gives the unused bytes back and takes away what was put through this
// reservation; what the owner had before stays.
func (g *grant) Release() error {
	if err := g.enter(); err != nil {
		return err
	}
	defer g.leave()
	g.settle()
	err := g.r.syncAll() // the walk sees what is committed
	if err == nil {
		err = g.r.dropAll(g.owner, func(token []byte) bool { return bytes.Equal(token, g.token[:]) })
	}
	g.r.clean.wake()
	return errors.Join(err, g.r.syncAll())
}

func (g *grant) settle() {
	g.r.mu.Lock()
	defer g.r.mu.Unlock()
	g.r.reserved -= g.left
	g.left, g.over = 0, true
	if g.r.grants[g.owner]--; g.r.grants[g.owner] == 0 {
		delete(g.r.grants, g.owner)
	}
}

const releaseStep = 256 // references dropped under one hold of the lock

// releaseOwner takes all references of o away. It is durable before it begins:
// after a crash Open ends it.
func (r *records) releaseOwner(o owner) error {
	r.mu.Lock()
	err := r.writable()
	if err == nil {
		err = r.index.set(o.releasing(), []byte{})
	}
	r.mu.Unlock()
	if err != nil {
		return err
	}
	if err := r.syncAll(); err != nil {
		return err
	}
	if err := r.dropFiles(o); err != nil {
		return fmt.Errorf("release %q: %w", o.name, err)
	}
	if err := r.dropAll(o, nil); err != nil {
		return fmt.Errorf("release %q: %w", o.name, err)
	}
	if err := r.index.set(o.releasing(), nil); err != nil {
		return err
	}
	r.clean.wake()
	return r.syncAll()
}

// dropAll takes references of o away: those with a token that pick chooses, or
// all when pick is nil. It keeps no more than a step of them in memory.
func (r *records) dropAll(o owner, pick func(token []byte) bool) error {
	from := o.prefix()
	for steps := 0; from != nil; steps++ {
		keys, next, err := r.owned(o, from, pick)
		if err != nil {
			return err
		}
		if err := r.dropSome(o, keys); err != nil {
			return err
		}
		from = next
		if steps%16 == 15 {
			if err := r.syncAll(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *records) dropSome(o owner, keys []types.Hash) (err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range keys {
		err = errors.Join(err, r.drop(o, k))
	}
	return err
}

var errEnough = errors.New("enough")

// owned lists a step of o's committed references, from a row on, and where the
// next step begins; nil after the last.
func (r *records) owned(o owner, from []byte, pick func(token []byte) bool) (keys []types.Hash, next []byte, err error) {
	head := len(o.prefix())
	err = scan(r.index.db, o.prefix(), from, func(k, v []byte) error {
		if pick != nil && !pick(v) {
			return nil
		}
		keys = append(keys, types.Hash(k[head:]))
		if len(keys) == releaseStep {
			next = append(bytes.Clone(k), 0)
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return keys, next, err
}
