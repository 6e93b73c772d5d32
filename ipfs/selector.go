package ipfs

import (
	"errors"
	"fmt"

	"github.com/ipld/go-ipld-prime/datamodel"
	"github.com/ipld/go-ipld-prime/node/basicnode"
	"github.com/ipld/go-ipld-prime/traversal/selector"
	"github.com/ipld/go-ipld-prime/traversal/selector/builder"
)

// unixfsWidth is the number of links of a full block of a balanced file.
const unixfsWidth = 174

// Limits of the selectors that strangers may send.
const (
	maxSelectorNodes = 1000 // of the selector itself, all in all
	maxSelectorDepth = 64   // nesting of the selector itself
	maxSelectorRange = 8192 // entries of one range; the library lists them in memory
	maxRecursion     = 100  // links and fields below each other that a recursion follows
)

// ErrSelector is the error of a selector that is not served.
var ErrSelector = errors.New("selector is refused")

// SelectAll selects the whole DAG below a root, as deep as strangers may ask.
func SelectAll() datamodel.Node {
	b := builder.NewSelectorSpecBuilder(basicnode.Prototype.Any)
	return b.ExploreRecursive(selector.RecursionLimitDepth(maxRecursion), b.ExploreAll(b.ExploreRecursiveEdge())).Node()
}

// SelectPieces selects pieces [first, end) of a dataset of total pieces, counted
// from 0, below the root of its UnixFS file, with the inner blocks that lead to
// them. Two askers can so share a dataset between peers.
func SelectPieces(first, end, total int64) (datamodel.Node, error) {
	if first < 0 || first >= end || end > total || total > 1<<32 {
		return nil, fmt.Errorf("pieces %d to %d of %d", first, end, total)
	}
	levels, covers := 0, int64(1)
	for covers < total {
		levels, covers = levels+1, covers*unixfsWidth
	}
	p := pieces{builder.NewSelectorSpecBuilder(basicnode.Prototype.Any)}
	if end == total {
		end = covers // the last blocks are selected whole, however few links they have
	}
	return p.within(levels, covers, first, end).Node(), nil
}

type pieces struct{ builder.SelectorSpecBuilder }

// within selects leaves [first, end) of a block that has levels below it and
// room for covers leaves.
func (p pieces) within(levels int, covers, first, end int64) builder.SelectorSpec {
	if levels == 0 {
		return p.Matcher()
	}
	each := covers / unixfsWidth
	var parts []builder.SelectorSpec
	add := func(from, to int64, below builder.SelectorSpec) {
		hash := p.ExploreFields(func(f builder.ExploreFieldsSpecBuilder) { f.Insert("Hash", below) })
		parts = append(parts, p.ExploreRange(from, to, hash))
	}
	for at := first / each; at*each < end; {
		from, to := max(first-at*each, 0), min(end-at*each, each)
		next := at + 1
		if from == 0 && to == each {
			next = end / each // all that are selected whole
		}
		add(at, next, p.within(levels-1, each, from, to))
		at = next
	}
	list := parts[0]
	if len(parts) > 1 {
		list = p.ExploreUnion(parts...)
	}
	return p.ExploreFields(func(f builder.ExploreFieldsSpecBuilder) { f.Insert("Links", list) })
}

// CheckSelector says why a selector of a stranger is not followed: unbounded or
// deep recursion, ranges that take memory, unions whose parts all recurse (they
// double with every step), conditions, or anything that is no selector.
func CheckSelector(n datamodel.Node) error {
	c := selectorCheck{left: maxSelectorNodes}
	if _, err := c.check(n, 0); err != nil {
		return fmt.Errorf("%w: %w", ErrSelector, err)
	}
	return nil
}

type selectorCheck struct {
	left  int
	again bool // inside a recursion
}

// check reports whether a selector has an edge of the recursion around it.
func (s *selectorCheck) check(n datamodel.Node, depth int) (edge bool, err error) {
	if s.left--; s.left < 0 {
		return false, fmt.Errorf("more than %d parts", maxSelectorNodes)
	}
	if depth > maxSelectorDepth {
		return false, fmt.Errorf("more than %d levels", maxSelectorDepth)
	}
	if n == nil || n.Kind() != datamodel.Kind_Map || n.Length() != 1 {
		return false, errors.New("want a map of one entry")
	}
	key, body, err := n.MapIterator().Next()
	if err != nil {
		return false, err
	}
	kind, err := key.AsString()
	if err != nil {
		return false, err
	}
	switch kind {
	case selector.SelectorKey_Matcher:
		return false, nil
	case selector.SelectorKey_ExploreRecursiveEdge:
		return true, nil
	case selector.SelectorKey_ExploreAll, selector.SelectorKey_ExploreIndex:
		return s.next(body, depth)
	case selector.SelectorKey_ExploreRange:
		return s.bounded(body, depth)
	case selector.SelectorKey_ExploreFields:
		return s.fields(body, depth)
	case selector.SelectorKey_ExploreUnion:
		return s.union(body, depth)
	case selector.SelectorKey_ExploreRecursive:
		return false, s.recursive(body, depth)
	}
	return false, fmt.Errorf("kind %.20q is not known", kind)
}

func (s *selectorCheck) next(body datamodel.Node, depth int) (bool, error) {
	next, err := body.LookupByString(selector.SelectorKey_Next)
	if err != nil {
		return false, err
	}
	return s.check(next, depth+1)
}

// bounded checks a range before the library makes a list of it.
func (s *selectorCheck) bounded(body datamodel.Node, depth int) (bool, error) {
	first, err := integer(body, selector.SelectorKey_Start)
	if err != nil {
		return false, err
	}
	end, err := integer(body, selector.SelectorKey_End)
	if err != nil {
		return false, err
	}
	if first < 0 || first >= end || end-first > maxSelectorRange {
		return false, fmt.Errorf("range %d to %d, at most %d entries", first, end, maxSelectorRange)
	}
	if s.left -= int(end-first) / 64; s.left < 0 {
		return false, errors.New("ranges have too many entries together")
	}
	return s.next(body, depth)
}

func integer(body datamodel.Node, key string) (int64, error) {
	n, err := body.LookupByString(key)
	if err != nil {
		return 0, err
	}
	return n.AsInt()
}

func (s *selectorCheck) fields(body datamodel.Node, depth int) (edge bool, err error) {
	fields, err := body.LookupByString(selector.SelectorKey_Fields)
	if err != nil {
		return false, err
	}
	if fields.Kind() != datamodel.Kind_Map {
		return false, errors.New("fields are no map")
	}
	for i := fields.MapIterator(); !i.Done(); {
		_, next, err := i.Next()
		if err != nil {
			return false, err
		}
		has, err := s.check(next, depth+1)
		if err != nil {
			return false, err
		}
		edge = edge || has
	}
	return edge, nil
}

func (s *selectorCheck) union(body datamodel.Node, depth int) (edge bool, err error) {
	if body.Kind() != datamodel.Kind_List {
		return false, errors.New("union is no list")
	}
	for i := body.ListIterator(); !i.Done(); {
		_, part, err := i.Next()
		if err != nil {
			return false, err
		}
		has, err := s.check(part, depth+1)
		if err != nil {
			return false, err
		}
		if edge && has {
			return false, errors.New("two parts of a union recurse")
		}
		edge = edge || has
	}
	return edge, nil
}

func (s *selectorCheck) recursive(body datamodel.Node, depth int) error {
	if body.Kind() != datamodel.Kind_Map || body.Length() != 2 {
		return errors.New("recursion has other fields than a limit and a sequence")
	}
	limit, err := body.LookupByString(selector.SelectorKey_Limit)
	if err != nil {
		return err
	}
	levels, err := integer(limit, selector.SelectorKey_LimitDepth)
	if err != nil {
		return fmt.Errorf("recursion without a depth: %w", err)
	}
	if levels < 0 || levels > maxRecursion {
		return fmt.Errorf("recursion of %d levels, at most %d", levels, maxRecursion)
	}
	sequence, err := body.LookupByString(selector.SelectorKey_Sequence)
	if err != nil {
		return err
	}
	if s.again {
		return errors.New("recursion inside a recursion")
	}
	s.again = true
	_, err = s.check(sequence, depth+1)
	s.again = false
	return err
}
