package settle

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"

	"github.com/staddle/staddle/types"
)

// joinStage is 1J. Facts, after the chunk id of 64 hex digits:
//
//	TAB b TAB address TAB rep, three digits TAB renewable
//	TAB f TAB address
//	TAB v TAB address TAB kind of verdict, one digit TAB ok
type joinStage struct{}

// Name is "1j".
func (joinStage) Name() string { return StageJoin }

// KeyFields sorts by chunk, side and address; one reducer gets all of a chunk.
func (joinStage) KeyFields() (sort, partition int) { return 3, 1 }

// Map reads farmerlog, buyerlog and verdict lines in any mixture.
func (joinStage) Map(p Params, r io.Reader, w io.Writer) (Counts, error) {
	m := joinMapper{p: &p}
	m.s.Grammar = p.grammar()
	return runMap(&m, MaxLine, r, w)
}

type joinMapper struct {
	p *Params
	s scanner
}

func (m *joinMapper) line(line []byte, out *lineWriter) (legacy bool, code Code, err error) {
	switch {
	case bytes.HasPrefix(line, []byte(`{"farmer":`)):
		legacy, code = m.farmer(line, out)
	case bytes.HasPrefix(line, []byte(`{"buyer":`)):
		legacy, code = m.buyer(line, out)
	case bytes.Contains(line, []byte(`"verdict"`)):
		legacy, code = m.verdict(line, out)
	case bytes.Contains(line, []byte(`"buyer"`)):
		legacy, code = m.buyer(line, out)
	default:
		legacy, code = m.farmer(line, out)
	}
	if code == Accepted {
		err = out.end()
	}
	return legacy, code, err
}

// judge checks what the grammar cannot know.
func (m *joinMapper) judge(owner types.Address, chunk *types.Hash, stored int64) Code {
	switch {
	case m.p.Owner != nil && owner != *m.p.Owner:
		return ErrOwner
	case !m.p.Shard.Holds(chunk[0], chunk[1]):
		return ErrShard
	case m.p.EpochEnd != 0 && stored >= m.p.EpochEnd:
		return ErrEpoch
	}
	return Accepted
}

func (m *joinMapper) farmer(line []byte, out *lineWriter) (legacy bool, code Code) {
	f, legacy, code := read(&m.s, line, scanFarmer, &farmerSchema)
	if code == Accepted {
		code = m.judge(f.Farmer, &f.Chunk, f.Stored)
	}
	if code == Accepted {
		out.buf = appendAddress(append(appendChunkKey(out.buf, &f.Chunk), "\tf\t"...), f.Farmer)
	}
	return legacy, code
}

func (m *joinMapper) buyer(line []byte, out *lineWriter) (legacy bool, code Code) {
	b, legacy, code := read(&m.s, line, scanBuyer, &buyerSchema)
	if code == Accepted {
		code = m.judge(b.Buyer, &b.Chunk, b.Stored)
	}
	if code == Accepted {
		out.buf = appendAddress(append(appendChunkKey(out.buf, &b.Chunk), "\tb\t"...), b.Buyer)
		out.buf = append(out.buf, '\t', '0'+b.Rep/100, '0'+b.Rep/10%10, '0'+b.Rep%10, '\t', bit(b.Renewable))
	}
	return legacy, code
}

// A verdict is the validators' own word, so it has no owner.
func (m *joinMapper) verdict(line []byte, out *lineWriter) (legacy bool, code Code) {
	v, legacy, code := read(&m.s, line, scanVerdict, &verdictSchema)
	if code == Accepted && !m.p.Shard.Holds(v.Chunk[0], v.Chunk[1]) {
		code = ErrShard
	}
	if code == Accepted {
		out.buf = appendAddress(append(appendChunkKey(out.buf, &v.Chunk), "\tv\t"...), v.Farmer)
		out.buf = append(out.buf, '\t', '0'+byte(v.Kind), '\t', bit(v.OK))
	}
	return legacy, code
}

// Reduce writes one row for each chunk that anybody claims.
func (joinStage) Reduce(p Params, r io.Reader, w io.Writer) (c Counts, err error) {
	red := joinReducer{p: &p, out: newLineWriter(w), report: newReport(p)}
	c.In, err = runReduce(r, chunkKey, &red)
	c.Out, c.Rejected[ErrDup] = red.out.n, red.dups
	return c, err
}

type verdict struct {
	farmer types.Address
	kind   VerdictKind
	ok     bool
}

type joinReducer struct {
	p        *Params
	out      *lineWriter
	report   *report
	dups     uint64
	row      Joined
	verdicts []verdict
}

// Facts of one chunk that are held before repetitions are taken out.
const (
	heldParties  = 4 * MaxParties
	heldVerdicts = 32 * MaxParties
)

func (j *joinReducer) add(key, fact []byte) error {
	if len(j.row.Buyers) >= heldParties || len(j.row.Farmers) >= heldParties || len(j.verdicts) >= heldVerdicts {
		if err := j.compact(key); err != nil {
			return err
		}
	}
	if len(fact) < 2+addressKey || fact[1] != '\t' {
		return errFact
	}
	address, err := parseAddressKey(fact[2 : 2+addressKey])
	if err != nil {
		return err
	}
	switch rest := fact[2+addressKey:]; {
	case fact[0] == 'f' && len(rest) == 0:
		j.row.Farmers = append(j.row.Farmers, address)
	case fact[0] == 'b' && len(rest) == 6:
		return j.addBuyer(address, rest)
	case fact[0] == 'v' && len(rest) == 4 && rest[1]-'0' < byte(verdictEnd):
		j.verdicts = append(j.verdicts, verdict{address, VerdictKind(rest[1] - '0'), rest[3] == '1'})
	default:
		return errFact
	}
	return nil
}

func (j *joinReducer) addBuyer(address types.Address, rest []byte) error {
	rep := 0
	for _, d := range rest[1:4] {
		if d < '0' || d > '9' {
			return errFact
		}
		rep = rep*10 + int(d-'0')
	}
	if rep < 1 || rep > MaxRep {
		return errFact
	}
	j.row.Buyers = append(j.row.Buyers, Payer{Address: address, Rep: uint8(rep)})
	j.row.Renew = j.row.Renew || rest[5] == '1'
	return nil
}

// compact makes sets of the lists and bounds them: what it drops would be
// dropped in every order of arrival.
func (j *joinReducer) compact(key []byte) (err error) {
	if j.row.Chunk, err = parseChunkKey(key); err != nil {
		return err
	}
	before := len(j.row.Buyers) + len(j.row.Farmers)
	j.row.Buyers = payerSet(j.row.Buyers)
	j.row.Farmers = addressSet(j.row.Farmers)
	j.dups += uint64(before - len(j.row.Buyers) - len(j.row.Farmers))
	j.row.trim(j.p.Beacon)
	slices.SortFunc(j.verdicts, func(a, b verdict) int {
		return cmp.Or(bytes.Compare(a.farmer[:], b.farmer[:]), cmp.Compare(a.kind, b.kind), compareBool(a.ok, b.ok))
	})
	if j.verdicts = slices.Compact(j.verdicts); len(j.verdicts) > heldVerdicts/2 {
		return fmt.Errorf("%d verdicts on one chunk, at most %d", len(j.verdicts), heldVerdicts/2)
	}
	return nil
}

func compareBool(a, b bool) int { return cmp.Compare(bit(a), bit(b)) }

func (j *joinReducer) flush(key []byte) error {
	if len(j.row.Buyers)+len(j.row.Farmers) == 0 { // verdicts alone
		j.verdicts = j.verdicts[:0]
		return nil
	}
	if err := j.compact(key); err != nil {
		return err
	}
	if err := j.judge(); err != nil {
		return err
	}
	j.out.buf = j.row.Append(j.out.buf, j.p.grammar())
	j.row.Buyers, j.row.Farmers, j.row.Renew = j.row.Buyers[:0], j.row.Farmers[:0], false
	j.verdicts = j.verdicts[:0]
	return j.out.end()
}

// judge drops the claims that the verdict log does not carry: one counts when
// "active" is 1 and no verdict is 0 (ST3).
func (j *joinReducer) judge() error {
	if !j.p.Verdicts {
		return nil
	}
	kept, rest := j.row.Farmers[:0], j.verdicts
	for _, f := range j.row.Farmers {
		active, denied, smash := false, false, false
		for len(rest) > 0 && bytes.Compare(rest[0].farmer[:], f[:]) <= 0 {
			if v := rest[0]; v.farmer == f {
				active = active || v.kind == VerdictActive && v.ok
				denied = denied || !v.ok
				smash = smash || v.kind == VerdictSmash && !v.ok
			}
			rest = rest[1:]
		}
		if active && !denied {
			kept = append(kept, f)
			continue
		}
		if err := j.deny(f, active, smash); err != nil {
			return err
		}
	}
	j.row.Farmers = kept
	return nil
}

func (j *joinReducer) deny(farmer types.Address, active, smash bool) error {
	if smash {
		if err := j.report.tell(Feedback{Kind: RejectedSmash, Node: farmer, Chunk: j.row.Chunk}); err != nil {
			return err
		}
	}
	if active {
		return nil
	}
	return j.report.tell(Feedback{Kind: FailedChunkClaim, Node: farmer, Chunk: j.row.Chunk})
}

func (j *joinReducer) close() error {
	if err := j.out.flush(); err != nil {
		return err
	}
	return j.report.flush()
}

// payerSet sorts by address and keeps the largest rep of each.
func payerSet(list []Payer) []Payer {
	slices.SortFunc(list, func(a, b Payer) int {
		return cmp.Or(bytes.Compare(a.Address[:], b.Address[:]), cmp.Compare(b.Rep, a.Rep))
	})
	return slices.CompactFunc(list, func(a, b Payer) bool { return a.Address == b.Address })
}

func addressSet(list []types.Address) []types.Address {
	if len(list) > 1 {
		slices.SortFunc(list, func(a, b types.Address) int { return bytes.Compare(a[:], b[:]) })
	}
	return slices.Compact(list)
}

// trim keeps at most MaxParties on each side, those with the smallest rank: a
// choice that neither arrival nor the claimant decides.
func (j *Joined) trim(beacon types.Hash) {
	if len(j.Buyers) > MaxParties {
		j.Buyers = smallest(j.Buyers, MaxParties, func(b Payer) types.Hash { return Rank(beacon, j.Chunk, b.Address) })
		j.Buyers = payerSet(j.Buyers)
	}
	if len(j.Farmers) > MaxParties {
		j.Farmers = addressSet(selectFarmers(j.Farmers, MaxParties, beacon, j.Chunk))
	}
}

// Rank orders the farmers of a chunk (ST5.2): SHA-256(beacon || chunk || address)
// over the raw 32, 32 and 20 bytes; the smallest are paid.
func Rank(beacon, chunk types.Hash, address types.Address) types.Hash {
	var b [84]byte
	copy(b[:], beacon[:])
	copy(b[32:], chunk[:])
	copy(b[64:], address[:])
	return sha256.Sum256(b[:])
}

// smallest gives the n members of list with the smallest ranks, in that order.
// Ranks of distinct addresses do not collide.
func smallest[T any](list []T, n int, rank func(T) types.Hash) []T {
	type ranked struct {
		rank types.Hash
		at   int
	}
	order := make([]ranked, len(list))
	for i, v := range list {
		order[i] = ranked{rank(v), i}
	}
	slices.SortFunc(order, func(a, b ranked) int { return bytes.Compare(a.rank[:], b.rank[:]) })
	kept := make([]T, n)
	for i := range kept {
		kept[i] = list[order[i].at]
	}
	return kept
}
