package store

import (
	"errors"
	"fmt"
	"sync"
)

// healing goes on without a disk that went while it was written to. Nobody knows
// what of the newest writes is durable there, so records is read anew from the
// index, as at a start, and takes the place of the broken one. Reservations of
// the broken one stay broken: their holders must not believe that what they put
// lazily is there.
type healing struct {
	work sync.WaitGroup

	mu  sync.Mutex
	old []*records // reads may still be in them; at most one a disk
}

// replace opens the records anew in the background.
func (s *Store) replace(old *records) {
	s.heal.work.Go(func() {
		if s.gate.enter() != nil {
			return // it is being closed
		}
		defer s.gate.leave()
		if err := s.replaceNow(old); err != nil {
			s.note(fmt.Errorf("go on without a disk: %w", err))
		}
	})
}

func (s *Store) replaceNow(old *records) error {
	if s.records() != old {
		return nil // it failed while it was opened, and whoever opened it knows
	}
	old.clean.interrupt()
	old.clean.done.Wait()
	old.clean.work.Lock() // whoever compacts, merges or repairs has met the error
	defer old.clean.work.Unlock()
	old.mu.Lock()
	quota, format := old.quota, old.format
	old.mu.Unlock()
	s.format = format
	fresh, err := openRecords(s, old.room, quota)
	if err != nil {
		return err
	}
	s.heal.mu.Lock()
	s.heal.old = append(s.heal.old, old)
	s.heal.mu.Unlock()
	s.now.Store(fresh)
	return nil
}

// close closes what was replaced.
func (h *healing) close() (err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range h.old {
		err = errors.Join(err, r.index.close(), r.segs.close())
	}
	return err
}
