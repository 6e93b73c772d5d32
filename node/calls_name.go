package node

import (
	"context"
	"errors"
	"fmt"

	"github.com/staddle/staddle/api"
	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/library"
	"github.com/staddle/staddle/types"
)

// ref reads a reference and finds its dataset: a root stands for itself, a name
// for what is held here or, when nothing of that name is, for what the community
// calls so.
func (n *Node) ref(text string) (library.Ref, error) {
	ref, err := library.ParseRef(text)
	if err != nil {
		return ref, err
	}
	if ref.Title == (library.Title{}) {
		held, err := n.lib.Resolve(ref)
		t := n.current()
		if !errors.Is(err, library.ErrNotHeld) || t == nil || types.CheckTitle(ref.Name) != nil {
			return held, err
		}
		ref.Title = library.Title{Community: t.chain.Genesis().Name, Name: ref.Name}
	}
	t, v, err := n.view()
	if err != nil {
		return ref, err
	}
	dataset, err := t.named(v, ref.Title)
	return library.Ref{Dataset: dataset, Path: ref.Path, Key: ref.Key}, err
}

func (n *Node) view() (*town, *consensus.View, error) {
	t, err := n.member()
	if err != nil {
		return nil, nil, err
	}
	v, err := t.chain.View()
	return t, v, err
}

// named is the dataset that a title means.
func (t *town) named(v *consensus.View, title library.Title) (types.DatasetID, error) {
	rec, err := t.nameRecord(v, title)
	if err != nil {
		return types.DatasetID{}, err
	}
	version := &rec.NameVersion
	if title.At > 0 {
		if version, err = v.NameAt(rec.Owner, rec.Name, title.At); err != nil {
			return types.DatasetID{}, err
		}
	}
	if version == nil || version.Dataset.IsZero() {
		return types.DatasetID{}, fmt.Errorf("%w: %s stood for nothing then", ErrNoName, title)
	}
	return version.Dataset, nil
}

// ErrNoName is the error of a name that nobody in the community took.
var ErrNoName = errors.New("no such name in the community")

func (t *town) nameRecord(v *consensus.View, title library.Title) (*types.NameRecord, error) {
	if name := t.chain.Genesis().Name; title.Community != name {
		return nil, fmt.Errorf("%w: this node follows community %s, not %s", ErrNoName, name, title.Community)
	}
	var rec *types.NameRecord
	var err error
	if title.Owner == (types.Account{}) {
		rec, err = v.Named(title.Name)
	} else {
		rec, err = v.NameOf(title.Owner, title.Name)
	}
	if err == nil && rec == nil {
		err = fmt.Errorf("%w: %s", ErrNoName, title.Name)
	}
	return rec, err
}

// newer names the newest version of a dataset, when its publisher has named one.
func (n *Node) newer(d types.DatasetID) (string, error) {
	t, v, err := n.view()
	if err != nil {
		return "", err
	}
	name, err := v.NamedAs(d)
	if err != nil || name == "" {
		return "", err
	}
	data, err := v.Dataset(d)
	if err != nil || data == nil {
		return "", err
	}
	rec, err := v.NameOf(data.Publisher, name)
	if err != nil || rec == nil || rec.Dataset == d || rec.Dataset.IsZero() {
		return "", err
	}
	return t.title(rec), nil
}

// title spells a name so that it means this one.
func (t *town) title(rec *types.NameRecord) string {
	title := library.Title{Community: t.chain.Genesis().Name, Owner: rec.Owner, Name: rec.Name}
	return library.Ref{Title: title}.String()
}

// setName lets a name stand for a dataset, or for nothing.
func (n *Node) setName(ctx context.Context, q api.NameRequest, _ *api.Out) (*api.Name, error) {
	t, err := n.member()
	if err != nil {
		return nil, err
	}
	body := &types.NameUpdate{Name: q.Name}
	if q.Ref != "" {
		ref, err := n.ref(q.Ref)
		if err != nil {
			return nil, err
		}
		if ref.Path != "" {
			return nil, fmt.Errorf("%w: a name stands for a whole dataset, not for %q in it", library.ErrAmbiguous, ref.Path)
		}
		body.Dataset = ref.Dataset
	}
	wish := "name/" + q.Name
	if err := t.chain.Submit(types.KindName, body, wish); err != nil {
		return nil, err
	}
	if _, _, err := t.chain.Await(ctx, wish); err != nil {
		return nil, err
	}
	v, err := t.chain.View()
	if err != nil {
		return nil, err
	}
	rec, err := v.NameOf(n.Account(), q.Name)
	if err != nil || rec == nil {
		return nil, errors.Join(err, ErrNoName)
	}
	return t.describe(rec, rec.Version, &rec.NameVersion), nil
}

func (t *town) describe(rec *types.NameRecord, version uint64, at *types.NameVersion) *api.Name {
	out := &api.Name{
		Ref: t.title(rec), Owner: rec.Owner.String(), Name: rec.Name,
		Version: version, Height: uint64(at.Height), Time: uint64(at.Time),
	}
	if !at.Dataset.IsZero() {
		out.Dataset = library.Ref{Dataset: at.Dataset}.String()
	}
	return out
}

// listNames lists an account's names.
func (n *Node) listNames(_ context.Context, q api.NameQuery, _ *api.Out) (*api.Names, error) {
	t, v, err := n.view()
	if err != nil {
		return nil, err
	}
	owner := n.Account()
	if q.Account != "" {
		if owner, err = types.ParseAccount(q.Account); err != nil {
			return nil, err
		}
	}
	names, err := v.Names(owner)
	if err != nil {
		return nil, err
	}
	out := &api.Names{Names: []api.Name{}}
	for _, rec := range names {
		out.Names = append(out.Names, *t.describe(rec, rec.Version, &rec.NameVersion))
	}
	return out, nil
}

// shownVersions is how many versions of a name are shown.
const shownVersions = 100

// showName lists the newest versions of a name.
func (n *Node) showName(_ context.Context, q api.NameQuery, _ *api.Out) (*api.Names, error) {
	t, v, err := n.view()
	if err != nil {
		return nil, err
	}
	ref, err := library.ParseRef(q.Ref)
	if err != nil {
		return nil, err
	}
	if ref.Name != "" {
		ref.Title = library.Title{Community: t.chain.Genesis().Name, Name: ref.Name}
	}
	rec, err := t.nameRecord(v, ref.Title)
	if err != nil {
		return nil, err
	}
	out := &api.Names{Names: []api.Name{}}
	for i := rec.Version; i > 0 && len(out.Names) < shownVersions; i-- {
		at, err := v.NameVersion(rec.Owner, rec.Name, i)
		if err != nil || at == nil {
			return nil, errors.Join(err, ErrNoName)
		}
		out.Names = append(out.Names, *t.describe(rec, i, at))
	}
	return out, nil
}
