package dht

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/staddle/staddle/dht/bencode"
	"github.com/staddle/staddle/types"
)

// MaxPacket is the longest packet that is read, in bytes; longer ones are
// dropped unread.
const MaxPacket = bencode.MaxSize

// Reason numbers of error replies (BEP 5, BEP 44).
const (
	CodeServer       = 202 // a quota is full
	CodeProtocol     = 203 // malformed query, bad token
	CodeUnknown      = 204 // method unknown
	CodeTooBig       = 205 // value too big
	CodeBadSignature = 206
	CodeSaltTooBig   = 207
	CodeCAS          = 301 // the stored seq is another than cas
	CodeSeq          = 302 // the stored seq is higher, or equal with another value
)

// Error is a refusal that crosses the wire: Code decides, Text is for people
// and comes cleaned of control characters, at most 128 bytes.
type Error struct {
	Code int
	Text string
}

// Error gives the number and the text.
func (e *Error) Error() string { return fmt.Sprintf("dht error %d: %s", e.Code, e.Text) }

func refusal(code int, text string) *Error { return &Error{Code: code, Text: text} }

// Tag keeps networks apart on the same wire format: the top-level key `tn` of
// every packet. The zero Tag is the public network, which has no such key.
type Tag [8]byte

// NetworkTag is the tag of a private network: the first 8 bytes of
// H("staddle/dht/network/1", name with its length). All nodes that give the
// same name are one network.
func NetworkTag(name []byte) (t Tag) {
	h := types.H("staddle/dht/network/1", types.Sized(name))
	copy(t[:], h[:])
	return t
}

// String gives 16 hex digits, or "public".
func (t Tag) String() string {
	if t == (Tag{}) {
		return "public"
	}
	return hex.EncodeToString(t[:])
}

const (
	kindQuery = 'q'
	kindReply = 'r'
	kindError = 'e'

	maxTransactionSize = 20           // of others; ours have 4
	maxErrorText       = 128          // bytes
	clientVersion      = "SD\x00\x01" // key v (BEP 20 style): which program sent this
)

// message is one packet, decoded. Body is `a` of a query and `r` of a reply.
type message struct {
	kind        byte
	transaction []byte
	method      string
	body        bencode.Value
	id          ID // of the sender, from body; zero in an error
	refused     *Error
	readOnly    bool
	tag         Tag
}

// decodeMessage reads a packet. If only the content of a query is wrong, the
// error is a *Error that its sender can be told; other errors are for nobody.
func decodeMessage(b []byte) (message, error) {
	v, err := bencode.Decode(b)
	if err != nil {
		return message{}, err
	}
	t, ok := v.Get("t").Bytes()
	if !ok || len(t) == 0 || len(t) > maxTransactionSize {
		return message{}, fmt.Errorf("transaction id of %d bytes, want 1 to %d", len(t), maxTransactionSize)
	}
	m := message{transaction: t}
	if m.tag, err = tagOf(v); err != nil {
		return message{}, err
	}
	ro, _ := v.Get("ro").Int()
	m.readOnly = ro == 1
	y, _ := v.Get("y").Bytes()
	// What a packet is, only y says: some nodes send r and e in one.
	switch string(y) {
	case "q":
		err = m.readQuery(v)
	case "r":
		err = m.readReply(v)
	case "e":
		m.readError(v)
	default:
		err = errors.New("packet of unknown kind")
	}
	return m, err
}

func tagOf(v bencode.Value) (t Tag, err error) {
	tn := v.Get("tn")
	if tn.Kind() == bencode.Absent {
		return t, nil
	}
	b, ok := tn.Bytes()
	if !ok || len(b) != len(t) {
		return t, fmt.Errorf("network tag is not %d bytes", len(t))
	}
	return Tag(b), nil
}

func (m *message) readQuery(v bencode.Value) error {
	m.kind = kindQuery
	method, ok := v.Get("q").Bytes()
	if !ok || len(method) == 0 || len(method) > 32 {
		return refusal(CodeProtocol, "no method")
	}
	m.method, m.body = string(method), v.Get("a")
	if m.id, ok = fixed[ID](m.body.Get("id").Bytes()); !ok {
		return refusal(CodeProtocol, "no id of 20 bytes")
	}
	return nil
}

func (m *message) readReply(v bencode.Value) (err error) {
	m.kind, m.body = kindReply, v.Get("r")
	var ok bool
	if m.id, ok = fixed[ID](m.body.Get("id").Bytes()); !ok {
		return fmt.Errorf("reply without id of %d bytes", IDSize)
	}
	return nil
}

func (m *message) readError(v bencode.Value) {
	m.kind, m.refused = kindError, refusal(0, "no reason given")
	e := v.Get("e").Items()
	if len(e) < 2 {
		return
	}
	if code, ok := e[0].Int(); ok && code > 0 && code < 1000 {
		m.refused.Code = int(code)
	}
	if text, ok := e[1].Bytes(); ok {
		m.refused.Text = clean(text)
	}
}

// clean makes a stranger's text fit for a terminal and a log.
func clean(b []byte) string {
	if len(b) > maxErrorText {
		b = b[:maxErrorText]
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, string(b))
}

// frame is what all packets of a node have in common.
type frame struct {
	tag      Tag
	readOnly bool
}

func (f frame) fields(kind byte, transaction []byte) bencode.Fields {
	out := bencode.Fields{
		"t": bencode.OfBytes(transaction),
		"v": bencode.OfString(clientVersion),
		"y": bencode.OfBytes([]byte{kind}),
	}
	if f.tag != (Tag{}) {
		out["tn"] = bencode.OfBytes(f.tag[:])
	}
	return out
}

func (f frame) query(transaction []byte, method string, args bencode.Fields) []byte {
	out := f.fields(kindQuery, transaction)
	out["q"] = bencode.OfString(method)
	out["a"] = bencode.OfDict(args)
	if f.readOnly {
		out["ro"] = bencode.OfInt(1)
	}
	return bencode.OfDict(out)
}

// reply tells the asker also under which address it was seen (BEP 42).
func (f frame) reply(transaction []byte, to netip.AddrPort, r bencode.Fields) []byte {
	out := f.fields(kindReply, transaction)
	out["r"] = bencode.OfDict(r)
	out["ip"] = bencode.OfBytes(appendAddr(nil, to))
	return bencode.OfDict(out)
}

func (f frame) refuse(transaction []byte, e *Error) []byte {
	out := f.fields(kindError, transaction)
	out["e"] = bencode.OfList(bencode.OfInt(int64(e.Code)), bencode.OfString(e.Text))
	return bencode.OfDict(out)
}

// itemOf reads v, k, sig and seq of a get's reply or a put's query. Half a
// mutable item is refused, not taken for an immutable one.
func itemOf(body bencode.Value) (Item, *Error) {
	it := Item{Value: body.Get("v").Raw()}
	k, sig := body.Get("k"), body.Get("sig")
	if k.Kind() == bencode.Absent && sig.Kind() == bencode.Absent {
		return it, nil
	}
	var okKey, okSig, okSeq bool
	it.Mutable = true
	it.Key, okKey = fixed[types.Account](k.Bytes())
	it.Sig, okSig = fixed[types.Signature](sig.Bytes())
	it.Seq, okSeq = body.Get("seq").Int()
	if !okKey || !okSig || !okSeq {
		return Item{}, refusal(CodeProtocol, "mutable item without k of 32, sig of 64 and seq")
	}
	salt := body.Get("salt")
	if salt.Kind() != bencode.Absent {
		b, ok := salt.Bytes()
		if !ok {
			return Item{}, refusal(CodeProtocol, "salt is not a string")
		}
		it.Salt = b
	}
	return it, nil
}

// itemFields are the fields of a stored item in a reply.
func itemFields(it Item, f bencode.Fields) {
	f["v"] = it.Value
	if it.Mutable {
		f["k"] = bencode.OfBytes(it.Key[:])
		f["sig"] = bencode.OfBytes(it.Sig[:])
		f["seq"] = bencode.OfInt(it.Seq)
	}
}
