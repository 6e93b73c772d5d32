package types

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// NameUpdate is the body of kind 28: from this block on the sender's name stands
// for the dataset. A zero dataset gives the name up.
type NameUpdate struct {
	Name    string // CheckTitle
	Dataset DatasetID
}

// EncodeTo appends the tuple.
func (n *NameUpdate) EncodeTo(e *Encoder) {
	e.Array(2)
	e.Text(n.Name)
	e.Bytes(n.Dataset[:])
}

// DecodeFrom reads the tuple.
func (n *NameUpdate) DecodeFrom(d *Decoder) {
	d.Tuple(2)
	n.Name = d.Text(MaxTitle)
	n.Dataset = d.Hash()
}

// MaxTitle bounds the bytes of a name of kind 28.
const MaxTitle = 128

// CheckTitle says why a name cannot stand for a dataset: it is empty, above
// MaxTitle bytes, not UTF-8, or holds a slash, an @, a # or a control character,
// which references need for themselves.
func CheckTitle(name string) error {
	switch {
	case name == "" || name == "." || name == "..":
		return fmt.Errorf("name %q: want 1 to %d bytes", name, MaxTitle)
	case len(name) > MaxTitle:
		return fmt.Errorf("name of %d bytes above limit %d", len(name), MaxTitle)
	case !utf8.ValidString(name):
		return fmt.Errorf("name %q is not UTF-8", name)
	}
	for _, r := range name {
		if r < ' ' || r >= 0x7f && r < 0xa0 || strings.ContainsRune("/@#", r) {
			return fmt.Errorf("name %q holds %q", name, r)
		}
	}
	return nil
}

// NameID is the id of a name in the lists of the state.
func NameID(a Account, name string) Hash {
	return H("staddle/name/1", a[:], Be32(uint32(len(name))), []byte(name))
}

// NameRecord is the newest version of a name, and how it began.
type NameRecord struct {
	Owner   Account
	Name    string
	Since   Height // of the block that took the name
	Version uint64 // of the newest, from 1; earlier ones have records of their own
	NameVersion
}

// NameVersion is what a name stood for from a block on.
type NameVersion struct {
	Dataset DatasetID // zero: given up
	Height  Height
	Time    Millis // of that block
}

// EncodeTo appends the tuple.
func (n *NameRecord) EncodeTo(e *Encoder) {
	e.Array(5)
	e.Bytes(n.Owner[:])
	e.Text(n.Name)
	e.Uint(uint64(n.Since))
	e.Uint(n.Version)
	n.NameVersion.EncodeTo(e)
}

// DecodeFrom reads the tuple.
func (n *NameRecord) DecodeFrom(d *Decoder) {
	d.Tuple(5)
	n.Owner = d.Account()
	n.Name = d.Text(MaxTitle)
	n.Since = d.Height()
	n.Version = d.Uint()
	n.NameVersion.DecodeFrom(d)
}

// EncodeTo appends the tuple.
func (n *NameVersion) EncodeTo(e *Encoder) {
	e.Array(3)
	e.Bytes(n.Dataset[:])
	e.Uint(uint64(n.Height))
	e.Uint(uint64(n.Time))
}

// DecodeFrom reads the tuple.
func (n *NameVersion) DecodeFrom(d *Decoder) {
	d.Tuple(3)
	n.Dataset = d.Hash()
	n.Height = d.Height()
	n.Time = d.Millis()
}
