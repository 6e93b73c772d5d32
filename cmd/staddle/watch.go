package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/staddle/staddle/library"
)

// watching are the flags of put that keep it going.
type watching struct {
	on     bool
	every  time.Duration
	settle time.Duration
}

// leastEvery is the shortest time between two looks.
const leastEvery = 100 * time.Millisecond

func (w *watching) flags(c *cobra.Command) {
	c.Flags().BoolVar(&w.on, "watch", false, "go on, and put the folder again when it has changed")
	c.Flags().DurationVar(&w.every, "every", 2*time.Second, "with --watch: time between two looks at the folder")
	c.Flags().DurationVar(&w.settle, "settle", 10*time.Second, "with --watch: how long a change must be over")
}

// retryAfter is when a put that failed is tried again.
const retryAfter = time.Minute

// vigil is a folder that is watched.
type vigil struct {
	a    *app
	path string
	put  func(context.Context) error
	when library.Vigil
	said string // the last trouble
}

// watchFolder puts the folder whenever it is due, until ctx ends or files have
// vanished. Any other failure is told and tried again later.
func (a *app) watchFolder(ctx context.Context, path string, w *watching, put func(context.Context) error) error {
	v := vigil{a: a, path: path, put: put, when: library.Vigil{Settle: w.settle}}
	tick := time.NewTicker(max(w.every, leastEvery))
	defer tick.Stop()
	for {
		if err := v.look(ctx); err != nil {
			return stopped(ctx, err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return stopped(ctx, ctx.Err())
		}
	}
}

// stopped makes the end of a watch that a person asked for no error.
func stopped(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return nil
	}
	return err
}

func (v *vigil) look(ctx context.Context) error {
	g, err := library.Look(v.path)
	if err != nil {
		v.trouble(err)
		return nil
	}
	if !v.when.Due(time.Now(), g) {
		return nil
	}
	err = v.put(ctx)
	switch {
	case err == nil:
		v.said = ""
		v.when.Done(g)
	case ctx.Err() != nil || reasonOf(err).code == vanished:
		return err
	default:
		v.trouble(err)
		v.when.Failed(time.Now(), retryAfter)
	}
	return nil
}

// trouble tells an error that ends nothing, once.
func (v *vigil) trouble(err error) {
	if text := v.a.plain(err); text != v.said {
		v.said = text
		v.a.note("%s %s; watching on", v.a.paint(yellow, "warning:"), safe(text))
	}
}
