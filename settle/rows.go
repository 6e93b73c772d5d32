package settle

import (
	"bytes"
	"math/big"
	"slices"
	"strconv"

	"github.com/staddle/staddle/types"
)

// Limits of the rows between stages.
const (
	MaxParties = 4096           // buyers, and farmers, of one chunk
	MaxRow     = 512 << 10      // bytes of a row without LF
	maxNet     = 1<<63 - 1      // magnitude of s and b
	maxWeiBits = 256            // magnitude of t
	maxStamp   = int64(1) << 60 // epochtimestamp of the document's row form
)

// Payer is a buyer of a chunk with the number of replicas that he asks for.
type Payer struct {
	Address types.Address
	Rep     uint8 // 1 to 255
}

// Joined is a row of stage 1J: who pays for a chunk and who keeps it. Both lists
// ascend by address without repetition; either may be empty.
type Joined struct {
	Chunk   types.Hash
	Buyers  []Payer
	Renew   bool // some buyer renews
	Farmers []types.Address
}

// Rep is the largest number that a buyer asks for, 0 without buyers.
func (j *Joined) Rep() (rep uint8) {
	for _, b := range j.Buyers {
		rep = max(rep, b.Rep)
	}
	return rep
}

func (j *Joined) differ() bool {
	for _, b := range j.Buyers {
		if b.Rep != j.Buyers[0].Rep {
			return true
		}
	}
	return false
}

// Append adds the row without LF, keys in the document's order. "reps", one for
// each buyer, is there only when they differ (ST5.1).
func (j *Joined) Append(dst []byte, g Grammar) []byte {
	dst = g.appendChunk(append(dst, `{"chunkID":"`...), j.Chunk)
	dst = append(dst, `","buyers":[`...)
	for i := range j.Buyers {
		dst = g.appendListed(dst, i, j.Buyers[i].Address)
	}
	dst = strconv.AppendUint(append(dst, `],"rep":`...), uint64(j.Rep()), 10)
	if j.differ() {
		dst = append(dst, `,"reps":[`...)
		for i := range j.Buyers {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = strconv.AppendUint(dst, uint64(j.Buyers[i].Rep), 10)
		}
		dst = append(dst, ']')
	}
	dst = append(append(dst, `,"renew":`...), bit(j.Renew))
	dst = append(dst, `,"farmers":[`...)
	for i := range j.Farmers {
		dst = g.appendListed(dst, i, j.Farmers[i])
	}
	return append(dst, `]}`...)
}

func (g Grammar) appendListed(dst []byte, i int, a types.Address) []byte {
	if i > 0 {
		dst = append(dst, ',')
	}
	return append(g.appendAddress(append(dst, '"'), a), '"')
}

// The document's rows carry "sig" and in two of four no "renew".
var joinedSchema = schema{
	fields: []field{{name: "chunkID"}, {name: "buyers"}, {name: "rep"}, {name: "reps", optional: true}, {name: "renew", fallback: "0"}, {name: "farmers"}},
	drop:   []string{"sig"},
}

// joinedScan reads rows into slices that it uses again for the next row.
type joinedScan struct{ row Joined }

func (js *joinedScan) scan(s *scanner) *Joined {
	j := &js.row
	j.Buyers, j.Farmers = j.Buyers[:0], j.Farmers[:0]
	s.lit(`{"chunkID":"`)
	j.Chunk = s.chunk()
	s.lit(`","buyers":[`)
	for more := !s.skip(`]`); more && s.code == Accepted; more = s.next(len(j.Buyers)) {
		j.Buyers = append(j.Buyers, Payer{Address: s.listed()})
	}
	s.lit(`,"rep":`)
	rep := uint8(s.integer(0, MaxRep))
	for i := range j.Buyers {
		j.Buyers[i].Rep = rep
	}
	js.scanReps(s)
	s.lit(`,"renew":`)
	j.Renew = s.integer(0, 1) == 1
	s.lit(`,"farmers":[`)
	for more := !s.skip(`]`); more && s.code == Accepted; more = s.next(len(j.Farmers)) {
		j.Farmers = append(j.Farmers, s.listed())
	}
	s.lit(`}`)
	if s.code == Accepted && (j.Rep() != rep || !j.ordered()) {
		s.fail(ErrGrammar)
	}
	if s.code == Accepted && rep == 0 && len(j.Buyers) > 0 {
		s.fail(ErrRange)
	}
	return j
}

func (js *joinedScan) scanReps(s *scanner) {
	if !s.skip(`,"reps":[`) {
		return
	}
	buyers := js.row.Buyers
	for i := range buyers {
		if i > 0 {
			s.lit(`,`)
		}
		buyers[i].Rep = uint8(s.integer(1, MaxRep))
	}
	s.lit(`]`)
	if s.code == Accepted && !js.row.differ() {
		s.fail(ErrGrammar)
	}
}

func (s *scanner) listed() types.Address {
	s.lit(`"`)
	a := s.address()
	s.lit(`"`)
	return a
}

// next goes on to the following item of a list of addresses.
func (s *scanner) next(have int) bool {
	if s.skip(`]`) {
		return false
	}
	s.lit(`,`)
	if s.code == Accepted && have == MaxParties {
		s.fail(ErrRange)
	}
	return s.code == Accepted
}

func (j *Joined) ordered() bool {
	for i := 1; i < len(j.Buyers); i++ {
		if bytes.Compare(j.Buyers[i-1].Address[:], j.Buyers[i].Address[:]) >= 0 {
			return false
		}
	}
	for i := 1; i < len(j.Farmers); i++ {
		if bytes.Compare(j.Farmers[i-1][:], j.Farmers[i][:]) >= 0 {
			return false
		}
	}
	return true
}

// ParseJoined reads a row of stage 1J without its LF. The error is a Code.
func ParseJoined(line []byte, g Grammar) (Joined, error) {
	if len(line) > MaxRow {
		return Joined{}, ErrLong
	}
	var js joinedScan
	row, _, code := read(&scanner{Grammar: g}, line, js.scan, &joinedSchema)
	if code != Accepted {
		return Joined{}, code
	}
	return *row, nil
}

// Net is a row of stages 1S and 1B: what an id earned (positive) or owes.
type Net struct {
	ID types.Address
	S  int64 // replicas kept
	B  int64 // units sent
}

// Append adds {"id":"..","s":N,"b":N} without LF; a number that is zero is left out.
func (n Net) Append(dst []byte, g Grammar) []byte {
	dst = append(g.appendAddress(append(dst, `{"id":"`...), n.ID), '"')
	if n.S != 0 {
		dst = strconv.AppendInt(append(dst, `,"s":`...), n.S, 10)
	}
	if n.B != 0 {
		dst = strconv.AppendInt(append(dst, `,"b":`...), n.B, 10)
	}
	return append(dst, '}')
}

// Rows of stage 2, in the document's form too, are read as nets: t is derived.
var netSchema = schema{
	fields: []field{{name: "id"}, {name: "s", optional: true}, {name: "b", optional: true}},
	drop:   []string{"validatorID", "epochtimestamp", "shard", "t", "sig"},
}

func scanNet(s *scanner) (n Net) {
	s.lit(`{"id":"`)
	n.ID = s.address()
	s.lit(`"`)
	hasS := s.skip(`,"s":`)
	if hasS {
		n.S = s.integer(-maxNet, maxNet)
	}
	hasB := s.skip(`,"b":`)
	if hasB {
		n.B = s.integer(-maxNet, maxNet)
	}
	s.lit(`}`)
	if !hasS && !hasB {
		s.fail(ErrGrammar)
	}
	return n
}

// ParseNet reads a row of stage 1S, 1B or 2 without its LF, of the last without
// t. The error is a Code.
func ParseNet(line []byte, g Grammar) (Net, error) { return parse(g, line, scanNet, &netSchema) }

// Row is a line of the result of an epoch, the output of stage 2.
type Row = types.ResultLine

// AppendRow adds {"id":"..","s":N,"b":N,"t":N} without LF; t is a bare integer.
func AppendRow(dst []byte, r *Row, g Grammar) []byte {
	dst = g.appendAddress(append(dst, `{"id":"`...), r.Address)
	return append(appendSums(append(dst, '"'), r), '}')
}

func appendSums(dst []byte, r *Row) []byte {
	dst = strconv.AppendInt(append(dst, `,"s":`...), r.S, 10)
	dst = strconv.AppendInt(append(dst, `,"b":`...), r.B, 10)
	return r.T.Append(append(dst, `,"t":`...), 10)
}

var rowSchema = schema{
	fields: []field{{name: "id"}, {name: "s"}, {name: "b"}, {name: "t"}},
	drop:   []string{"validatorID", "epochtimestamp", "shard", "sig"},
}

func scanRow(s *scanner) (r Row) {
	s.lit(`{"id":"`)
	r.Address = s.address()
	s.lit(`","s":`)
	r.S = s.integer(-maxNet, maxNet)
	s.lit(`,"b":`)
	r.B = s.integer(-maxNet, maxNet)
	s.lit(`,"t":`)
	r.T = s.wei()
	s.lit(`}`)
	return r
}

// wei reads an integer of at most 256 bits.
func (s *scanner) wei() *big.Int {
	start := s.at
	s.skip(`-`)
	for s.at < len(s.line) && s.line[s.at]-'0' <= 9 {
		s.at++
	}
	digits := s.line[start:s.at]
	if len(digits) > 79 {
		s.fail(ErrRange)
		return new(big.Int)
	}
	n, ok := new(big.Int).SetString(string(digits), 10)
	switch {
	case !ok || n.String() != string(digits):
		s.fail(ErrGrammar)
		return new(big.Int)
	case n.BitLen() > maxWeiBits:
		s.fail(ErrRange)
	}
	return n
}

// ParseRow reads a row of stage 2 without its LF, also in the document's form.
// Whether t follows from the prices is for the reader to judge. The error is a
// Code.
func ParseRow(line []byte, g Grammar) (Row, error) { return parse(g, line, scanRow, &rowSchema) }

// Export is what the document's row form adds to a row. It says who proposes the
// row and is no part of the result.
type Export struct {
	ValidatorID    string // printable ASCII without quote and backslash, at most 128
	EpochTimestamp int64  // Unix seconds of the checkpoint's header
	Sig            string // the validator's signature of the result, same alphabet
}

// AppendExport adds the row in the document's form, without LF:
// {"validatorID":"..","epochtimestamp":N,"id":"..","s":N,"b":N,"t":N,"sig":".."}.
func AppendExport(dst []byte, r *Row, x *Export, g Grammar) []byte {
	dst = append(append(dst, `{"validatorID":"`...), x.ValidatorID...)
	dst = strconv.AppendInt(append(dst, `","epochtimestamp":`...), x.EpochTimestamp, 10)
	dst = g.appendAddress(append(dst, `,"id":"`...), r.Address)
	dst = appendSums(append(dst, '"'), r)
	return append(append(append(dst, `,"sig":"`...), x.Sig...), `"}`...)
}

func (x *Export) check() bool {
	return plain(x.ValidatorID) && plain(x.Sig) && 0 <= x.EpochTimestamp && x.EpochTimestamp < maxStamp
}

func plain(s string) bool {
	bad := func(c byte) bool { return c < 0x20 || c > 0x7e || c == '"' || c == '\\' }
	return len(s) <= 2*MaxReceipt && !slices.ContainsFunc([]byte(s), bad)
}
