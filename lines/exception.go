package lines

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/settle"
	"github.com/staddle/staddle/types"
)

// Limits of a block of exceptions.
const (
	MaxExceptions      = 4096    // entries
	MaxExceptionsBytes = 1 << 20 // of the block
	exceptionsVersion  = 1
)

// ErrException marks exceptions that are malformed or do not fit the lines that
// they are about. Readers then take the derived lines as they are.
var ErrException = errors.New("bad exception")

// Op is what an exception does.
type Op uint8

// Operations.
const (
	OpRemove  Op = 1 + iota // farmer: a derived line is not claimed, such as a lost piece
	OpAdd                   // farmer: a line that is not derived
	OpReplace               // buyer: the derived line with the same terms gets this sig and smash
	OpReceipt               // bandwidth: canonical bytes of a receipt, from which both sides' lines follow
	opEnd
)

// String is the operation's name.
func (o Op) String() string {
	return [...]string{"none", "remove", "add", "replace", "receipt", "unknown"}[min(o, opEnd)]
}

// allowed are the pairs of role and operation that exist. A sponsor can neither
// remove a debt (ST2.2) nor add one that no lock backs.
func allowed(role types.LogRole, op Op) bool {
	switch role {
	case types.LogFarmer:
		return op == OpRemove || op == OpAdd
	case types.LogBuyer:
		return op == OpReplace
	case types.LogBandwidth:
		return op == OpReceipt
	}
	return false
}

// Exception is one difference between a node's logs and the derived lines.
type Exception struct {
	Role types.LogRole
	Op   Op
	Line []byte // without LF; for OpReceipt the receipt
}

func compareExceptions(a, b Exception) int {
	return cmp.Or(cmp.Compare(a.Role, b.Role), cmp.Compare(a.Op, b.Op), bytes.Compare(a.Line, b.Line))
}

// Exceptions is the block that a kind 11 names (ST2.1): a raw block with the
// tuple [version, [[role, op, line], ...]], entries ascending, each once.
type Exceptions struct{ List []Exception }

// NewExceptions sorts the list. Error: ErrException when it is above the limits
// or holds what no reader would take.
func NewExceptions(list []Exception) (*Exceptions, error) {
	x := &Exceptions{List: slices.Clone(list)}
	slices.SortFunc(x.List, compareExceptions)
	x.List = slices.CompactFunc(x.List, func(a, b Exception) bool { return compareExceptions(a, b) == 0 })
	if n := len(x.List); n > MaxExceptions {
		return nil, fmt.Errorf("%w: %d entries above %d", ErrException, n, MaxExceptions)
	}
	for i := range x.List {
		if err := x.List[i].check(); err != nil {
			return nil, err
		}
	}
	if n := len(types.Marshal(x)); n > MaxExceptionsBytes {
		return nil, fmt.Errorf("%w: block of %d bytes above %d", ErrException, n, MaxExceptionsBytes)
	}
	return x, nil
}

// Block is the raw block: its name and its bytes.
func (x *Exceptions) Block() types.Node {
	b := types.Marshal(x)
	return types.Node{CID: types.RawCID(b), Bytes: b}
}

// ParseExceptions reads a block that a kind 11 names; nil when it names none.
// Error: ErrException, also when the bytes are another block's.
func ParseExceptions(name cid.Cid, block []byte) (*Exceptions, error) {
	if !name.Defined() {
		return nil, nil
	}
	if len(block) > MaxExceptionsBytes || types.RawCID(block) != name {
		return nil, fmt.Errorf("%w: %d bytes are not block %s", ErrException, len(block), name)
	}
	x := new(Exceptions)
	if err := types.Unmarshal(block, x); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrException, err)
	}
	return x, nil
}

// EncodeTo appends the tuple.
func (x *Exceptions) EncodeTo(e *types.Encoder) {
	e.Array(2)
	e.Uint(exceptionsVersion)
	e.Array(len(x.List))
	for i := range x.List {
		e.Array(3)
		e.Uint(uint64(x.List[i].Role))
		e.Uint(uint64(x.List[i].Op))
		e.Bytes(x.List[i].Line)
	}
}

// DecodeFrom reads the tuple.
func (x *Exceptions) DecodeFrom(d *types.Decoder) {
	d.Tuple(2)
	if v := d.Uint8(); d.Err() == nil && v != exceptionsVersion {
		d.Fail("exceptions of version %d, this program reads %d", v, exceptionsVersion)
	}
	x.List = make([]Exception, d.Array(MaxExceptions))
	for i := range x.List {
		d.Tuple(3)
		x.List[i] = Exception{types.LogRole(d.Uint8()), Op(d.Uint8()), d.Bytes(settle.MaxLine)}
		if d.Err() != nil {
			return
		}
		if err := x.List[i].check(); err != nil {
			d.Fail("entry %d: %w", i, err)
		}
		if i > 0 && compareExceptions(x.List[i-1], x.List[i]) >= 0 {
			d.Fail("entry %d does not ascend", i)
		}
	}
	if d.Err() == nil && len(x.List) == 0 {
		d.Fail("block without exceptions")
	}
}

// check reports whether an entry is possible and its line canonical.
func (x *Exception) check() error {
	if !allowed(x.Role, x.Op) || len(x.Line) == 0 {
		return fmt.Errorf("%w: %s of %d bytes in a %s log", ErrException, x.Op, len(x.Line), x.Role)
	}
	var again []byte
	var err error
	switch x.Role {
	case types.LogFarmer:
		var f settle.Farmer
		f, err = settle.ParseFarmer(x.Line, settle.Grammar{})
		again = f.Append(nil, settle.Grammar{})
	case types.LogBuyer:
		var b settle.Buyer
		b, err = settle.ParseBuyer(x.Line, settle.Grammar{})
		if err == nil && b.Sig == "" && b.Smash == "" {
			err = fmt.Errorf("replaces a line by itself")
		}
		again = b.Append(nil, settle.Grammar{})
	default:
		return nil // a receipt: whoever knows them checks it
	}
	if err != nil {
		return fmt.Errorf("%w: %s %s: %w", ErrException, x.Op, x.Role, err)
	}
	if !bytes.Equal(again, x.Line) {
		return fmt.Errorf("%w: %s %s: line is not canonical", ErrException, x.Op, x.Role)
	}
	return nil
}

// Of lists the entries of one role and operation, ascending. x may be nil.
func (x *Exceptions) Of(role types.LogRole, op Op) (list [][]byte) {
	if x == nil {
		return nil
	}
	for i := range x.List {
		if e := &x.List[i]; e.Role == role && e.Op == op {
			list = append(list, e.Line)
		}
	}
	return list
}
