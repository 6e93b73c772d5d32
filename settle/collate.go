package settle

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strconv"

	"github.com/staddle/staddle/types"
)

// netStage adds up rows {"id","s"} and {"id","b"} that several reducers of 1S or
// 1B wrote. Facts: address TAB s or b TAB number.
type netStage struct{}

// Name is "net".
func (netStage) Name() string { return StageNet }

// KeyFields sorts by id.
func (netStage) KeyFields() (sort, partition int) { return 1, 1 }

// Map reads rows of 1S and 1B.
func (netStage) Map(p Params, r io.Reader, w io.Writer) (Counts, error) { return mapNets(p, r, w) }

// Reduce writes one row for each number of an id that is not zero.
func (netStage) Reduce(p Params, r io.Reader, w io.Writer) (c Counts, err error) {
	red := netReducer{out: newLineWriter(w)}
	red.row = func(n Net) error { return red.out.net(n, p.grammar()) }
	c.In, err = runReduce(r, addressKey, &red)
	c.Out = red.out.n
	return c, err
}

func mapNets(p Params, r io.Reader, w io.Writer) (Counts, error) {
	m := netMapper{}
	m.s.Grammar = p.grammar()
	return runMap(&m, MaxLine, r, w)
}

type netMapper struct{ s scanner }

func (m *netMapper) line(line []byte, out *lineWriter) (legacy bool, code Code, err error) {
	n, legacy, code := read(&m.s, line, scanNet, &netSchema)
	if code != Accepted {
		return legacy, code, nil
	}
	if n.S != 0 {
		out.buf = append(appendAddress(out.buf, n.ID), "\ts\t"...)
		out.buf = strconv.AppendInt(out.buf, n.S, 10)
		err = out.end()
	}
	if n.B != 0 && err == nil {
		out.buf = append(appendAddress(out.buf, n.ID), "\tb\t"...)
		out.buf = strconv.AppendInt(out.buf, n.B, 10)
		err = out.end()
	}
	return legacy, code, err
}

// netReducer adds up the numbers of each id and passes the sums on. Equal facts
// are added, not merged: they come from different reducers.
type netReducer struct {
	out *lineWriter
	row func(Net) error
	sum Net
}

func (t *netReducer) add(_, fact []byte) error {
	if len(fact) < 3 || fact[1] != '\t' {
		return errFact
	}
	n, err := strconv.ParseInt(string(fact[2:]), 10, 64)
	switch {
	case err != nil:
		return errFact
	case fact[0] == 's':
		return t.sum.add(n, 0)
	case fact[0] == 'b':
		return t.sum.add(0, n)
	}
	return errFact
}

func (t *netReducer) flush(key []byte) (err error) {
	if t.sum.ID, err = parseAddressKey(key); err != nil {
		return err
	}
	err = t.row(t.sum)
	t.sum = Net{}
	return err
}

func (t *netReducer) close() error { return t.out.flush() }

// collateStage is 2. Facts as in net.
type collateStage struct{}

// Name is "2".
func (collateStage) Name() string { return StageCollate }

// KeyFields sorts by id.
func (collateStage) KeyFields() (sort, partition int) { return 1, 1 }

// Map reads rows of 1S and 1B; rows of another stage 2 count with their s and b.
func (collateStage) Map(p Params, r io.Reader, w io.Writer) (Counts, error) { return mapNets(p, r, w) }

var errNoCost = errors.New("stage 2 needs storagecost and bandwidthcost")

// Reduce writes the result: t = s x storagecost + b x bandwidthcost for each id
// whose s and b are not both zero.
func (collateStage) Reduce(p Params, r io.Reader, w io.Writer) (c Counts, err error) {
	if p.StorageCost == nil || p.BandwidthCost == nil {
		return c, errNoCost
	}
	if err := p.check(); err != nil {
		return c, err
	}
	red := netReducer{out: newLineWriter(w)}
	red.row = func(n Net) error { return red.out.collate(n, &p) }
	c.In, err = runReduce(r, addressKey, &red)
	c.Out = red.out.n
	return c, err
}

func (o *lineWriter) collate(n Net, p *Params) error {
	if n.S == 0 && n.B == 0 {
		return nil
	}
	row := Collate(n, p.StorageCost, p.BandwidthCost)
	if p.Export != nil {
		o.buf = AppendExport(o.buf, &row, p.Export, p.grammar())
	} else {
		o.buf = AppendRow(o.buf, &row, p.grammar())
	}
	return o.end()
}

// Collate multiplies a net by the prices, in wei.
func Collate(n Net, storageCost, bandwidthCost *big.Int) Row {
	t := new(big.Int).Mul(big.NewInt(n.S), storageCost)
	t.Add(t, new(big.Int).Mul(big.NewInt(n.B), bandwidthCost))
	return Row{Address: n.ID, S: n.S, B: n.B, T: t}
}

// ReadRows reads a result that stage 2 wrote: rows ascending by address, each
// address once. At most limit rows are read.
func ReadRows(r io.Reader, limit int, g Grammar) ([]Row, error) {
	in := newLineReader(r, MaxLine)
	var rows []Row
	for {
		line, long, err := in.next()
		if errors.Is(err, io.EOF) {
			return rows, nil
		}
		if err == nil && long {
			err = ErrLong
		}
		if err == nil && len(rows) == limit {
			err = fmt.Errorf("more than %d rows", limit)
		}
		if err != nil {
			return nil, fmt.Errorf("read result, row %d: %w", len(rows)+1, err)
		}
		row, err := ParseRow(line, g)
		if err == nil && len(rows) > 0 && !before(&rows[len(rows)-1], &row) {
			err = fmt.Errorf("%s after %s", row.Address, rows[len(rows)-1].Address)
		}
		if err != nil {
			return nil, fmt.Errorf("read result, row %d: %w", len(rows)+1, err)
		}
		rows = append(rows, row)
	}
}

func before(a, b *Row) bool { return bytes.Compare(a.Address[:], b.Address[:]) < 0 }

func sortRows(rows []Row) {
	slices.SortStableFunc(rows, func(a, b Row) int { return bytes.Compare(a.Address[:], b.Address[:]) })
}

// MaxRows is the largest number of rows of an epoch's result.
const MaxRows = types.ResultBuckets * types.MaxBucketLines

// Buckets parts rows by the first byte of the address, ascending by address
// within each. Rows of one address stay apart, which a result refuses later.
func Buckets(rows []Row) (buckets [types.ResultBuckets][]Row) {
	for _, r := range rows {
		k := r.Address[0]
		buckets[k] = append(buckets[k], r)
	}
	for k := range buckets {
		sortRows(buckets[k])
	}
	return buckets
}

// Build makes the blocks of a result: its root block first, then the buckets
// that are not empty, ascending. It fails when an address appears twice, a row
// is empty, a bucket overflows or a sum leaves its range. Whether the sums are
// zero, as ST9.1 wants, the caller reads from Result.Totals.
func Build(rows []Row) (types.Result, []types.Node, error) {
	var result types.Result
	var nodes []types.Node
	for k, lines := range Buckets(rows) {
		for i := range lines {
			if lines[i].S == 0 && lines[i].B == 0 || i > 0 && lines[i].Address == lines[i-1].Address {
				return result, nil, fmt.Errorf("build result: %s appears twice or is empty", lines[i].Address)
			}
		}
		bucket := types.ResultBucket{Lines: lines}
		entry, err := bucket.Entry()
		if err != nil {
			return result, nil, fmt.Errorf("build result, bucket %d: %w", k, err)
		}
		result.Entries[k] = entry
		if len(lines) > 0 {
			nodes = append(nodes, types.NewNode(types.Marshal(&bucket)))
		}
	}
	root := types.NewNode(types.Marshal(&result))
	return result, append([]types.Node{root}, nodes...), nil
}
