package settle

import (
	"strconv"

	"github.com/staddle/staddle/types"
)

// Limits of a line of a log (SLF-1).
const (
	MaxLine    = 4096      // bytes without LF
	MaxDate    = 1 << 40   // chunkBD and chunkSD, Unix seconds
	MaxRep     = 255       // replicas that a buyer asks for
	MaxUnits   = 1<<53 - 1 // magnitude of s in a bandwidth line
	MaxReceipt = 128       // characters A-Z a-z 0-9 . _ -
	MaxProof   = 1024      // hex digits of sig and smash
)

// Farmer is a line of the farmerlog: the farmer keeps a replica of the chunk.
type Farmer struct {
	Farmer    types.Address
	Chunk     types.Hash
	Born      int64 // chunkBD: Unix seconds of the dataset's block
	Stored    int64 // chunkSD: Unix seconds since when this node keeps it
	Rep       uint8 // 1 to 255; informative, the buyer's number counts
	Renewable bool
}

// Buyer is a line of the buyerlog: the buyer pays for replicas of the chunk.
type Buyer struct {
	Buyer     types.Address
	Chunk     types.Hash
	Born      int64
	Stored    int64
	Rep       uint8 // 1 to 255
	Renewable bool
	Sig       string // lower-case hex, may be empty
	Smash     string // lower-case hex, may be empty
}

// Bandwidth is a line of the bandwidthlog: ID has sent Units to Remote, or
// received -Units from it, net over the epoch.
type Bandwidth struct {
	ID      types.Address
	Remote  types.Address
	Units   int64 // not zero, magnitude below 2^53
	Receipt string
}

// VerdictKind is what a verdict judges.
type VerdictKind uint8

// What validators judge (ST3).
const (
	VerdictActive VerdictKind = iota // the farmer has an active contract for the chunk
	VerdictAudit                     // its samples of the epoch were proven
	VerdictSmash                     // its SMASH proof was right
	VerdictServe                     // it served the drawn testers
	verdictEnd
)

var verdictNames = [verdictEnd]string{"active", "audit", "smash", "serve"}

// String is the word in the line.
func (v VerdictKind) String() string { return verdictNames[min(v, verdictEnd-1)] }

// Verdict is a line of the verdict log, the third input of stage 1J.
type Verdict struct {
	Kind   VerdictKind
	Chunk  types.Hash
	Farmer types.Address
	OK     bool
}

var (
	farmerSchema  = schema{fields: []field{{name: "farmer"}, {name: "chunkID"}, {name: "chunkBD"}, {name: "chunkSD"}, {name: "rep"}, {name: "renewable"}}}
	buyerSchema   = schema{fields: []field{{name: "buyer"}, {name: "chunkID"}, {name: "chunkBD"}, {name: "chunkSD"}, {name: "rep"}, {name: "renewable"}, {name: "sig"}, {name: "smash"}}}
	bandSchema    = schema{fields: []field{{name: "id"}, {name: "remote"}, {name: "s"}, {name: "receipt"}}}
	verdictSchema = schema{fields: []field{{name: "verdict"}, {name: "chunkID"}, {name: "farmer"}, {name: "ok"}}}
)

// Append adds the canonical line, without LF.
func (f Farmer) Append(dst []byte, g Grammar) []byte {
	dst = g.appendAddress(append(dst, `{"farmer":"`...), f.Farmer)
	dst = g.appendChunk(append(dst, `","chunkID":"`...), f.Chunk)
	return append(appendTerms(dst, f.Born, f.Stored, f.Rep, f.Renewable), '}')
}

func appendTerms(dst []byte, born, stored int64, rep uint8, renewable bool) []byte {
	dst = strconv.AppendInt(append(dst, `","chunkBD":`...), born, 10)
	dst = strconv.AppendInt(append(dst, `,"chunkSD":`...), stored, 10)
	dst = strconv.AppendUint(append(dst, `,"rep":`...), uint64(rep), 10)
	return append(append(dst, `,"renewable":`...), bit(renewable))
}

func bit(b bool) byte {
	if b {
		return '1'
	}
	return '0'
}

// Append adds the canonical line, without LF.
func (b Buyer) Append(dst []byte, g Grammar) []byte {
	dst = g.appendAddress(append(dst, `{"buyer":"`...), b.Buyer)
	dst = g.appendChunk(append(dst, `","chunkID":"`...), b.Chunk)
	dst = appendTerms(dst, b.Born, b.Stored, b.Rep, b.Renewable)
	dst = append(append(dst, `,"sig":"`...), b.Sig...)
	return append(append(append(dst, `","smash":"`...), b.Smash...), `"}`...)
}

// Append adds the canonical line, without LF.
func (b Bandwidth) Append(dst []byte, g Grammar) []byte {
	dst = g.appendAddress(append(dst, `{"id":"`...), b.ID)
	dst = g.appendAddress(append(dst, `","remote":"`...), b.Remote)
	dst = strconv.AppendInt(append(dst, `","s":`...), b.Units, 10)
	return append(append(append(dst, `,"receipt":"`...), b.Receipt...), `"}`...)
}

// Append adds the canonical line, without LF.
func (v Verdict) Append(dst []byte, g Grammar) []byte {
	dst = append(append(dst, `{"verdict":"`...), v.Kind.String()...)
	dst = g.appendChunk(append(dst, `","chunkID":"`...), v.Chunk)
	dst = g.appendAddress(append(dst, `","farmer":"`...), v.Farmer)
	return append(append(dst, `","ok":`...), bit(v.OK), '}')
}

func scanFarmer(s *scanner) (f Farmer) {
	s.lit(`{"farmer":"`)
	f.Farmer = s.address()
	s.lit(`","chunkID":"`)
	f.Chunk = s.chunk()
	f.Born, f.Stored, f.Rep, f.Renewable = scanTerms(s)
	s.lit(`}`)
	return f
}

func scanTerms(s *scanner) (born, stored int64, rep uint8, renewable bool) {
	s.lit(`","chunkBD":`)
	born = s.integer(0, MaxDate)
	s.lit(`,"chunkSD":`)
	stored = s.integer(0, MaxDate)
	s.lit(`,"rep":`)
	rep = uint8(s.integer(1, MaxRep))
	s.lit(`,"renewable":`)
	return born, stored, rep, s.integer(0, 1) == 1
}

func scanBuyer(s *scanner) (b Buyer) {
	s.lit(`{"buyer":"`)
	b.Buyer = s.address()
	s.lit(`","chunkID":"`)
	b.Chunk = s.chunk()
	b.Born, b.Stored, b.Rep, b.Renewable = scanTerms(s)
	s.lit(`,"sig":"`)
	b.Sig = s.text(MaxProof, hexText)
	s.lit(`","smash":"`)
	b.Smash = s.text(MaxProof, hexText)
	s.lit(`"}`)
	return b
}

func scanBandwidth(s *scanner) (b Bandwidth) {
	s.lit(`{"id":"`)
	b.ID = s.address()
	s.lit(`","remote":"`)
	b.Remote = s.address()
	s.lit(`","s":`)
	b.Units = s.integer(-MaxUnits, MaxUnits)
	s.lit(`,"receipt":"`)
	b.Receipt = s.text(MaxReceipt, tokenText)
	s.lit(`"}`)
	if s.code == Accepted && (b.Units == 0 || b.ID == b.Remote || b.Receipt == "") {
		s.fail(ErrRange)
	}
	return b
}

func scanVerdict(s *scanner) (v Verdict) {
	s.lit(`{"verdict":"`)
	for v.Kind < verdictEnd && !s.skip(verdictNames[v.Kind]) {
		v.Kind++
	}
	s.lit(`","chunkID":"`) // also fails after an unknown word
	v.Chunk = s.chunk()
	s.lit(`","farmer":"`)
	v.Farmer = s.address()
	s.lit(`","ok":`)
	v.OK = s.integer(0, 1) == 1
	s.lit(`}`)
	return v
}

// read scans a line, and a line that is not canonical once more after putting
// its keys in order. legacy tells the two apart.
func read[T any](s *scanner, line []byte, scan func(*scanner) T, sc *schema) (v T, legacy bool, code Code) {
	s.reset(line)
	v = scan(s)
	if code = s.end(); code != ErrGrammar {
		return v, false, code
	}
	ordered, ok := sc.canonical(nil, line)
	if !ok {
		return v, false, ErrGrammar
	}
	s.reset(ordered)
	v = scan(s)
	return v, true, s.end()
}

func parse[T any](g Grammar, line []byte, scan func(*scanner) T, sc *schema) (T, error) {
	var none T
	if len(line) > MaxLine {
		return none, ErrLong
	}
	v, _, code := read(&scanner{Grammar: g}, line, scan, sc)
	if code != Accepted {
		return none, code
	}
	return v, nil
}

// ParseFarmer reads a line of a farmerlog without its LF. The error is a Code.
func ParseFarmer(line []byte, g Grammar) (Farmer, error) {
	return parse(g, line, scanFarmer, &farmerSchema)
}

// ParseBuyer reads a line of a buyerlog without its LF. The error is a Code.
func ParseBuyer(line []byte, g Grammar) (Buyer, error) {
	return parse(g, line, scanBuyer, &buyerSchema)
}

// ParseBandwidth reads a line of a bandwidthlog without its LF. The error is a Code.
func ParseBandwidth(line []byte, g Grammar) (Bandwidth, error) {
	return parse(g, line, scanBandwidth, &bandSchema)
}

// ParseVerdict reads a line of a verdict log without its LF. The error is a Code.
func ParseVerdict(line []byte, g Grammar) (Verdict, error) {
	return parse(g, line, scanVerdict, &verdictSchema)
}
