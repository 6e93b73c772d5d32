package settle

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/staddle/staddle/types"
)

// storageStage is 1S. A fact is the chunk id of 64 hex digits, TAB, the row of
// stage 1J.
type storageStage struct{}

// Name is "1s".
func (storageStage) Name() string { return StageStorage }

// KeyFields sorts by chunk.
func (storageStage) KeyFields() (sort, partition int) { return 1, 1 }

// Map reads rows of stage 1J.
func (storageStage) Map(p Params, r io.Reader, w io.Writer) (Counts, error) {
	m := storageMapper{p: &p}
	m.s.Grammar = p.grammar()
	return runMap(&m, MaxRow, r, w)
}

type storageMapper struct {
	p  *Params
	s  scanner
	js joinedScan
}

func (m *storageMapper) line(line []byte, out *lineWriter) (legacy bool, code Code, err error) {
	row, legacy, code := read(&m.s, line, m.js.scan, &joinedSchema)
	if code == Accepted && !m.p.Shard.Holds(row.Chunk[0], row.Chunk[1]) {
		code = ErrShard
	}
	if code != Accepted {
		return legacy, code, nil
	}
	out.buf = append(appendChunkKey(out.buf, &row.Chunk), '\t')
	if legacy {
		out.buf = row.Append(out.buf, m.p.grammar())
	} else {
		out.buf = append(out.buf, line...)
	}
	return legacy, code, out.end()
}

// errNoBeacon is the answer to 1S without its lot.
var errNoBeacon = errors.New("stage 1s needs the beacon of the epoch")

// Reduce selects the replicas that are paid and adds up what each id earned or
// owes. Rows of one chunk are joined; the sums of all ids stay in memory.
func (storageStage) Reduce(p Params, r io.Reader, w io.Writer) (c Counts, err error) {
	if p.Beacon.IsZero() {
		return c, errNoBeacon
	}
	red := storageReducer{p: &p, out: newLineWriter(w), report: newReport(p), sums: newSums()}
	red.s.Grammar = p.grammar()
	c.In, err = runReduce(r, chunkKey, &red)
	c.Out, c.Rejected[ErrDup] = red.out.n, red.dups
	return c, err
}

type storageReducer struct {
	p      *Params
	s      scanner
	js     joinedScan
	out    *lineWriter
	report *report
	sums   *sums
	row    Joined
	rows   int // of this chunk
	dups   uint64
}

func (t *storageReducer) add(_, fact []byte) error {
	row, legacy, code := read(&t.s, fact, t.js.scan, &joinedSchema)
	if code != Accepted || legacy {
		return errFact
	}
	if t.rows > 0 {
		t.dups++
	}
	t.rows++
	t.row.Chunk = row.Chunk
	t.row.Renew = t.row.Renew || row.Renew
	t.row.Buyers = append(t.row.Buyers, row.Buyers...)
	t.row.Farmers = append(t.row.Farmers, row.Farmers...)
	if t.rows > 1 {
		t.row.Buyers, t.row.Farmers = payerSet(t.row.Buyers), addressSet(t.row.Farmers)
		t.row.trim(t.p.Beacon)
	}
	return nil
}

func (t *storageReducer) flush(key []byte) error {
	chunk, err := parseChunkKey(key)
	if err != nil || chunk != t.row.Chunk {
		return fmt.Errorf("row of chunk %s under key %.80q: %w", t.row.Chunk, key, errFact)
	}
	err = t.pay()
	t.row.Buyers, t.row.Farmers, t.row.Renew, t.rows = t.row.Buyers[:0], t.row.Farmers[:0], false, 0
	return err
}

func (t *storageReducer) pay() error {
	row := &t.row
	if err := t.feedback(); err != nil || len(row.Buyers) == 0 || len(row.Farmers) == 0 {
		return err
	}
	paid := row.Select(t.p.Beacon)
	for _, f := range paid {
		if err := t.sums.add(f, 1, 0); err != nil {
			return err
		}
	}
	shares := row.Shares(t.p.Beacon, len(paid))
	for i, n := range shares {
		if err := t.sums.add(row.Buyers[i].Address, -int64(n), 0); err != nil {
			return err
		}
	}
	return nil
}

// feedback tells farmers of chunks that nobody pays or that are kept twice too
// often, and buyers of chunks that too few keep.
func (t *storageReducer) feedback() error {
	row, rep, n := &t.row, int(t.row.Rep()), len(t.row.Farmers)
	f := Feedback{Chunk: row.Chunk}
	switch {
	case len(row.Buyers) == 0:
		f.Kind = FailedChunkClaim
		return t.tellAll(f, row.Farmers)
	case n >= 2*rep:
		f.Kind, f.Rep, f.Farmers = OverReplication, rep, n
		return t.tellAll(f, row.Farmers)
	case n < t.p.minRep(rep):
		f.Kind, f.Farmers = UnderReplication, n
		for _, b := range row.Buyers {
			f.Node = b.Address
			if err := t.report.tell(f); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *storageReducer) tellAll(f Feedback, nodes []types.Address) error {
	for _, f.Node = range nodes {
		if err := t.report.tell(f); err != nil {
			return err
		}
	}
	return nil
}

func (t *storageReducer) close() error {
	if err := t.sums.write(t.out, t.p.grammar()); err != nil {
		return err
	}
	return t.report.flush()
}

// Select gives the farmers that are paid (ST5.2): the min(rep, farmers) with the
// smallest Rank, in no particular order.
func (j *Joined) Select(beacon types.Hash) []types.Address {
	return selectFarmers(j.Farmers, int(j.Rep()), beacon, j.Chunk)
}

func selectFarmers(farmers []types.Address, rep int, beacon, chunk types.Hash) []types.Address {
	if len(farmers) <= rep {
		return farmers
	}
	return smallest(farmers, rep, func(a types.Address) types.Hash { return Rank(beacon, chunk, a) })
}

// Shares gives how many of the paid replicas each buyer owes (ST5.1): beginning
// with buyer U64(SHA-256(beacon || chunk)[0:8]) mod buyers, each next one in
// turn pays one, and who has reached his own rep is passed over. paid is at most
// Rep, so somebody always has room.
func (j *Joined) Shares(beacon types.Hash, paid int) []int {
	shares := make([]int, len(j.Buyers))
	if len(j.Buyers) == 1 {
		shares[0] = paid
		return shares
	}
	turn := 0
	if len(shares) > 0 {
		start := types.Hash(sha256.Sum256(append(beacon[:], j.Chunk[:]...)))
		turn = int(start.U64() % uint64(len(shares)))
	}
	for range min(paid, int(j.Rep())) {
		for shares[turn] >= int(j.Buyers[turn].Rep) {
			turn = (turn + 1) % len(shares)
		}
		shares[turn]++
		turn = (turn + 1) % len(shares)
	}
	return shares
}
