package library

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/staddle/staddle/archive"
	"github.com/staddle/staddle/keys"
	"github.com/staddle/staddle/types"
)

// Tables of private datasets.
const (
	tablePrivate = "library/private" // dataset -> private
	tableSalts   = "library/salts"   // name and visibility -> salting
)

// private is what is known of a private dataset by its key.
type private struct {
	Name string // hostile text
	Key  Key    // that a link brought; zero when the words give it
}

// EncodeTo appends [1, name, key].
func (p *private) EncodeTo(e *types.Encoder) {
	e.Array(3)
	e.Uint(rowVersion)
	e.Text(p.Name)
	e.Bytes(p.Key[:])
}

// DecodeFrom reads the tuple.
func (p *private) DecodeFrom(d *types.Decoder) {
	d.Tuple(3)
	version(d)
	p.Name = d.Text(types.MaxName)
	d.Fixed(p.Key[:])
}

func (p *private) row(id types.DatasetID) types.Row {
	return types.Row{Table: tablePrivate, Key: string(id[:]), Value: types.Marshal(p)}
}

// private reads what is known; the zero value when nothing is.
func (l *Library) private(id types.DatasetID) (p private, err error) {
	b, ok, err := l.State.Get(tablePrivate, string(id[:]))
	if err != nil || !ok {
		return p, err
	}
	if err := types.Unmarshal(b, &p); err != nil {
		return p, &BadError{fmt.Sprintf("row of private dataset %s", id.Short()), err}
	}
	return p, nil
}

// named fills in a dataset's name.
func (l *Library) named(h *Held) error {
	h.Name = h.Attachment.Name
	if h.Attachment.Visibility == types.VisibilityPublic {
		return nil
	}
	p, err := l.private(h.Attachment.Dataset())
	h.Name = p.Name
	return err
}

// salting is the salt under which versions of a dataset are sealed, and the
// members that have had its key.
type salting struct {
	Salt types.Hash
	To   []types.Account // in order
}

// EncodeTo appends [1, salt, [account, ...]].
func (s *salting) EncodeTo(e *types.Encoder) {
	e.Array(3)
	e.Uint(rowVersion)
	e.Bytes(s.Salt[:])
	e.Array(len(s.To))
	for i := range s.To {
		e.Bytes(s.To[i][:])
	}
}

// DecodeFrom reads the tuple.
func (s *salting) DecodeFrom(d *types.Decoder) {
	d.Tuple(3)
	version(d)
	s.Salt = d.Hash()
	s.To = make([]types.Account, d.Array(archive.MaxBoxes))
	for i := range s.To {
		d.Fixed(s.To[i][:])
	}
}

// sealing is how a put seals.
type sealing struct {
	salt types.Hash
	opts archive.SealOptions
}

// sealing prepares the seal of a private dataset (P1); nil for a public one.
func (l *Library) sealing(o *PutOptions) (*sealing, error) {
	if len(o.To) > 0 && o.Visibility != types.VisibilityMembers {
		return nil, fmt.Errorf("visibility %v is not for members, and %d are named", o.Visibility, len(o.To))
	}
	if o.Visibility == types.VisibilityPublic {
		return nil, nil
	}
	if o.InPlace {
		return nil, fmt.Errorf("visibility %v in place: what is encrypted is no part of your files", o.Visibility)
	}
	to := sortedAccounts(o.To)
	if o.Visibility == types.VisibilityMembers && (len(to) == 0 || len(to) > archive.MaxBoxes) {
		return nil, fmt.Errorf("visibility %v for %d accounts, want 1 to %d", o.Visibility, len(to), archive.MaxBoxes)
	}
	seed, err := l.Seed()
	if err != nil {
		return nil, fmt.Errorf("key of a private dataset: %w", err)
	}
	s := new(sealing)
	if s.salt, err = l.salt(o, to); err != nil {
		return nil, err
	}
	s.opts = archive.SealOptions{Key: seed.Dataset(s.salt), RangePieces: o.RangePieces}
	if len(to) > 0 {
		s.opts.Boxes, err = boxes(seed, s, to)
	}
	return s, err
}

func sortedAccounts(list []types.Account) []types.Account {
	out := slices.Clone(list)
	slices.SortFunc(out, func(a, b types.Account) int { return slices.Compare(a[:], b[:]) })
	return slices.Compact(out)
}

// boxes seals the dataset key to each member.
func boxes(seed keys.Seed, s *sealing, to []types.Account) (*archive.Boxes, error) {
	by, err := seed.Sealing(s.salt, to)
	if err != nil {
		return nil, err
	}
	out := &archive.Boxes{Ephemeral: by.Public(), Fill: by.Fill()}
	for _, a := range to {
		box, err := by.Seal(a, s.opts.Key)
		if err != nil {
			return nil, fmt.Errorf("seal to %s: %w", a.Short(), err)
		}
		out.Keys = append(out.Keys, box)
	}
	return out, nil
}

// salt is that of earlier versions, so that versions share pieces, or a new one:
// for the first version, when it is wanted, and when somebody who has had the key
// is not named any more. It is kept before the first byte, so that a put that was
// killed and is given again finds its pieces.
func (l *Library) salt(o *PutOptions, to []types.Account) (types.Hash, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	name := types.H("staddle/library/salt/1", []byte{byte(o.Visibility)}, []byte(o.Name)).String()
	var s salting
	b, ok, err := l.State.Get(tableSalts, name)
	if err != nil {
		return s.Salt, err
	}
	if ok {
		if err := types.Unmarshal(b, &s); err != nil {
			return s.Salt, &BadError{fmt.Sprintf("row %s of %s", name, tableSalts), err}
		}
	}
	gone := func(a types.Account) bool { return !slices.Contains(to, a) }
	if !ok || o.NewKey || slices.ContainsFunc(s.To, gone) {
		if _, err := io.ReadFull(l.Chance, s.Salt[:]); err != nil {
			return s.Salt, fmt.Errorf("draw a salt: %w", err)
		}
	} else if slices.Equal(s.To, to) {
		return s.Salt, nil
	}
	s.To = to
	return s.Salt, l.State.Save(nil, []types.Row{{Table: tableSalts, Key: name, Value: types.Marshal(&s)}})
}

// packSealed makes a private dataset: what leaves the sealer is ciphertext.
func (p *putting) packSealed(a archive.Options) (out Published, err error) {
	s, err := archive.NewSealer(p.seal.opts, p)
	if err != nil {
		return out, err
	}
	plain, err := pack(p.ctx, p.folder.fsys, a, s)
	if err != nil {
		return out, err
	}
	if out.Manifest, err = s.Finish(plain); err != nil {
		return out, err
	}
	out.Attachment = attach(&out.Manifest, p.opts.Visibility)
	out.Attachment.Salt = p.seal.salt
	out.Manifest.Name, out.Manifest.MediaTypes, out.Manifest.TOCDigest = plain.Name, plain.MediaTypes, plain.TOCDigest
	return out, out.Attachment.CheckVisibility()
}

// unseal finds a key that opens a private dataset: given, kept from a link, of
// the words, or in a box to this account. The error is ErrSealed when none does.
func (d *dataset) unseal(given Key) error {
	if d.held.Attachment.Visibility == types.VisibilityPublic {
		return nil
	}
	known, err := d.l.private(d.id)
	if err != nil {
		return err
	}
	for _, k := range []Key{given, known.Key} {
		if k.IsZero() {
			continue
		}
		if err := d.try(k); !errors.Is(err, archive.ErrKey) {
			return d.opened(known, k, err)
		}
	}
	own, err := d.ownKey()
	if errors.Is(err, archive.ErrKey) || errors.Is(err, keys.ErrNotSealed) || errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("dataset %s: %w", d.id.Short(), ErrSealed)
	}
	d.key = own
	return d.opened(known, Key{}, err)
}

// try opens the head with a key.
func (d *dataset) try(k Key) (err error) {
	d.opener, err = archive.Unseal(k, d.held.Attachment.Pieces, d.piece)
	d.key = k
	return err
}

// ownKey opens the head with what the words give.
func (d *dataset) ownKey() (Key, error) {
	seed, err := d.l.Seed()
	if err != nil {
		return Key{}, err
	}
	a := &d.held.Attachment
	k := Key(seed.Dataset(a.Salt))
	err = d.try(k)
	if !errors.Is(err, archive.ErrKey) || a.Visibility != types.VisibilityMembers {
		return k, err
	}
	piece, err := d.piece(a.Pieces - 1)
	if err != nil {
		return k, err
	}
	ephemeral, places, err := archive.ParseBoxes(piece)
	if err != nil {
		return k, err
	}
	if k, err = seed.Account().OpenBox(ephemeral, places); err != nil {
		return k, err
	}
	return k, d.try(k)
}

// opened keeps what a key has told, so that a name is enough next time.
func (d *dataset) opened(known private, k Key, err error) error {
	if err != nil {
		return fmt.Errorf("open dataset %s: %w", d.id.Short(), err)
	}
	if err := CheckName(d.opener.Name); err != nil {
		return &BadError{"name of dataset " + d.id.Short(), err}
	}
	now := private{Name: d.opener.Name, Key: k}
	d.held.Name = now.Name
	if now == known {
		return nil
	}
	return d.l.State.Save(nil, []types.Row{now.row(d.id)})
}

// plainSize is the number of bytes of the TGZ.
func (d *dataset) plainSize() int64 {
	if d.opener != nil {
		return int64(d.opener.Size)
	}
	return d.size()
}

// plain gives a piece of the TGZ.
func (d *dataset) plain(number uint32) ([]byte, error) {
	b, err := d.piece(number)
	if err != nil || d.opener == nil {
		return b, err
	}
	if b, err = d.opener.Open(number, b); errors.Is(err, archive.ErrKey) {
		err = &BadError{fmt.Sprintf("piece %d", number), err}
	}
	return b, err
}

// Describe opens a dataset without fetching its content and tells what is known
// of it: of a private one its name and the bytes of its TGZ.
func (l *Library) Describe(ctx context.Context, ref Ref) (Held, int64, error) {
	d, err := l.open(ctx, ref, Watch{})
	if err != nil {
		return Held{}, 0, err
	}
	return d.held, d.plainSize(), nil
}

// Keyed gives a full reference with the key of a private dataset, for Ref.Link.
// The error wraps ErrSealed when there is no key here.
func (l *Library) Keyed(ctx context.Context, ref Ref) (Ref, error) {
	d, err := l.open(ctx, ref, Watch{})
	if err != nil {
		return Ref{}, err
	}
	return Ref{Dataset: d.id, Path: ref.Path, Key: d.key}, nil
}
