package swarm

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/market"
	"github.com/staddle/staddle/types"
)

// Limits of messages.
const (
	maxAsk     = 40 << 10                   // bytes of a frame to a server
	maxAnswer  = bulkHead + types.PieceSize // bytes of a frame to a client
	maxHave    = 1024                       // digests in a hello
	maxItems   = 64                         // items in one request
	maxText    = 200                        // bytes of a refusal's text
	maxPending = 64                         // requests that a server keeps waiting for a stream

	bulkHead = 7 // flag, be32 request, be16 item
)

// Types of messages. Those to a server are below 16. Numbers are never reused.
const (
	typeHello   = 1
	typePieces  = 2
	typeRange   = 3
	typeNodes   = 4
	typeReceipt = 5

	typeQuote   = 16
	typeTaken   = 17
	typeRefused = 18
	typeDispute = 19
)

// First byte of a bulk frame; a dag-cbor array never begins with it.
const (
	bulkFree = 0
	bulkPaid = 1
)

// message is one dag-cbor frame: an array whose first item is the type.
type message interface {
	types.Encodable
	decode(d *types.Decoder)
}

// hello asks for a quote, and which of some pieces the server has.
type hello struct {
	Chain types.ChainID
	Pays  bool
	Have  []types.Hash
}

func (m *hello) EncodeTo(e *types.Encoder) {
	e.Array(4)
	e.Uint(typeHello)
	e.Bytes(m.Chain[:])
	e.Bool(m.Pays)
	encodeHashes(e, m.Have)
}

func (m *hello) decode(d *types.Decoder) {
	m.Chain = d.Hash()
	m.Pays = d.Bool()
	m.Have = decodeHashes(d, maxHave)
}

// ask wants pieces by digest, pieces of a dataset by number, or blocks by CID.
type ask struct {
	ID     uint32 // rises with each request of a stream
	Pays   bool   // what is not free may be charged
	Pieces []types.Hash
	Nodes  []cid.Cid
	Of     types.DatasetID // with First and Count
	First  uint32          // from 1
	Count  uint32
}

func (m *ask) kind() uint64 {
	switch {
	case len(m.Nodes) > 0:
		return typeNodes
	case m.Count > 0:
		return typeRange
	}
	return typePieces
}

func (m *ask) items() int { return len(m.Pieces) + len(m.Nodes) + int(m.Count) }

func (m *ask) EncodeTo(e *types.Encoder) {
	kind := m.kind()
	if kind == typeRange {
		e.Array(6)
	} else {
		e.Array(4)
	}
	e.Uint(kind)
	e.Uint(uint64(m.ID))
	e.Bool(m.Pays)
	switch kind {
	case typeNodes:
		e.Array(len(m.Nodes))
		for _, c := range m.Nodes {
			e.Link(c)
		}
	case typeRange:
		e.Bytes(m.Of[:])
		e.Uint(uint64(m.First))
		e.Uint(uint64(m.Count))
	default:
		encodeHashes(e, m.Pieces)
	}
}

func (m *ask) decodeAs(kind uint64, d *types.Decoder) {
	m.ID = d.Uint32()
	m.Pays = d.Bool()
	switch kind {
	case typeNodes:
		m.Nodes = make([]cid.Cid, d.Array(maxItems))
		for i := range m.Nodes {
			if m.Nodes[i] = d.Link(); d.Err() == nil && !m.Nodes[i].Defined() {
				d.Fail("request for no block")
			}
		}
	case typeRange:
		m.Of = d.Hash()
		m.First = d.Uint32()
		m.Count = uint32(d.Limit(maxItems))
		if d.Err() == nil && (m.First == 0 || m.First+m.Count < m.First) {
			d.Fail("request for %d pieces from %d", m.Count, m.First)
		}
	default:
		m.Pieces = decodeHashes(d, maxItems)
	}
	if d.Err() == nil && (m.ID == 0 || m.items() == 0) {
		d.Fail("request %d for %d items", m.ID, m.items())
	}
}

// quote answers a hello.
type quote struct {
	market.Quote
	Epoch types.Epoch // that the server is in
	Known uint64      // units of the newest receipt of that epoch
	Past  uint64      // and of the epoch before
	Have  []byte      // bit i%8 of byte i/8: has digest i of the hello
}

func (m *quote) EncodeTo(e *types.Encoder) {
	e.Array(9)
	e.Uint(typeQuote)
	e.Uint(m.Units)
	e.Uint(m.Free)
	e.Uint(m.Window)
	e.Uint(m.Owed)
	e.Uint(uint64(m.Epoch))
	e.Uint(m.Known)
	e.Uint(m.Past)
	e.Bytes(m.Have)
}

func (m *quote) decode(d *types.Decoder) {
	m.Units = d.Uint()
	m.Free = d.Uint()
	m.Window = d.Uint()
	m.Owed = d.Limit(market.MaxUnits)
	m.Epoch = d.Epoch()
	m.Known = d.Limit(market.MaxUnits)
	m.Past = d.Limit(market.MaxUnits)
	m.Have = d.Bytes(maxHave / 8)
	if d.Err() == nil {
		if err := m.Check(); err != nil {
			d.Fail("%w", err)
		}
	}
}

// taken tells that a receipt is durable at the payee.
type taken struct {
	Epoch  types.Epoch
	Units  uint64 // of the newest receipt of that epoch
	Owed   uint64 // units that are left to pay
	Window uint64 // pieces
}

func (m *taken) EncodeTo(e *types.Encoder) {
	e.Array(5)
	e.Uint(typeTaken)
	e.Uint(uint64(m.Epoch))
	e.Uint(m.Units)
	e.Uint(m.Owed)
	e.Uint(m.Window)
}

func (m *taken) decode(d *types.Decoder) {
	m.Epoch = d.Epoch()
	m.Units = d.Limit(market.MaxUnits)
	m.Owed = d.Limit(market.MaxUnits)
	m.Window = d.Limit(market.MaxWindow)
}

// refused answers Count items of a request, from First. ID 0 refuses the whole
// stream.
type refused struct {
	ID           uint32
	First, Count uint32
	Refusal
}

func (m *refused) EncodeTo(e *types.Encoder) {
	e.Array(6)
	e.Uint(typeRefused)
	e.Uint(uint64(m.ID))
	e.Uint(uint64(m.First))
	e.Uint(uint64(m.Count))
	e.Uint(uint64(m.Reason))
	e.Text(clip(m.Text))
}

func (m *refused) decode(d *types.Decoder) {
	m.ID = d.Uint32()
	m.First = uint32(d.Limit(maxItems))
	m.Count = uint32(d.Limit(maxItems))
	m.Reason = Reason(d.Uint32())
	m.Text = d.Text(maxText)
}

// dispute tells that a receipt was not taken.
type dispute struct {
	Epoch types.Epoch
	Units uint64
	Refusal
}

func (m *dispute) EncodeTo(e *types.Encoder) {
	e.Array(5)
	e.Uint(typeDispute)
	e.Uint(uint64(m.Epoch))
	e.Uint(m.Units)
	e.Uint(uint64(m.Reason))
	e.Text(clip(m.Text))
}

func (m *dispute) decode(d *types.Decoder) {
	m.Epoch = d.Epoch()
	m.Units = d.Limit(market.MaxUnits)
	m.Reason = Reason(d.Uint32())
	m.Text = d.Text(maxText)
}

// payment carries a receipt.
type payment struct{ market.Receipt }

func (m *payment) EncodeTo(e *types.Encoder) {
	e.Array(2)
	e.Uint(typeReceipt)
	m.Receipt.EncodeTo(e)
}

func (m *payment) decode(d *types.Decoder) { m.DecodeFrom(d) }

// clip keeps a text of ours in its limit.
func clip(s string) string { return strings.ToValidUTF8(s[:min(len(s), maxText)], "") }

func encodeHashes(e *types.Encoder, hs []types.Hash) {
	e.Array(len(hs))
	for i := range hs {
		e.Bytes(hs[i][:])
	}
}

func decodeHashes(d *types.Decoder, limit int) []types.Hash {
	hs := make([]types.Hash, d.Array(limit))
	for i := range hs {
		hs[i] = d.Hash()
	}
	return hs
}

// parseAsk reads one message to a server.
func parseAsk(b []byte) (message, error) { return parse(b, 0, typeQuote) }

// parseAnswer reads one message to a client.
func parseAnswer(b []byte) (message, error) { return parse(b, typeQuote, 24) }

// parse reads one message of a type in [from, end).
func parse(b []byte, from, end uint64) (message, error) {
	d := types.NewDecoder(b)
	fields := d.Array(16)
	kind := d.Uint()
	m, want := newMessage(kind)
	if d.Err() != nil {
		return nil, d.Err()
	}
	if m == nil || fields != want || kind < from || kind >= end {
		return nil, fmt.Errorf("message of type %d with %d fields", kind, fields)
	}
	if a, ok := m.(*ask); ok {
		a.decodeAs(kind, d)
	} else {
		m.decode(d)
	}
	return m, d.End()
}

func (m *ask) decode(d *types.Decoder) { m.decodeAs(typePieces, d) }

// newMessage is an empty message of a type and the number of its fields.
func newMessage(kind uint64) (message, int) {
	switch kind {
	case typeHello:
		return new(hello), 4
	case typePieces, typeNodes:
		return new(ask), 4
	case typeRange:
		return new(ask), 6
	case typeReceipt:
		return new(payment), 2
	case typeQuote:
		return new(quote), 9
	case typeTaken:
		return new(taken), 5
	case typeRefused:
		return new(refused), 6
	case typeDispute:
		return new(dispute), 5
	}
	return nil, 0
}

// bulk is the bytes of one item: a frame of its own, so that they are not
// copied.
type bulk struct {
	Paid bool
	ID   uint32
	Item uint16
	Data []byte
}

// frame joins head and bytes.
func (b bulk) frame() []byte {
	out := make([]byte, 0, bulkHead+len(b.Data))
	flag := byte(bulkFree)
	if b.Paid {
		flag = bulkPaid
	}
	out = append(out, flag)
	out = binary.BigEndian.AppendUint32(out, b.ID)
	out = binary.BigEndian.AppendUint16(out, b.Item)
	return append(out, b.Data...)
}

// isBulk tells bulk from messages by the first byte.
func isBulk(frame []byte) bool { return len(frame) > 0 && frame[0] <= bulkPaid }

// parseBulk reads a bulk frame; Data shares its memory.
func parseBulk(frame []byte) (bulk, error) {
	if len(frame) <= bulkHead {
		return bulk{}, fmt.Errorf("bulk frame of %d bytes", len(frame))
	}
	return bulk{
		Paid: frame[0] == bulkPaid,
		ID:   binary.BigEndian.Uint32(frame[1:]),
		Item: binary.BigEndian.Uint16(frame[5:]),
		Data: frame[bulkHead:],
	}, nil
}
