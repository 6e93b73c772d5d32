package settle

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/staddle/staddle/types"
)

// CodeVersion is part of the name of stored results of steps; it rises with
// every change of what a stage writes.
const CodeVersion = 1

// Input is one log of an epoch.
type Input struct {
	Path   string         // where the runner finds it
	Log    types.LogRole  // farmer, buyer and verdict logs go to 1J, bandwidth to 1B
	Owner  *types.Address // lines of others are rejected; nil: a mixed file
	Digest types.Hash     // names the content if the caller knows it, such as the root of its header; zero: unknown
}

// Names of the steps of a run.
const (
	StepJoin       = "1j"
	StepStorage    = "1s"
	StepStorageNet = "1s-net"
	StepBand       = "1b"
	StepBandNet    = "1b-net"
	StepResult     = "2"
)

// Step is one map, sort and reduce. It reads logs or the rows of earlier steps.
type Step struct {
	Name            string
	Stage           string
	Inputs          []Input
	From            []string // names of earlier steps
	Partitions      int      // reducers that a parallel runner uses, 1 to 256
	SortFields      int      // leading TAB-separated fields that a cluster sorts by
	PartitionFields int      // of these, the fields that choose the reducer
	Map, Reduce     []string // words after the name of the binary
}

// Plan is a run of all stages as data. Keys of a reducer ascend by bytes; where
// a runner cuts them into ranges, its parts in order are the sorted whole.
type Plan struct {
	Params Params // Owner and Report are unset
	Steps  []Step
}

// linesPerPartition keeps the sort of one partition inside caches and makes its
// file a fair unit to resume at.
const linesPerPartition = 1 << 18

// NewPlan plans a run over the logs of an epoch. lines is their estimated number
// and only decides how many partitions parallel runners make, never the result.
// It fails when a parameter is out of range or missing, or an input has no role.
func NewPlan(inputs []Input, p Params, lines uint64) (Plan, error) {
	if err := p.check(); err != nil {
		return Plan{}, err
	}
	switch {
	case p.Beacon.IsZero():
		return Plan{}, errNoBeacon
	case p.StorageCost == nil || p.BandwidthCost == nil:
		return Plan{}, errNoCost
	}
	p.Owner, p.Report = nil, nil
	claims, bands, err := route(inputs)
	if err != nil {
		return Plan{}, err
	}
	many := partitions(lines)
	few := max(1, many/8)
	steps := []Step{
		{Name: StepJoin, Stage: StageJoin, Inputs: claims, Partitions: many},
		{Name: StepStorage, Stage: StageStorage, From: []string{StepJoin}, Partitions: many},
		{Name: StepStorageNet, Stage: StageNet, From: []string{StepStorage}, Partitions: 1},
		{Name: StepBand, Stage: StageBandwidth, Inputs: bands, Partitions: few},
		{Name: StepBandNet, Stage: StageNet, From: []string{StepBand}, Partitions: 1},
		{Name: StepResult, Stage: StageCollate, From: []string{StepStorageNet, StepBandNet}, Partitions: 1},
	}
	for i := range steps {
		s := &steps[i]
		stage, err := StageByName(s.Stage)
		if err != nil {
			return Plan{}, err
		}
		s.SortFields, s.PartitionFields = stage.KeyFields()
		s.Map = []string{"mr", s.Stage, "map"}
		s.Reduce = []string{"mr", s.Stage, "reduce"}
	}
	return Plan{Params: p, Steps: steps}, nil
}

func route(inputs []Input) (claims, bands []Input, err error) {
	for _, in := range inputs {
		switch in.Log {
		case types.LogFarmer, types.LogBuyer, types.LogVerdict:
			claims = append(claims, in)
		case types.LogBandwidth:
			bands = append(bands, in)
		default:
			return nil, nil, fmt.Errorf("input %s is a %s log, want farmer, buyer, bandwidth or verdict", in.Path, in.Log)
		}
	}
	byPath := func(a, b Input) int { return cmp.Compare(a.Path, b.Path) }
	slices.SortFunc(claims, byPath)
	slices.SortFunc(bands, byPath)
	return claims, bands, nil
}

func partitions(lines uint64) int {
	n := 4
	for n < 64 && uint64(n)*linesPerPartition < lines {
		n *= 2
	}
	return n
}

// PartitionOf chooses the reducer of a fact: ranges of the first byte of its
// key, so that parts in order are sorted as a whole.
func PartitionOf(fact []byte, partitions int) int {
	if len(fact) > 2 && fact[0] == '0' && fact[1] == 'x' {
		fact = fact[2:]
	}
	var first [1]byte
	if len(fact) < 2 || !unhex(first[:], fact) {
		return 0
	}
	return int(first[0]) * partitions / 256
}
