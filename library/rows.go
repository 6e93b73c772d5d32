package library

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/staddle/staddle/types"
)

// Tables of spec/library.md.
const (
	tableHeld   = "library/held"   // dataset -> Held
	tableJobs   = "library/jobs"   // folder/serial -> job
	tableTrash  = "library/trash"  // owner -> nothing; its pieces are being released
	tableSerial = "library/serial" // "put" -> serial of the next put

	tableRecipes  = "library/recipes"  // digest and owner -> recipe
	tablePlaced   = "library/placed"   // owner/digest -> nothing
	tableRisks    = "library/risks"    // owner/file -> Risk
	tableVersions = "library/versions" // folder and name/time -> Version

	rowVersion = 1
	maxOwners  = 4
	maxOwner   = 255
	maxFolder  = 1 << 14
)

// Held is a dataset of which this node knows the description and keeps some or
// all pieces.
type Held struct {
	Attachment types.Attachment
	TOC        types.Hash   // SHA-256 of the table of contents; zero while unknown
	Whole      bool         // every piece and block was stored
	Added      types.Millis // when it was published or first asked for
	Name       string       // of a private dataset as its key tells it, else the attachment's; not in the row
	owners     []string     // of its pieces
}

// EncodeTo appends [1, attachment, toc, whole, added, [owner, ...]].
func (h *Held) EncodeTo(e *types.Encoder) {
	e.Array(6)
	e.Uint(rowVersion)
	h.Attachment.EncodeTo(e)
	e.Bytes(h.TOC[:])
	e.Bool(h.Whole)
	e.Int(int64(h.Added))
	e.Array(len(h.owners))
	for _, o := range h.owners {
		e.Text(o)
	}
}

// DecodeFrom reads the tuple.
func (h *Held) DecodeFrom(d *types.Decoder) {
	d.Tuple(6)
	version(d)
	h.Attachment.DecodeFrom(d)
	h.TOC = d.Hash()
	h.Whole = d.Bool()
	h.Added = d.Millis()
	h.owners = make([]string, d.Array(maxOwners))
	for i := range h.owners {
		h.owners[i] = d.Text(maxOwner)
	}
}

func version(d *types.Decoder) {
	if v := d.Uint(); v != rowVersion && d.Err() == nil {
		d.Fail("row of version %d, want %d: written by another version of staddle", v, rowVersion)
	}
}

func (h *Held) row() types.Row {
	id := h.Attachment.Dataset()
	return types.Row{Table: tableHeld, Key: string(id[:]), Value: types.Marshal(h)}
}

// addOwner notes who keeps pieces; false when it is known.
func (h *Held) addOwner(owner string) bool {
	if slices.Contains(h.owners, owner) {
		return false
	}
	h.owners = append(h.owners, owner)
	return true
}

// Held gives the row of a dataset; the error wraps ErrNotHeld when there is none.
func (l *Library) Held(id types.DatasetID) (Held, error) {
	var h Held
	b, ok, err := l.State.Get(tableHeld, string(id[:]))
	if err != nil {
		return h, fmt.Errorf("read the row of dataset %s: %w", id.Short(), err)
	}
	if !ok {
		return h, &NotHeld{"dataset " + Ref{Dataset: id}.String()}
	}
	if err := parseHeld(string(id[:]), b, &h); err != nil {
		return h, err
	}
	return h, l.named(&h)
}

func parseHeld(key string, b []byte, h *Held) error {
	err := types.Unmarshal(b, h)
	if id := h.Attachment.Dataset(); err == nil && key != string(id[:]) {
		err = fmt.Errorf("it describes %s", id.Short())
	}
	if err != nil {
		return &BadError{fmt.Sprintf("row of dataset %x", key), err}
	}
	return nil
}

// Attachment describes a dataset of which a row is held.
func (l *Library) Attachment(id types.DatasetID) (types.Attachment, error) {
	h, err := l.Held(id)
	return h.Attachment, err
}

// Datasets lists what is held, the newest first.
func (l *Library) Datasets() (out []Held, err error) {
	err = l.State.Scan(tableHeld, "", "", func(key string, value []byte) error {
		var h Held
		if err := parseHeld(key, value, &h); err != nil {
			return err
		}
		out = append(out, h)
		return nil
	})
	for i := range out {
		if err == nil {
			err = l.named(&out[i])
		}
	}
	if err != nil {
		return nil, fmt.Errorf("list datasets: %w", err)
	}
	slices.SortStableFunc(out, func(a, b Held) int { return int(min(max(b.Added-a.Added, -1), 1)) })
	return out, nil
}

// Resolve gives ref its Dataset: a name stands for the newest dataset of that
// name that is held here. The error wraps ErrNotHeld when there is none.
func (l *Library) Resolve(ref Ref) (Ref, error) {
	if ref.Title != (Title{}) {
		return ref, &NotHeld{fmt.Sprintf("%s, a name on the chain that only a running node looks up,", ref)}
	}
	if ref.Name == "" {
		return ref, nil
	}
	all, err := l.Datasets()
	if err != nil {
		return ref, err
	}
	for _, h := range all {
		if h.Name == ref.Name {
			return Ref{Dataset: h.Attachment.Dataset(), Path: ref.Path, Key: ref.Key}, nil
		}
	}
	return ref, &NotHeld{fmt.Sprintf("a dataset named %q", ref.Name)}
}

// change reads the row of a dataset, or takes fresh when there is none, and saves
// the blocks and the rows that fn makes of it in one step.
func (l *Library) change(fresh Held, nodes []types.Node, fn func(*Held) []types.Row) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	h, err := l.Held(fresh.Attachment.Dataset())
	if errors.Is(err, ErrNotHeld) {
		h, err = fresh, nil
	}
	if err != nil {
		return err
	}
	rows := fn(&h)
	if len(nodes)+len(rows) == 0 {
		return nil
	}
	return l.State.Save(nodes, rows)
}

func sameAttachment(a, b *types.Attachment) bool {
	return bytes.Equal(types.Marshal(a), types.Marshal(b))
}
