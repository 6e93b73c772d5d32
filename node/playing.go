package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/staddle/staddle/api"
	"github.com/staddle/staddle/archive"
	"github.com/staddle/staddle/library"
	"github.com/staddle/staddle/play"
)

// openPlay opens the address for players of this machine.
func (n *Node) openPlay() (err error) {
	if n.cfg.Play == "" {
		return nil
	}
	n.players, err = play.Listen(n.cfg.Play)
	return err
}

func (n *Node) playAddr() string {
	if n.players == nil {
		return ""
	}
	return n.players.Addr().String()
}

// screen is the library as players see it.
type screen struct{ lib *library.Library }

// ref names a path of a dataset that is here or that members hold.
func (s screen) ref(root, path string) (library.Ref, error) {
	ref, err := library.ParseRef(root)
	if err == nil {
		ref, err = s.lib.Resolve(ref)
	}
	ref.Path = path
	return ref, unknown(err)
}

// unknown makes what is found nowhere an fs.ErrNotExist.
func unknown(err error) error {
	if errors.Is(err, library.ErrNotHeld) || errors.Is(err, library.ErrAmbiguous) {
		return fmt.Errorf("%w (%w)", err, fs.ErrNotExist)
	}
	return err
}

// Stat implements play.Source.
func (s screen) Stat(ctx context.Context, root, path string) (play.Item, error) {
	ref, err := s.ref(root, path)
	if err != nil {
		return play.Item{}, err
	}
	item := play.Item{Root: ref.Root(), Entry: archive.Entry{Type: archive.Dir}}
	if path != "" {
		item.Entry, err = s.lib.Stat(ctx, ref)
	}
	return item, unknown(err)
}

// List implements play.Source.
func (s screen) List(ctx context.Context, root, path string) ([]archive.Entry, error) {
	ref, err := s.ref(root, path)
	if err != nil {
		return nil, err
	}
	list, err := s.lib.List(ctx, ref)
	return list, unknown(err)
}

// Read implements play.Source.
func (s screen) Read(ctx context.Context, root, path string, part play.Part, w io.Writer) error {
	ref, err := s.ref(root, path)
	if err != nil {
		return err
	}
	_, err = s.lib.Cat(ctx, ref, w, part.From, part.To-part.From)
	return err
}

// play says where players find a path. It fetches nothing, but for the head of a
// private dataset: whether the path is there shows when it is played.
func (n *Node) play(ctx context.Context, q api.RefRequest, _ *api.Out) (*api.PlayResult, error) {
	if n.players == nil {
		return nil, fmt.Errorf("playing is off: staddle up --play 127.0.0.1:0")
	}
	ref, err := n.ref(q.Ref)
	if err == nil && !ref.Key.IsZero() {
		ref, err = n.lib.Keyed(ctx, ref) // keeps the key: the address that is played has none
	}
	if err != nil {
		return nil, err
	}
	return &api.PlayResult{Ref: ref.String(), URL: play.URL(n.playAddr(), ref.Root().String(), ref.Path)}, nil
}
