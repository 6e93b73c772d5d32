package swarm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/staddle/staddle/keys"
	"github.com/staddle/staddle/transport"
	"github.com/staddle/staddle/types"
)

// openHost is person p on loopback.
func openHost(t testing.TB, p byte, listen string) *transport.Host {
	t.Helper()
	key := keys.DeviceFromSeed([32]byte{p, 1})
	h, err := transport.Open(transport.Config{
		Device: key, Listen: []string{listen},
		Certificate: keys.Issue(signer(p), keys.Certificate{
			Device: key.ID(), Serial: 1, Expiry: types.Millis(time.Now().Add(time.Hour).UnixMilli()),
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// TestOverTransport: real hosts, full pieces, one peer that sends wrong bytes,
// paid and free, over TCP and over QUIC.
func TestOverTransport(t *testing.T) {
	var pieces [][]byte
	var want []types.Hash
	chance := rand.NewChaCha8([32]byte{7})
	for range 24 {
		p := make([]byte, types.PieceSize)
		_, _ = chance.Read(p)
		pieces, want = append(pieces, p), append(want, sha256.Sum256(p))
	}
	for name, listen := range map[string]string{"tcp": "/ip4/127.0.0.1/tcp/0", "quic": "/ip4/127.0.0.1/udp/0/quic-v1"} {
		t.Run(name, func(t *testing.T) {
			n, town := newNet(t), newTown(200)
			reader := openHost(t, 1, listen)
			ledgers := map[byte]*book{}
			for p := byte(2); p < 5; p++ {
				h := openHost(t, p, listen)
				s := newShelf(pieces)
				if p == 4 {
					for d, b := range s.pieces {
						b = bytes.Clone(b)
						b[77] ^= 1
						s.pieces[d] = b
					}
				}
				ledgers[p] = newBook()
				server := n.host(p, town, s, func(c *ServerConfig) { c.Ledger = ledgers[p] })
				h.Handle(Protocol, func(st *transport.Stream) { _ = server.Serve(context.Background(), st) })
				if err := reader.Add(account(p), device(p), h.Addrs()...); err != nil {
					t.Fatal(err)
				}
			}
			r := n.reader(town, paying(1), func(c *Config) {
				c.Dial = func(ctx context.Context, to types.Account) (Stream, error) {
					return reader.Open(ctx, to, Protocol)
				}
			})
			b := newBasket(t, want)
			if err := r.Fetch(soon(t), want, peersOf(2, 3, 4), b.put); err != nil {
				t.Fatal(err)
			}
			b.full()
			if err := r.Settle(soon(t)); err != nil {
				t.Error(err)
			}
			mine, err := Settled(r.c.Ledger, 5)
			if err != nil {
				t.Fatal(err)
			}
			paid := int64(0)
			for _, line := range mine {
				paid -= line.Units
			}
			if paid < 24 || paid > 30 {
				t.Errorf("paid %d units for 24 pieces: %+v", paid, mine)
			}
			theirs := int64(0)
			for _, l := range ledgers {
				lines, err := Settled(l, 5)
				if err != nil {
					t.Fatal(err)
				}
				for _, line := range lines {
					theirs += line.Units
				}
			}
			if theirs != paid {
				t.Errorf("paid %d units, earned %d", paid, theirs)
			}
		})
	}
}
