package dht

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/staddle/staddle/dht/bencode"
	"github.com/staddle/staddle/types"
)

// stranger is a packet source that speaks to one engine.
type stranger struct {
	t    testing.TB
	c    *core
	now  time.Time
	from netip.AddrPort
	id   ID
}

func meet(t testing.TB, cfg Config) *stranger {
	t.Helper()
	c, err := newCore(simStart, cfg, seeded(1))
	if err != nil {
		t.Fatal(err)
	}
	return &stranger{t: t, c: c, now: simStart, from: netip.MustParseAddrPort("8.8.4.4:6881"), id: ID{0x55}}
}

func (s *stranger) raw(packet []byte) []message {
	s.t.Helper()
	s.c.out = nil
	s.c.receive(s.now, s.from, packet)
	var out []message
	for _, d := range s.c.out {
		m, err := decodeMessage(d.data)
		if err != nil {
			s.t.Fatalf("engine sent %q: %v", d.data, err)
		}
		if d.to == s.from && m.kind != kindQuery {
			out = append(out, m)
		}
	}
	s.c.out = nil
	return out
}

// query asks and gives the one answer.
func (s *stranger) query(method string, args bencode.Fields) message {
	s.t.Helper()
	args["id"] = bencode.OfBytes(s.id[:])
	got := s.raw(s.c.frame.query([]byte("aa"), method, args))
	if len(got) != 1 || string(got[0].transaction) != "aa" {
		s.t.Fatalf("%s got %d answers, want 1", method, len(got))
	}
	return got[0]
}

func (s *stranger) code(method string, args bencode.Fields) int {
	s.t.Helper()
	m := s.query(method, args)
	if m.kind == kindReply {
		return 0
	}
	return m.refused.Code
}

func (s *stranger) token() []byte {
	id := ID{1}
	return s.query(methodGet, bencode.Fields{"target": bencode.OfBytes(id[:])}).body.Get("token").Raw()
}

func putArgs(it Item, token []byte) bencode.Fields {
	f := bencode.Fields{"token": token}
	itemFields(it, f)
	if len(it.Salt) > 0 {
		f["salt"] = bencode.OfBytes(it.Salt)
	}
	return f
}

func with(f bencode.Fields, key string, value []byte) bencode.Fields {
	if value == nil {
		delete(f, key)
	} else {
		f[key] = value
	}
	return f
}

func TestPutRefusals(t *testing.T) {
	it := mutable(t, 1, "salt", 5, "v")
	long := make([]byte, 1000)
	cases := []struct {
		name string
		args func(token []byte) bencode.Fields
		want int
	}{
		{"good", func(tok []byte) bencode.Fields { return putArgs(it, tok) }, 0},
		{"replay refreshes", func(tok []byte) bencode.Fields { return putArgs(it, tok) }, 0},
		{"immutable without seq", func(tok []byte) bencode.Fields { return putArgs(immutable("x"), tok) }, 0},
		{"no token", func(tok []byte) bencode.Fields { return with(putArgs(it, tok), "token", nil) }, CodeProtocol},
		{"wrong token", func([]byte) bencode.Fields { return putArgs(it, bencode.OfString("12345678")) }, CodeProtocol},
		{"token is a number", func([]byte) bencode.Fields { return putArgs(it, bencode.OfInt(5)) }, CodeProtocol},
		{"no value", func(tok []byte) bencode.Fields { return with(putArgs(it, tok), "v", nil) }, CodeProtocol},
		{"no k", func(tok []byte) bencode.Fields { return with(putArgs(it, tok), "k", nil) }, CodeProtocol},
		{"no sig", func(tok []byte) bencode.Fields { return with(putArgs(it, tok), "sig", nil) }, CodeProtocol},
		{"no seq", func(tok []byte) bencode.Fields { return with(putArgs(it, tok), "seq", nil) }, CodeProtocol},
		{"short k", func(tok []byte) bencode.Fields { return with(putArgs(it, tok), "k", bencode.OfString("k")) }, CodeProtocol},
		{"k is a list", func(tok []byte) bencode.Fields { return with(putArgs(it, tok), "k", bencode.OfList()) }, CodeProtocol},
		{"salt is a number", func(tok []byte) bencode.Fields { return with(putArgs(it, tok), "salt", bencode.OfInt(1)) }, CodeProtocol},
		{"cas is a string", func(tok []byte) bencode.Fields { return with(putArgs(it, tok), "cas", bencode.OfString("1")) }, CodeProtocol},
		{"negative seq", func(tok []byte) bencode.Fields { return with(putArgs(it, tok), "seq", bencode.OfInt(-1)) }, CodeProtocol},
		{"value too big", func(tok []byte) bencode.Fields { return with(putArgs(it, tok), "v", bencode.OfBytes(long)) }, CodeTooBig},
		{"immutable too big", func(tok []byte) bencode.Fields { return putArgs(Item{Value: bencode.OfBytes(long)}, tok) }, CodeTooBig},
		{"salt too big", func(tok []byte) bencode.Fields {
			return with(putArgs(it, tok), "salt", bencode.OfBytes(long[:65]))
		}, CodeSaltTooBig},
		{"other value", func(tok []byte) bencode.Fields { return with(putArgs(it, tok), "v", bencode.OfString("w")) }, CodeBadSignature},
		{"other seq", func(tok []byte) bencode.Fields { return with(putArgs(it, tok), "seq", bencode.OfInt(6)) }, CodeBadSignature},
		{"other salt", func(tok []byte) bencode.Fields { return with(putArgs(it, tok), "salt", bencode.OfString("t")) }, CodeBadSignature},
		{"cas of another seq", func(tok []byte) bencode.Fields {
			return with(putArgs(mutable(t, 1, "salt", 6, "w"), tok), "cas", bencode.OfInt(4))
		}, CodeCAS},
		{"lower seq", func(tok []byte) bencode.Fields { return putArgs(mutable(t, 1, "salt", 4, "v"), tok) }, CodeSeq},
		{"equal seq, other value", func(tok []byte) bencode.Fields { return putArgs(mutable(t, 1, "salt", 5, "w"), tok) }, CodeSeq},
		{"right cas", func(tok []byte) bencode.Fields {
			return with(putArgs(mutable(t, 1, "salt", 6, "w"), tok), "cas", bencode.OfInt(5))
		}, 0},
		{"old item again", func(tok []byte) bencode.Fields { return putArgs(it, tok) }, CodeSeq},
	}
	s := meet(t, Config{})
	token := s.token()
	for _, c := range cases {
		s.now = s.now.Add(time.Second) // out of the way of the limits
		if got := s.code(methodPut, c.args(token)); got != c.want {
			t.Errorf("%s: code %d, want %d", c.name, got, c.want)
		}
	}
	if held := s.c.store.held.items; held != 2 {
		t.Errorf("%d items are stored, want 2", held)
	}
}

func TestTokens(t *testing.T) {
	s := meet(t, Config{})
	token := s.token()
	other := *s
	other.from = netip.MustParseAddrPort("8.8.4.5:6881")
	if got := other.code(methodPut, putArgs(immutable("x"), token)); got != CodeProtocol {
		t.Errorf("token of another address: code %d, want %d", got, CodeProtocol)
	}
	for _, c := range []struct {
		after time.Duration
		want  int
	}{{4 * time.Minute, 0}, {9 * time.Minute, 0}, {11 * time.Minute, CodeProtocol}, {3 * time.Hour, CodeProtocol}} {
		s.now = simStart.Add(c.after)
		if got := s.code(methodPut, putArgs(immutable("x"), token)); got != c.want {
			t.Errorf("token after %v: code %d, want %d", c.after, got, c.want)
		}
	}
}

// Packets that brought other engines down, or fooled them.
func TestMalformedPackets(t *testing.T) {
	id := "2:id20:abcdefghij0123456789"
	cases := []struct {
		name, packet string
		want         int // code of the one answer; -1: none
	}{
		{"put without arguments", "d1:q3:put1:t1:x1:y1:qe", CodeProtocol},
		{"announce without arguments", "d1:q13:announce_peer1:t1:x1:y1:qe", CodeProtocol},
		{"get without arguments", "d1:q3:get1:t1:x1:y1:qe", CodeProtocol},
		{"arguments are a list", "d1:ale1:q3:put1:t1:x1:y1:qe", CodeProtocol},
		{"no method", "d1:ad" + id + "e1:t1:x1:y1:qe", CodeProtocol},
		{"put without fields", "d1:ad" + id + "e1:q3:put1:t1:x1:y1:qe", CodeProtocol},
		{"announce without fields", "d1:ad" + id + "e1:q13:announce_peer1:t1:x1:y1:qe", CodeProtocol},
		{"get_peers without hash", "d1:ad" + id + "e1:q9:get_peers1:t1:x1:y1:qe", CodeProtocol},
		{"find_node with short target", "d1:ad" + id + "6:target4:ababe1:q9:find_node1:t1:x1:y1:qe", CodeProtocol},
		{"find_node without target", "d1:ad" + id + "e1:q9:find_node1:t1:x1:y1:qe", CodeProtocol},
		{"unknown method", "d1:ad" + id + "e1:q4:vote1:t1:x1:y1:qe", CodeUnknown},
		{"unknown method with target", "d1:ad" + id + "6:target20:abcdefghij0123456789e1:q4:vote1:t1:x1:y1:qe", CodeUnknown},
		{"no transaction", "d1:ad" + id + "e1:q4:ping1:y1:qe", -1},
		{"long transaction", "d1:ad" + id + "e1:q4:ping1:t21:aaaaaaaaaaaaaaaaaaaaa1:y1:qe", -1},
		{"unknown kind", "d1:t1:x1:y1:ze", -1},
		{"reply to nothing", "d1:rd" + id + "e1:t4:abcd1:y1:re", -1},
		{"error to nothing", "d1:eli201e1:xe1:t4:abcd1:y1:ee", -1},
		{"network tag of 7", "d1:ad" + id + "e1:q4:ping1:t1:x2:tn7:aaaaaaa1:y1:qe", -1},
		{"another network", "d1:ad" + id + "e1:q4:ping1:t1:x2:tn8:aaaaaaaa1:y1:qe", -1},
		{"not a dictionary", "le", -1},
		{"empty", "", -1},
		{"zeros", strings.Repeat("\x00", 2048), -1},
		{"deep", strings.Repeat("d1:a", 400), -1},
		{"too long", "2049:" + strings.Repeat("a", 2049), -1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := meet(t, Config{}).raw([]byte(c.packet))
			switch {
			case c.want < 0 && len(got) != 0:
				t.Errorf("%d answers, want none", len(got))
			case c.want >= 0 && (len(got) != 1 || got[0].kind != kindError || got[0].refused.Code != c.want):
				t.Errorf("answers %+v, want code %d", got, c.want)
			}
		})
	}
}

// answerer lets an engine run a get against one scripted node.
func scripted(t *testing.T, w want, reply func(m message) []byte) simGet {
	t.Helper()
	a := netip.MustParseAddrPort("9.9.9.9:9")
	c, err := newCore(simStart, Config{Bootstrap: []netip.AddrPort{a}}, seeded(1))
	if err != nil {
		t.Fatal(err)
	}
	var end *simGet
	c.get(simStart, w, func(it Item, err error) { end = &simGet{item: it, err: err} })
	for now := simStart; end == nil; now = now.Add(10 * time.Millisecond) {
		out := c.out
		c.out = nil
		for _, d := range out {
			m, err := decodeMessage(d.data)
			if err != nil {
				t.Fatal(err)
			}
			if packet := reply(m); packet != nil && m.method == methodGet {
				c.receive(now, d.to, packet)
			}
		}
		c.wake(now)
	}
	return *end
}

// Hostile answers to a get: none of them is believed, none does harm.
func TestHostileAnswers(t *testing.T) {
	it := mutable(t, 1, "s", 5, "v")
	id := ID{9}
	fields := func(it Item) bencode.Fields {
		f := bencode.Fields{"id": bencode.OfBytes(id[:]), "token": bencode.OfString("t")}
		itemFields(it, f)
		return f
	}
	forged := it
	forged.Value = bencode.OfString("w")
	cases := []struct {
		name string
		want want
		r    bencode.Fields
		ok   bool
	}{
		{"good", wantOf(it), fields(it), true},
		{"no seq", wantOf(it), with(fields(it), "seq", nil), false},
		{"no k", wantOf(it), with(fields(it), "k", nil), false},
		{"no sig", wantOf(it), with(fields(it), "sig", nil), false},
		{"forged", wantOf(it), fields(forged), false},
		{"another salt", wantOf(it), fields(mutable(t, 1, "t", 5, "v")), false},
		{"another key", wantOf(it), fields(mutable(t, 2, "s", 5, "v")), false},
		{"mutable for immutable", wantOf(immutable("v")), fields(it), false},
		{"another immutable", wantOf(immutable("v")), fields(immutable("w")), false},
		{"good immutable", wantOf(immutable("v")), fields(immutable("v")), true},
		{"nodes of odd length", wantOf(it), with(fields(it), "nodes", bencode.OfString("abc")), true},
		{"nodes is a number", wantOf(it), with(fields(it), "nodes", bencode.OfInt(1)), true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := scripted(t, c.want, func(m message) []byte {
				return frame{}.reply(m.transaction, simAddr(1), c.r)
			})
			if (got.err == nil) != c.ok {
				t.Errorf("error %v, want success %v", got.err, c.ok)
			}
		})
	}
}

// libtorrent sends r beside e; only y decides.
func TestErrorWithReplyIsAnError(t *testing.T) {
	s := meet(t, Config{})
	var got error
	tr := &transaction{to: Contact{Addr: s.from}, done: func(_ time.Time, _ message, err error) { got = err }}
	if !s.c.ask(s.now, tr, methodPut, bencode.Fields{}) {
		t.Fatal("the query was not sent")
	}
	f := frame{}.fields(kindError, binary.BigEndian.AppendUint32(nil, tr.number))
	f["e"] = bencode.OfList(bencode.OfInt(302), bencode.OfString("old\x1b[31m"))
	f["r"] = bencode.OfDict(bencode.Fields{"id": bencode.OfBytes(s.id[:])})
	s.raw(bencode.OfDict(f))
	if got == nil || got.Error() != "dht error 302: old?[31m" {
		t.Errorf("got %v, want error 302 with a clean text", got)
	}
}

// An answer counts only from the address that was asked.
func TestAnswerFromElsewhere(t *testing.T) {
	s := meet(t, Config{})
	ends := 0
	tr := &transaction{to: Contact{Addr: s.from}, done: func(time.Time, message, error) { ends++ }}
	s.c.ask(s.now, tr, methodPing, bencode.Fields{})
	reply := frame{}.reply(binary.BigEndian.AppendUint32(nil, tr.number), s.from, bencode.Fields{"id": bencode.OfBytes(s.id[:])})
	elsewhere := *s
	elsewhere.from = netip.MustParseAddrPort("8.8.4.4:6882")
	elsewhere.raw(reply)
	if live, _ := s.c.table.count(); ends != 0 || live != 0 || s.c.stats.Unexpected != 1 {
		t.Fatalf("after a forged answer: %d ends, %d nodes, %+v", ends, live, s.c.stats)
	}
	s.raw(reply)
	s.raw(reply)
	if live, _ := s.c.table.count(); ends != 1 || live != 1 || s.c.stats.Unexpected != 2 {
		t.Errorf("after the answer and its replay: %d ends, %d nodes, %+v", ends, live, s.c.stats)
	}
}

// An asker enters the table only after it has answered us.
func TestAskerIsPingedFirst(t *testing.T) {
	s := meet(t, Config{})
	ping := frame{}.query([]byte("aa"), methodPing, bencode.Fields{"id": bencode.OfBytes(s.id[:])})
	s.c.receive(s.now, s.from, ping)
	if live, _ := s.c.table.count(); live != 0 || len(s.c.out) != 2 {
		t.Fatalf("after a query: %d nodes and %d packets, want 0 and 2", live, len(s.c.out))
	}
	m, err := decodeMessage(s.c.out[1].data)
	if err != nil || m.method != methodPing {
		t.Fatalf("second packet is %q", s.c.out[1].data)
	}
	s.raw(frame{}.reply(m.transaction, s.from, bencode.Fields{"id": bencode.OfBytes(s.id[:])}))
	if live, _ := s.c.table.count(); live != 1 || s.c.home.probes != 0 {
		t.Errorf("after its answer: %d nodes, %d probes; want 1, 0", live, s.c.home.probes)
	}
}

func TestAnnounce(t *testing.T) {
	s := meet(t, Config{})
	hash := ID{3}
	args := func(token []byte) bencode.Fields {
		return bencode.Fields{"info_hash": bencode.OfBytes(hash[:]), "token": token, "port": bencode.OfInt(7000)}
	}
	if got := s.code(methodAnnounce, args(bencode.OfString("no"))); got != CodeProtocol {
		t.Errorf("bad token: code %d", got)
	}
	for _, port := range []int64{0, -1, 65536} {
		if got := s.code(methodAnnounce, with(args(s.token()), "port", bencode.OfInt(port))); got != CodeProtocol {
			t.Errorf("port %d: code %d", port, got)
		}
	}
	if got := s.code(methodAnnounce, args(s.token())); got != 0 {
		t.Errorf("good: code %d", got)
	}
	r := s.query(methodGetPeers, bencode.Fields{"info_hash": bencode.OfBytes(hash[:])})
	values := r.body.Get("values").Items()
	if len(values) != 1 || !bytes.Equal(values[0].Raw(), bencode.OfBytes(appendAddr(nil, netip.MustParseAddrPort("8.8.4.4:7000")))) {
		t.Errorf("peers %v", values)
	}
	implied := with(args(s.token()), "implied_port", bencode.OfInt(1))
	if got := s.code(methodAnnounce, implied); got != 0 {
		t.Errorf("implied port: code %d", got)
	}
	if got := s.c.peers.get(s.now, hash); len(got) != 1 || got[0] != s.from {
		t.Errorf("peers %v, want %v alone", got, s.from)
	}
	if got := s.c.peers.get(s.now.Add(peerLife), hash); len(got) != 0 {
		t.Errorf("peers %v after half an hour", got)
	}
}

func TestGetWithSeq(t *testing.T) {
	s := meet(t, Config{})
	it := mutable(t, 1, "", 5, "v")
	s.code(methodPut, putArgs(it, s.token()))
	for seq, whole := range map[int64]bool{4: true, 5: false, 6: false} {
		r := s.query(methodGet, bencode.Fields{"target": bencode.OfBytes(target(it)), "seq": bencode.OfInt(seq)})
		got, _ := r.body.Get("seq").Int()
		if has := r.body.Get("v").Kind() != bencode.Absent; has != whole || got != 5 {
			t.Errorf("newer than %d: value %v seq %d, want %v and 5", seq, has, got, whole)
		}
	}
}

// A small query from a forged address must not draw large answers for long.
func TestNoAmplification(t *testing.T) {
	s := meet(t, Config{})
	it := immutable(strings.Repeat("x", 900))
	_ = s.c.store.put(s.now, noSource, it, nil)
	ask := func(token []byte) bool {
		args := bencode.Fields{"target": bencode.OfBytes(target(it))}
		return s.query(methodGet, with(args, "token", token)).body.Get("v").Kind() != bencode.Absent
	}
	whole := 0
	for range 10 {
		if ask(nil) {
			whole++
		}
	}
	if whole != 3 {
		t.Errorf("%d of 10 answers carried the item, want 3", whole)
	}
	token := s.token()
	if !ask(token) || !ask(nil) {
		t.Error("whoever echoes a token does not get the item")
	}
}

// The sizes that the design counts on: no reply of an item of ours exceeds the
// least packet of IPv6, and none at all that of Ethernet.
func TestReplySizes(t *testing.T) {
	for _, c := range []struct{ content, most int }{{MaxChannelSize, 1400}, {MaxContentSize, 1472}} {
		s := meet(t, Config{Network: NetworkTag([]byte("x"))})
		for i := range 8 {
			s.c.table.answered(s.now, Contact{ID{byte(i + 1)}, simAddr(i + 1)})
		}
		it := mutable(t, 1, strings.Repeat("s", 64), 1<<62, strings.Repeat("v", c.content))
		_ = s.c.store.put(s.now, noSource, it, nil)
		args := bencode.Fields{"id": bencode.OfBytes(s.id[:]), "target": bencode.OfBytes(target(it))}
		s.c.receive(s.now, s.from, s.c.frame.query([]byte("abcdefgh"), methodGet, args))
		if n := len(s.c.out[0].data); n > c.most || n < c.content {
			t.Errorf("reply with %d bytes of content has %d bytes, limit %d", c.content, n, c.most)
		}
	}
}

// Floods of queries, puts and announcements from everywhere leave an engine of
// bounded size.
func TestBoundedMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("a long flood; -short")
	}
	limits := Limits{Items: 500, ItemBytes: 400 << 10, Swarms: 50, Sources: 500, AnswersPerSecond: 1_000_000}
	s := meet(t, Config{Limits: limits})
	flood := func(rounds int) {
		for i := range rounds {
			s.now = s.now.Add(time.Millisecond)
			n := uint32(i) * 2654435761
			s.from = netip.AddrPortFrom(netip.AddrFrom4([4]byte{byte(n>>24)%200 + 1, byte(n >> 16), byte(n >> 8), byte(n)}), 9)
			binary.BigEndian.PutUint32(s.id[:], n)
			args := bencode.Fields{"id": bencode.OfBytes(s.id[:]), "info_hash": bencode.OfBytes(s.id[:]), "port": bencode.OfInt(5)}
			args["token"] = bencode.OfBytes(s.c.tokens.give(s.now, s.from.Addr()))
			args["v"] = bencode.OfString(fmt.Sprintf("%0800d", i))
			for _, method := range []string{methodPut, methodAnnounce, methodPing} {
				s.c.receive(s.now, s.from, frame{}.query([]byte("aa"), method, args))
			}
			s.c.out = nil
			s.c.wake(s.now)
		}
	}
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	flood(3_000)
	before := heap()
	flood(12_000)
	grown := int64(heap()) - int64(before)
	c := s.c
	if c.store.held.items > 500 || c.store.held.bytes > 400<<10 || len(c.peers.swarms) > 50 ||
		len(c.turnstile.queries.byKey) > 500 || len(c.turnstile.proven) > provenMax ||
		len(c.pending) > maxPending || len(c.timers.heap) > 4*maxPending {
		t.Errorf("a bound is broken: %+v, %d swarms, %d sources", c.store.held, len(c.peers.swarms), len(c.turnstile.queries.byKey))
	}
	if c.store.held.items < 300 || grown > 1<<20 {
		t.Errorf("heap grew by %d bytes with %d items; limit 1 MiB, and the store should be full", grown, c.store.held.items)
	}
}

func FuzzPackets(f *testing.F) {
	it := Item{Value: bencode.OfString("x")}
	id := ID{5}
	args := bencode.Fields{"id": bencode.OfBytes(id[:]), "target": bencode.OfBytes(target(it)), "info_hash": bencode.OfBytes(target(it))}
	for _, m := range []string{methodPing, methodFindNode, methodGetPeers, methodAnnounce, methodGet, methodPut, "x"} {
		f.Add(frame{}.query([]byte("aa"), m, args))
	}
	f.Add([]byte("d1:q3:put1:t1:x1:y1:qe"))
	f.Add(frame{}.refuse([]byte("aaaa"), refusal(203, "x")))
	f.Add(frame{}.reply([]byte("aaaa"), simAddr(1), args))
	f.Fuzz(func(t *testing.T, packet []byte) {
		s := meet(t, Config{})
		s.c.get(s.now, want{target: ID{1}}, func(Item, error) {})
		s.raw(packet) // decodes all that the engine answers
		s.raw(packet)
		if len(packet) > MaxPacket {
			return
		}
		if m, err := decodeMessage(packet); err == nil && m.kind == kindQuery && !isTagged(m) && s.c.stats.Answered+s.c.stats.Refused != 2 {
			t.Errorf("%q was answered %d times, want 2", packet, s.c.stats.Answered+s.c.stats.Refused)
		}
	})
}

func isTagged(m message) bool { return m.tag != Tag{} }

// Replies are fuzzed with the number of a query that waits for them.
func FuzzReplies(f *testing.F) {
	it := Item{Value: bencode.OfString("v"), Mutable: true, Key: types.Account{1}}
	id := ID{5}
	r := bencode.Fields{"id": bencode.OfBytes(id[:]), "nodes": bencode.OfBytes(compactNodes([]Contact{{ID{7}, simAddr(3)}}))}
	f.Add(bencode.OfDict(r))
	itemFields(it, r)
	f.Add(bencode.OfDict(r))
	delete(r, "seq")
	f.Add(bencode.OfDict(r))
	f.Add([]byte("le"))
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) > MaxPacket-100 {
			return
		}
		w := want{target: MutableTarget(types.Account{1}, nil), mutable: true, key: types.Account{1}}
		got := scripted(t, w, func(m message) []byte {
			fields := frame{}.fields(kindReply, m.transaction)
			fields["r"] = body
			return bencode.OfDict(fields)
		})
		if got.err == nil && got.item.check() != nil {
			t.Errorf("%q gave an item that does not verify", body)
		}
	})
}
