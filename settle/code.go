package settle

import (
	"fmt"
	"strconv"
	"strings"
)

// Code says why a line was rejected. A rejected line counts, and has no other
// effect on the result.
type Code uint8

// Reasons of rejection.
const (
	Accepted   Code = iota
	ErrLong         // longer than MaxLine bytes
	ErrGrammar      // not a line of the expected kind
	ErrRange        // a number or text outside its limits, s = 0, or a claim against oneself
	ErrOwner        // speaks for another node than the owner of the log
	ErrShard        // key outside the requested shard
	ErrEpoch        // stored at or after the end of the epoch
	ErrDup          // repeats a fact of the same key; counted by reducers
	codeEnd
)

var codeNames = [codeEnd]string{"accepted", "E_LONG", "E_GRAMMAR", "E_RANGE", "E_OWNER", "E_SHARD", "E_EPOCH", "E_DUP"}

// String is the code's name in reports, such as E_RANGE.
func (c Code) String() string { return codeNames[min(c, codeEnd-1)] }

// Error makes a code usable as an error.
func (c Code) Error() string { return "line rejected: " + c.String() }

// Counts is what a filter did with its lines.
type Counts struct {
	In       uint64 // lines read
	Out      uint64 // lines written
	Legacy   uint64 // accepted, but not in canonical form
	Rejected [codeEnd]uint64
}

// Add adds the counts of another part of the same step.
func (c *Counts) Add(o Counts) {
	c.In += o.In
	c.Out += o.Out
	c.Legacy += o.Legacy
	for i := range c.Rejected {
		c.Rejected[i] += o.Rejected[i]
	}
}

// Bad is the number of rejected lines, repeated facts not counted.
func (c Counts) Bad() (n uint64) {
	for i, k := range c.Rejected {
		if Code(i) != ErrDup {
			n += k
		}
	}
	return n
}

// String lists the numbers that are not zero: "in=5 out=3 E_GRAMMAR=2".
func (c Counts) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "in=%d out=%d", c.In, c.Out)
	if c.Legacy > 0 {
		fmt.Fprintf(&b, " legacy=%d", c.Legacy)
	}
	for i, k := range c.Rejected {
		if k > 0 {
			fmt.Fprintf(&b, " %s=%d", codeNames[i], k)
		}
	}
	return b.String()
}

// ParseCounts reads what String wrote.
func ParseCounts(text string) (Counts, error) {
	var c Counts
	for _, f := range strings.Fields(text) {
		name, value, _ := strings.Cut(f, "=")
		at := c.field(name)
		n, err := strconv.ParseUint(value, 10, 64)
		if at == nil || err != nil {
			return Counts{}, fmt.Errorf("counts: %.40q is not a known name with a number", f)
		}
		*at = n
	}
	return c, nil
}

func (c *Counts) field(name string) *uint64 {
	switch name {
	case "in":
		return &c.In
	case "out":
		return &c.Out
	case "legacy":
		return &c.Legacy
	}
	for i := ErrLong; i < codeEnd; i++ {
		if name == codeNames[i] {
			return &c.Rejected[i]
		}
	}
	return nil
}
