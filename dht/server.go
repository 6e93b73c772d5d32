package dht

import (
	"net/netip"
	"time"

	"github.com/staddle/staddle/dht/bencode"
)

// answer serves one query; its source has passed the limits.
func (c *core) answer(now time.Time, from netip.AddrPort, m message) {
	r, refused := c.serve(now, from, m)
	if refused != nil {
		c.stats.Refused++
		c.send(now, from, c.frame.refuse(m.transaction, refused))
	} else {
		r["id"] = bencode.OfBytes(c.id[:])
		c.stats.Answered++
		c.send(now, from, c.frame.reply(m.transaction, from, r))
	}
	n := Contact{m.id, from}
	if c.table.asked(now, n) && !m.readOnly {
		c.probe(now, n)
	}
}

// serve is the table of methods.
func (c *core) serve(now time.Time, from netip.AddrPort, m message) (bencode.Fields, *Error) {
	switch m.method {
	case methodPing:
		return bencode.Fields{}, nil
	case methodFindNode:
		return c.serveFindNode(now, m.body)
	case methodGetPeers:
		return c.serveGetPeers(now, from, m.body)
	case methodAnnounce:
		return c.serveAnnounce(now, from, m.body)
	case methodGet:
		return c.serveGet(now, from, m.body)
	case methodPut:
		return c.servePut(now, from, m.body)
	}
	return nil, refusal(CodeUnknown, "method unknown")
}

// near is the start of an answer that names the nodes nearest to a target.
func (c *core) near(now time.Time, target ID) bencode.Fields {
	nodes := compactNodes(c.table.nearest(now, target, k, true))
	return bencode.Fields{"nodes": bencode.OfBytes(nodes)}
}

func (c *core) serveFindNode(now time.Time, a bencode.Value) (bencode.Fields, *Error) {
	target, ok := fixed[ID](a.Get("target").Bytes())
	if !ok {
		return nil, refusal(CodeProtocol, "no target of 20 bytes")
	}
	return c.near(now, target), nil
}

func (c *core) serveGetPeers(now time.Time, from netip.AddrPort, a bencode.Value) (bencode.Fields, *Error) {
	hash, ok := fixed[ID](a.Get("info_hash").Bytes())
	if !ok {
		return nil, refusal(CodeProtocol, "no info_hash of 20 bytes")
	}
	r := c.near(now, hash)
	r["token"] = bencode.OfBytes(c.tokens.give(now, from.Addr()))
	peers := c.peers.get(now, hash)
	if len(peers) > 0 && c.turnstile.item(now, from) {
		values := make([][]byte, len(peers))
		for i, p := range peers {
			values[i] = bencode.OfBytes(appendAddr(nil, p))
		}
		r["values"] = bencode.OfList(values...)
	}
	return r, nil
}

func (c *core) serveAnnounce(now time.Time, from netip.AddrPort, a bencode.Value) (bencode.Fields, *Error) {
	hash, ok := fixed[ID](a.Get("info_hash").Bytes())
	if !ok {
		return nil, refusal(CodeProtocol, "no info_hash of 20 bytes")
	}
	addr := from
	if implied, _ := a.Get("implied_port").Int(); implied != 1 {
		port, ok := a.Get("port").Int()
		if !ok || port < 1 || port > 65535 {
			return nil, refusal(CodeProtocol, "no port from 1 to 65535")
		}
		addr = netip.AddrPortFrom(from.Addr(), uint16(port))
	}
	if err := c.admit(now, from, a); err != nil {
		return nil, err
	}
	c.peers.announce(now, hash, addr)
	return bencode.Fields{}, nil
}

// admit checks the token and the pace of whoever wants to store.
func (c *core) admit(now time.Time, from netip.AddrPort, a bencode.Value) *Error {
	token, _ := a.Get("token").Bytes()
	if !c.tokens.valid(now, from.Addr(), token) {
		return refusal(CodeProtocol, "bad token")
	}
	c.turnstile.prove(now, from)
	if !c.turnstile.put(now, from) {
		return refusal(CodeServer, "too many puts from your address")
	}
	return nil
}

// serveGet answers with the item, if there is one newer than the asker's seq,
// with a token, and with nearer nodes in any case (BEP 44).
func (c *core) serveGet(now time.Time, from netip.AddrPort, a bencode.Value) (bencode.Fields, *Error) {
	target, ok := fixed[ID](a.Get("target").Bytes())
	if !ok {
		return nil, refusal(CodeProtocol, "no target of 20 bytes")
	}
	if token, ok := a.Get("token").Bytes(); ok && c.tokens.valid(now, from.Addr(), token) {
		c.turnstile.prove(now, from)
	}
	r := c.near(now, target)
	r["token"] = bencode.OfBytes(c.tokens.give(now, from.Addr()))
	it, ok := c.store.get(now, target)
	if !ok {
		return r, nil
	}
	if known, given := a.Get("seq").Int(); it.Mutable && given && it.Seq <= known {
		r["seq"] = bencode.OfInt(it.Seq)
		return r, nil
	}
	if c.turnstile.item(now, from) {
		itemFields(it, r)
	}
	return r, nil
}

// servePut stores an item: first what is cheap to check, the signature last.
func (c *core) servePut(now time.Time, from netip.AddrPort, a bencode.Value) (bencode.Fields, *Error) {
	it, err := itemOf(a)
	if err != nil {
		return nil, err
	}
	cas, err := casOf(a)
	if err != nil {
		return nil, err
	}
	if err := c.admit(now, from, a); err != nil {
		return nil, err
	}
	if err := it.check(); err != nil {
		return nil, err
	}
	if err := c.store.put(now, from.Addr(), it, cas); err != nil {
		return nil, err
	}
	c.stats.Stored++
	return bencode.Fields{}, nil
}

func casOf(a bencode.Value) (*int64, *Error) {
	v := a.Get("cas")
	if v.Kind() == bencode.Absent {
		return nil, nil
	}
	n, ok := v.Int()
	if !ok {
		return nil, refusal(CodeProtocol, "cas is not an integer")
	}
	return &n, nil
}
