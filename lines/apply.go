package lines

import (
	"bytes"
	"fmt"

	"github.com/staddle/staddle/settle"
	"github.com/staddle/staddle/types"
)

// Apply gives the lines of a farmer's or buyer's log: those of derive with the
// owner's exceptions. What follows is byte-equal to the log that the owner
// wrote (ST2.1). A nil x changes nothing. Error: ErrException when an entry
// speaks for another node, removes or replaces a line that is not derived, or
// adds one that is; lines were emitted before by then.
func (x *Exceptions) Apply(role types.LogRole, owner types.Address, derive func(Emit) error, emit Emit) error {
	if x == nil {
		return derive(emit)
	}
	m := merge{emit: emit, remove: x.Of(role, OpRemove), add: x.Of(role, OpAdd)}
	if err := m.own(role, owner); err != nil {
		return err
	}
	if err := m.replacements(x.Of(role, OpReplace), owner); err != nil {
		return err
	}
	if err := derive(m.line); err != nil {
		return err
	}
	return m.end()
}

// merge walks along the derived lines with three ascending lists.
type merge struct {
	emit        Emit
	remove, add [][]byte
	old, new    [][]byte // replaced lines and what stands for them
}

func (m *merge) own(role types.LogRole, owner types.Address) error {
	if role != types.LogFarmer {
		return nil
	}
	for _, list := range [][][]byte{m.remove, m.add} {
		for _, line := range list {
			f, err := settle.ParseFarmer(line, settle.Grammar{})
			if err != nil || f.Farmer != owner {
				return fmt.Errorf("%w: line is not by %s", ErrException, owner)
			}
		}
	}
	return nil
}

// replacements finds the derived line behind each new one: its sig and smash are
// empty, so both stand at the same place of the log.
func (m *merge) replacements(list [][]byte, owner types.Address) error {
	for _, line := range list {
		b, err := settle.ParseBuyer(line, settle.Grammar{})
		if err != nil || b.Buyer != owner {
			return fmt.Errorf("%w: line is not by %s", ErrException, owner)
		}
		b.Sig, b.Smash = "", ""
		old := b.Append(nil, settle.Grammar{})
		if n := len(m.old); n > 0 && bytes.Equal(m.old[n-1], old) {
			return fmt.Errorf("%w: two replacements of one line", ErrException)
		}
		m.old, m.new = append(m.old, old), append(m.new, line)
	}
	return nil
}

func (m *merge) line(line []byte) error {
	if err := m.adding(line); err != nil {
		return err
	}
	if hit, err := next(&m.remove, line); hit || err != nil {
		return err
	}
	hit, err := next(&m.old, line)
	if err != nil {
		return err
	}
	if hit {
		line, m.new = m.new[0], m.new[1:]
	}
	return m.emit(line)
}

// adding emits the added lines before a derived one; nil: all.
func (m *merge) adding(before []byte) error {
	for len(m.add) > 0 {
		c := -1
		if before != nil {
			c = bytes.Compare(m.add[0], before)
		}
		if c == 0 {
			return fmt.Errorf("%w: adds a derived line", ErrException)
		}
		if c > 0 {
			return nil
		}
		if err := m.emit(m.add[0]); err != nil {
			return err
		}
		m.add = m.add[1:]
	}
	return nil
}

// next takes the first of an ascending list when it is the line.
func next(list *[][]byte, line []byte) (bool, error) {
	if len(*list) == 0 {
		return false, nil
	}
	switch c := bytes.Compare((*list)[0], line); {
	case c < 0:
		return false, fmt.Errorf("%w: changes a line that is not derived", ErrException)
	case c > 0:
		return false, nil
	}
	*list = (*list)[1:]
	return true, nil
}

func (m *merge) end() error {
	if len(m.remove)+len(m.old) > 0 {
		return fmt.Errorf("%w: changes a line that is not derived", ErrException)
	}
	return m.adding(nil)
}
