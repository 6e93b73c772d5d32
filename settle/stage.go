package settle

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/staddle/staddle/types"
)

// Stage is one filter pair. Map and Reduce read to the end of their input; they
// write whole lines in each call of Write. Rejected lines are counted, not
// errors; an error is a failed stream, a missing parameter, an input that no Map
// of the stage wrote, or a sum beyond 64 bits, and the output must be thrown away.
type Stage interface {
	// Name is the stage's word on the command line.
	Name() string
	// KeyFields says how many TAB-separated fields of a fact a cluster sorts by,
	// and how many of these decide which reducer gets it.
	KeyFields() (sort, partition int)
	// Map turns lines into facts, in any order, from any part of the input.
	Map(p Params, r io.Reader, w io.Writer) (Counts, error)
	// Reduce turns all facts of its keys, ascending, into rows.
	Reduce(p Params, r io.Reader, w io.Writer) (Counts, error)
}

// Names of the stages.
const (
	StageJoin      = "1j"
	StageStorage   = "1s"
	StageBandwidth = "1b"
	StageNet       = "net"
	StageCollate   = "2"
)

// Stages lists all stages in the order of a run.
func Stages() []Stage {
	return []Stage{joinStage{}, storageStage{}, bandwidthStage{}, netStage{}, collateStage{}}
}

// StageByName finds a stage.
func StageByName(name string) (Stage, error) {
	for _, s := range Stages() {
		if s.Name() == name {
			return s, nil
		}
	}
	return nil, fmt.Errorf("stage %.20q is not one of 1j, 1s, 1b, net, 2", name)
}

// Widths of keys in facts.
const (
	chunkKey   = 64 // hex digits
	addressKey = 42 // 0x and hex digits
)

var errFact = errors.New("no fact of this stage")

func parseChunkKey(key []byte) (h types.Hash, err error) {
	if len(key) != chunkKey || !unhex(h[:], key) {
		return h, fmt.Errorf("key %.80q: %w", key, errFact)
	}
	return h, nil
}

func parseAddressKey(key []byte) (a types.Address, err error) {
	if len(key) != addressKey || key[0] != '0' || key[1] != 'x' || !unhex(a[:], key[2:]) {
		return a, fmt.Errorf("key %.80q: %w", key, errFact)
	}
	return a, nil
}

// report writes feedback lines, if anybody asked for them.
type report struct {
	out *lineWriter
	Grammar
}

func newReport(p Params) *report {
	r := &report{Grammar: p.grammar()}
	if p.Report != nil {
		r.out = newLineWriter(p.Report)
	}
	return r
}

func (r *report) tell(f Feedback) error {
	if r.out == nil {
		return nil
	}
	r.out.buf = f.Append(r.out.buf, r.Grammar)
	return r.out.end()
}

func (r *report) flush() error {
	if r.out == nil {
		return nil
	}
	if err := r.out.flush(); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

func appendChunkKey(dst []byte, h *types.Hash) []byte { return hex.AppendEncode(dst, h[:]) }
