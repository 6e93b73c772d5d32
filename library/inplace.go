package library

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/staddle/staddle/archive"
	"github.com/staddle/staddle/types"
)

// ErrAtRisk is the error of a piece that was kept in place and whose file is no
// longer what it was. It says *types.Missing, too: the piece is to be had from
// elsewhere, if at all.
var ErrAtRisk = errors.New("at risk")

// AtRisk names the file.
type AtRisk struct {
	File   string // absolute; hostile text
	Reason string
	piece  types.Hash
}

// Error tells what happened to which file.
func (e *AtRisk) Error() string {
	return fmt.Sprintf("at risk: %s %s since it was put in place", e.File, e.Reason)
}

// Is makes the error an ErrAtRisk.
func (e *AtRisk) Is(target error) bool { return target == ErrAtRisk }

// Unwrap gives *types.Missing.
func (e *AtRisk) Unwrap() error { return &types.Missing{CID: types.RawCIDOf(e.piece)} }

// Owners of pieces, by the beginning of their names.
const (
	copied  = "put/"
	inPlace = "place/"
)

// placed shows pieces that are kept in place beside those of the store. What it
// makes of files was held against the digest.
type placed struct {
	Pieces
	state State
	now   func() types.Millis
	any   atomic.Bool // there may be recipes
	mu    sync.Mutex  // held while risks are noted
}

func openPlaced(c *Config) (*placed, error) {
	p := &placed{Pieces: c.Pieces, state: c.State, now: c.Now}
	err := c.State.Scan(tableRecipes, "", "", func(string, []byte) error {
		p.any.Store(true)
		return errEnough
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return p, err
}

var errEnough = errors.New("enough")

// maxRecipes is how many owners' recipes of one piece are tried.
const maxRecipes = 16

// kept is a recipe with its owner.
type kept struct {
	recipe
	owner string
}

// recipes lists what says how to make a piece.
func (p *placed) recipes(digest types.Hash) (out []kept, err error) {
	if !p.any.Load() {
		return nil, nil
	}
	err = p.state.Scan(tableRecipes, string(digest[:]), "", func(key string, value []byte) error {
		k := kept{owner: key[len(digest):]}
		if err := types.Unmarshal(value, &k.recipe); err != nil {
			return &BadError{"recipe of piece " + digest.Short(), err}
		}
		if out = append(out, k); len(out) == maxRecipes {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return out, err
}

// Get gives a piece from the store or from files. The error is AtRisk when the
// files are no longer what they were.
func (p *placed) Get(digest types.Hash) ([]byte, error) {
	b, err := p.Pieces.Get(digest)
	if err == nil {
		return b, nil
	}
	return p.make(digest, err)
}

// Load implements Pieces.
func (p *placed) Load(digest types.Hash) ([]byte, error) {
	b, err := p.Pieces.Load(digest)
	if err == nil {
		return b, nil
	}
	return p.make(digest, err)
}

// make makes a piece that is not stored from the files that have it.
func (p *placed) make(digest types.Hash, err error) ([]byte, error) {
	list, scanErr := p.recipes(digest)
	if scanErr != nil {
		return nil, errors.Join(err, scanErr)
	}
	for i := range list {
		b, risk := list[i].try(digest)
		if risk == nil {
			return b, nil
		}
		if noteErr := p.note(list[i].owner, risk); noteErr != nil {
			return nil, noteErr
		}
		if _, missing := isMissing(err); missing {
			err = &AtRisk{risk.file, risk.reason, digest}
		}
	}
	return nil, err
}

// try makes the piece, or says which file is in the way.
func (k *kept) try(digest types.Hash) ([]byte, *changed) {
	b, err := k.make()
	if err == nil && archive.PieceDigest(b) == digest {
		return b, nil
	}
	if c := new(changed); errors.As(err, &c) {
		return nil, c
	}
	return nil, &changed{k.path(k.suspect()), "has changed"}
}

// suspect is the file of which size or time is another, else the first.
func (k *kept) suspect() int {
	for i := range k.files {
		if one := (&recipe{folder: k.folder, files: k.files[i : i+1]}); !one.untouched() {
			return i + 1
		}
	}
	return 1
}

// Size is the length of a piece; 0 when it is not held or its file has changed.
func (p *placed) Size(digest types.Hash) (int64, error) {
	n, err := p.Pieces.Size(digest)
	if err != nil || n > 0 {
		return n, err
	}
	list, err := p.recipes(digest)
	for i := range list {
		safe, err := p.safe(&list[i])
		if err != nil {
			return 0, err
		}
		if !safe {
			b, risk := list[i].try(digest)
			safe = risk == nil && len(b) > 0
		}
		if safe {
			return list[i].size(), nil
		}
	}
	return 0, err
}

// safe reports whether nothing speaks against a recipe, without reading files.
func (p *placed) safe(k *kept) (bool, error) {
	for i := range k.files {
		_, risk, err := p.state.Get(tableRisks, riskKey(k.owner, k.path(i+1)))
		if err != nil || risk {
			return false, err
		}
	}
	return k.untouched(), nil
}

// Release takes the pieces of an owner away, copied or in place. Repeated after a
// crash it does the rest.
func (p *placed) Release(owner string) error {
	if err := p.Pieces.Release(owner); err != nil || !strings.HasPrefix(owner, inPlace) {
		return err
	}
	for {
		var rows []types.Row
		err := p.state.Scan(tablePlaced, owner+"/", "", func(key string, _ []byte) error {
			digest := key[len(owner)+1:]
			rows = append(rows, types.Row{Table: tablePlaced, Key: key}, types.Row{Table: tableRecipes, Key: digest + owner})
			if len(rows) >= rowsAtOnce {
				return errEnough
			}
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			return fmt.Errorf("release recipes: %w", err)
		}
		if len(rows) == 0 {
			return p.forgive([]string{owner})
		}
		if err := p.state.Save(nil, rows); err != nil {
			return fmt.Errorf("release recipes: %w", err)
		}
	}
}

// rowsAtOnce is how many rows are written in one step.
const rowsAtOnce = 2048

// rows of a recipe of a piece under an owner.
func (p *placed) rows(digest types.Hash, owner string, r *recipe) []types.Row {
	p.any.Store(true)
	return []types.Row{
		{Table: tableRecipes, Key: string(digest[:]) + owner, Value: types.Marshal(r)},
		{Table: tablePlaced, Key: owner + "/" + string(digest[:]), Value: []byte{}},
	}
}

// Risk is a file of datasets in place that is no longer what it was.
type Risk struct {
	File   string // absolute; hostile bytes
	Reason string
	Since  types.Millis
	owner  string
}

// EncodeTo appends [1, file, reason, since].
func (r *Risk) EncodeTo(e *types.Encoder) {
	e.Array(4)
	e.Uint(rowVersion)
	e.Bytes([]byte(r.File))
	e.Text(r.Reason)
	e.Int(int64(r.Since))
}

// DecodeFrom reads the tuple.
func (r *Risk) DecodeFrom(d *types.Decoder) {
	d.Tuple(4)
	version(d)
	r.File = string(d.Bytes(maxFolder + archive.MaxPath))
	r.Reason = d.Text(maxReason)
	r.Since = d.Millis()
}

const maxReason = 1024

func riskKey(owner, file string) string {
	return owner + "/" + types.H("staddle/library/file/1", []byte(file)).String()
}

// note keeps a risk until the dataset is found whole again.
func (p *placed) note(owner string, c *changed) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := riskKey(owner, c.file)
	if _, known, err := p.state.Get(tableRisks, key); err != nil || known {
		return err
	}
	r := Risk{File: c.file, Reason: clean(c.reason), Since: p.now()}
	return p.state.Save(nil, []types.Row{{Table: tableRisks, Key: key, Value: types.Marshal(&r)}})
}

func clean(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), maxReason/4)], "?")
}

// risks lists what is noted of owners whose names begin so.
func (p *placed) risks(prefix string) (out []Risk, err error) {
	err = p.state.Scan(tableRisks, prefix, "", func(key string, value []byte) error {
		var r Risk
		if err := types.Unmarshal(value, &r); err != nil {
			return &BadError{fmt.Sprintf("row %q of %s", key, tableRisks), err}
		}
		r.owner = key[:strings.LastIndexByte(key, '/')]
		out = append(out, r)
		return nil
	})
	return out, err
}

// forgive takes back what is noted of owners.
func (p *placed) forgive(owners []string) error {
	var rows []types.Row
	for _, o := range owners {
		err := p.state.Scan(tableRisks, o+"/", "", func(key string, _ []byte) error {
			rows = append(rows, types.Row{Table: tableRisks, Key: key})
			return nil
		})
		if err != nil {
			return err
		}
	}
	if len(rows) == 0 {
		return nil
	}
	return p.state.Save(nil, rows)
}

// Risks lists files of datasets in place that were found changed.
func (l *Library) Risks() ([]Risk, error) { return l.placed.risks("") }

// AtRisk lists those of one dataset.
func (l *Library) AtRisk(h *Held) (out []Risk, err error) {
	for _, o := range h.owners {
		more, err := l.placed.risks(o + "/")
		if err != nil {
			return nil, err
		}
		out = append(out, more...)
	}
	return out, nil
}

// InPlace reports whether pieces of the dataset are kept as parts of files.
func (h *Held) InPlace() bool {
	return slices.ContainsFunc(h.owners, func(o string) bool { return strings.HasPrefix(o, inPlace) })
}

// Has reports whether a piece can most likely be given: it is in the store, or
// its file looks as it did.
func (l *Library) Has(digest types.Hash) bool {
	n, err := l.Pieces.Size(digest)
	return err == nil && n > 0
}

// why adds to an error of fetching a piece that it was here, and what became of
// its file.
func (l *Library) why(digest types.Hash, err error) error {
	if _, here := l.Pieces.Get(digest); errors.Is(here, ErrAtRisk) {
		return fmt.Errorf("%w; and from elsewhere: %w", here, err)
	}
	return err
}
