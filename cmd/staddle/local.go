package main

import (
	"context"
	"errors"
	"time"

	"github.com/staddle/staddle/keys"
	"github.com/staddle/staddle/library"
	"github.com/staddle/staddle/node"
	"github.com/staddle/staddle/store"
	"github.com/staddle/staddle/types"
)

// local is the library of this machine's store, opened in this process.
type local struct {
	*library.Library
	store *store.Store
	dir   string
}

// openLocal opens the store. It is held alone: a daemon that runs has it.
func (a *app) openLocal() (*local, error) {
	d, err := a.dirs()
	if err != nil {
		return nil, err
	}
	if err := d.makeData(); err != nil {
		return nil, err
	}
	st, err := store.Open(d.store(), store.Options{})
	if err != nil {
		return nil, err
	}
	l, err := library.New(library.Config{
		State: st, Pieces: st.Pieces(), Reserve: library.Rooms(st.Pieces().Reserve),
		Now:  func() types.Millis { return types.Millis(time.Now().UnixMilli()) },
		Seed: func() (keys.Seed, error) { return node.LoadSeed(d.data) },
	})
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	return &local{l, st, d.store()}, nil
}

// withLocal runs a job on the local store and closes it.
func (a *app) withLocal(ctx context.Context, job func(context.Context, *local) error) error {
	l, err := a.openLocal()
	if err != nil {
		return err
	}
	return errors.Join(job(ctx, l), l.store.Close())
}

// needDaemon is the answer of a verb that speaks to the daemon, unless --offline
// lets it work here.
func (a *app) needDaemon() error {
	if a.offline {
		return nil
	}
	return errNoDaemon
}
