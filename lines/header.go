package lines

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/staddle/staddle/settle"
	"github.com/staddle/staddle/types"
)

// ErrLog marks a log whose bytes are not those of its header.
var ErrLog = errors.New("log does not match its header")

// Roles are the logs that a node commits for an epoch, in this order.
func Roles() [3]types.LogRole {
	return [3]types.LogRole{types.LogFarmer, types.LogBuyer, types.LogBandwidth}
}

// Tally hashes the lines of one log as they go by and writes them to W, each
// with an LF. The zero value with W set is an empty log; a nil W only counts.
type Tally struct {
	W     io.Writer
	Lines uint64
	Bytes uint64 // with one LF a line

	tree types.LineTree
	last []byte
	any  bool
}

// Add takes the next line. It refuses one that does not ascend (ErrLog).
func (t *Tally) Add(line []byte) error {
	if t.any && bytes.Compare(t.last, line) >= 0 {
		return fmt.Errorf("%w: line %d does not ascend", ErrLog, t.Lines+1)
	}
	t.last, t.any = append(t.last[:0], line...), true
	t.tree.Add(line)
	t.Lines++
	t.Bytes += uint64(len(line)) + 1
	if t.W == nil {
		return nil
	}
	if _, err := t.W.Write(line); err != nil {
		return err
	}
	_, err := t.W.Write([]byte{'\n'})
	return err
}

// Header describes the lines so far. The caller sets Leaves and Previous.
func (t *Tally) Header(device types.Device, role types.LogRole, e types.Epoch) types.LogHeader {
	return types.LogHeader{
		Version: types.LogVersion, Device: device, Role: role, Epoch: e,
		Lines: t.Lines, Bytes: t.Bytes, Root: t.tree.Root(),
	}
}

// Check reads a log and gives its lines; at the end, the error is ErrLog unless
// they were the header's. Lines were emitted before by then.
func Check(r io.Reader, h *types.LogHeader, emit Emit) error {
	var t Tally
	in := bufio.NewReaderSize(io.LimitReader(r, int64(min(h.Bytes, 1<<62))+1), settle.MaxLine+2)
	for {
		line, err := in.ReadSlice('\n')
		if err == io.EOF && len(line) == 0 {
			break
		}
		if err == io.EOF || errors.Is(err, bufio.ErrBufferFull) {
			return fmt.Errorf("%w: line %d has no end", ErrLog, t.Lines+1)
		}
		if err != nil {
			return err
		}
		line = line[:len(line)-1]
		if err := t.Add(line); err != nil {
			return err
		}
		if err := emit(line); err != nil {
			return err
		}
	}
	if t.Lines != h.Lines || t.Bytes != h.Bytes || t.tree.Root() != h.Root {
		return fmt.Errorf("%w: %d lines of %d bytes with root %s, header says %d of %d with %s",
			ErrLog, t.Lines, t.Bytes, t.tree.Root().Short(), h.Lines, h.Bytes, h.Root.Short())
	}
	return nil
}

// Headers are the headers of a node's logs of one epoch: what a kind 11 commits
// the root of.
type Headers []types.LogHeader

// MaxHeaders bounds the logs of a node and epoch.
const MaxHeaders = 1024

// EncodeTo appends the list.
func (l Headers) EncodeTo(e *types.Encoder) {
	e.Array(len(l))
	for i := range l {
		l[i].EncodeTo(e)
	}
}

// DecodeFrom reads the list.
func (l *Headers) DecodeFrom(d *types.Decoder) {
	*l = make(Headers, d.Array(MaxHeaders))
	for i := range *l {
		(*l)[i].DecodeFrom(d)
	}
}

// Root is what the kind 11 commits. Errors: headers of several devices or
// epochs, or two of one log.
func (l Headers) Root() (types.Hash, error) { return types.HeadersRoot(l) }

// Find is the header of a role that covers every shard; nil when there is none.
func (l Headers) Find(role types.LogRole) *types.LogHeader {
	for i := range l {
		if l[i].Role == role && l[i].Shard == (types.Shard{}) {
			return &l[i]
		}
	}
	return nil
}

// Committed reports why the headers are not those of a commitment (kind 11).
func (l Headers) Committed(c *types.LogCommitment) error {
	root, err := l.Root()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrLog, err)
	}
	if root != c.Root || uint64(len(l)) != uint64(c.Headers) {
		return fmt.Errorf("%w: %d headers with root %s, committed are %d with %s", ErrLog, len(l), root.Short(), c.Headers, c.Root.Short())
	}
	if len(l) > 0 && l[0].Epoch != c.Epoch {
		return fmt.Errorf("%w: headers of epoch %d, committed for %d", ErrLog, l[0].Epoch, c.Epoch)
	}
	return nil
}
