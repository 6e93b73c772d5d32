package transport

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/staddle/staddle/keys"
	"github.com/staddle/staddle/types"
)

// lies are certificates that person 66's device may hand over, and what an
// honest host makes of them.
func lies() map[string]struct {
	card   *card
	want   error
	reason uint32
} {
	c := person(66).Certificate
	other := c
	other.Account = signer(1).Account()
	expired := c
	expired.Expiry = start
	flipped := types.Marshal(c)
	flipped[len(flipped)-3] ^= 1
	return map[string]struct {
		card   *card
		want   error
		reason uint32
	}{
		"another account": {newCard(other), keys.ErrSignature, ReasonCertificate},
		"another device":  {newCard(person(1).Certificate), ErrWrongDevice, ReasonCertificate},
		"expired":         {newCard(keys.Issue(signer(66), expired)), keys.ErrExpired, ReasonExpired},
		"flipped bit":     {&card{c, flipped}, keys.ErrSignature, ReasonCertificate},
		"trailing byte":   {&card{c, append(types.Marshal(c), 0)}, ErrCertificate, ReasonCertificate},
		"nothing in it":   {&card{c, nil}, ErrCertificate, ReasonCertificate},
		"far too long":    {&card{c, make([]byte, keys.MaxCertificate+1)}, ErrTooLong, ReasonTooLong},
	}
}

// TestK1 lets a device lie about itself in every way, dialling and dialled:
// no stream with it ever reaches a handler or a caller.
func TestK1(t *testing.T) {
	everywhere(t, func(t *testing.T, listen string) {
		for name, lie := range lies() {
			t.Run(name, func(t *testing.T) {
				honest, liar := open(t, 1, listen), open(t, 66, listen)
				reached := seen(honest, echo, func(*Stream) error { return nil })
				liar.own.Store(lie.card)

				_, err := liar.Dial(soon(t), honest.Addrs()[0])
				if want := (&ResetError{Number: lie.reason, Remote: true}); !errors.Is(err, want) {
					t.Errorf("the liar is told %v, want %v", err, want)
				}
				if _, err = honest.Dial(soon(t), liar.Addrs()[0]); !errors.Is(err, lie.want) {
					t.Errorf("error %v, want %v", err, lie.want)
				}
				if len(honest.Peers()) > 0 || len(reached) > 0 {
					t.Errorf("peers %+v, streams served %d", honest.Peers(), len(reached))
				}
			})
		}
	})
}

// TestK1LaterStreams: having been honest once does not help.
func TestK1LaterStreams(t *testing.T) {
	everywhere(t, func(t *testing.T, listen string) {
		honest, liar := open(t, 1, listen), open(t, 66, listen)
		reached := seen(honest, echo, func(*Stream) error { return nil })
		serveEcho(liar)
		join(t, liar, honest)
		changed := person(66).Certificate
		tests := map[string]struct {
			card *card
			want error
		}{
			"another account of the same device": {newCard(keys.Issue(signer(67), changed)), ErrWrongAccount},
			"another device":                     {newCard(person(1).Certificate), ErrWrongDevice},
		}
		for name, tt := range tests {
			liar.own.Store(tt.card)
			s, err := liar.Open(soon(t), honest.Account(), echo)
			if err == nil {
				_, err = s.Receive(1)
			}
			if want := (&ResetError{Number: ReasonCertificate, Remote: true}); !errors.Is(err, want) {
				t.Errorf("%s: the liar is told %v, want %v", name, err, want)
			}
			s, err = honest.Open(soon(t), signer(66).Account(), echo)
			if err == nil {
				_, err = s.Receive(1)
			}
			if !errors.Is(err, tt.want) {
				t.Errorf("%s: error %v, want %v", name, err, tt.want)
			}
		}
		if len(reached) > 0 {
			t.Errorf("%d false streams were served", len(reached))
		}
	})
}

// TestWrongAccountInTheBook: an address that leads to somebody else.
func TestWrongAccountInTheBook(t *testing.T) {
	a, b := open(t, 1, networks["tcp"]), open(t, 2, networks["tcp"])
	wanted := signer(3).Account()
	if err := a.Add(wanted, b.Device(), b.Addrs()...); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Open(soon(t), wanted, echo); !errors.Is(err, ErrWrongAccount) {
		t.Fatalf("error %v, want %v", err, ErrWrongAccount)
	}
	if _, err := a.Connect(soon(t), wanted); !errors.Is(err, ErrUnknown) {
		t.Fatalf("error %v, want %v: the false entry is gone", err, ErrUnknown)
	}
}

func TestOpenRefusesItsOwnBadCertificate(t *testing.T) {
	tests := map[string]struct {
		change func(*Config)
		want   error
	}{
		"of another device": {func(c *Config) { c.Certificate = person(2).Certificate }, ErrWrongDevice},
		"expired":           {func(c *Config) { c.Certificate.Expiry = start }, keys.ErrExpired},
		"flipped bit":       {func(c *Config) { c.Certificate.Signature[5] ^= 1 }, keys.ErrSignature},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := person(1)
			tt.change(&c)
			if h, err := Open(c); !errors.Is(err, tt.want) {
				t.Fatalf("host %v, error %v, want %v", h, err, tt.want)
			}
		})
	}
}

// TestCertificateExpiresWhileConnected, and a new one helps.
func TestCertificateExpiresWhileConnected(t *testing.T) {
	time := newClock()
	shared := func(c *Config) { c.Now = time.read }
	a, b := open(t, 1, networks["tcp"], shared), open(t, 2, networks["tcp"], shared)
	serveEcho(b)
	join(t, a, b)
	time.now.Add(3_600_000)
	if peers := a.Peers(); len(peers) != 0 {
		t.Errorf("peers %+v after their certificates ended", peers)
	}
	if _, err := a.OpenDevice(soon(t), b.Device(), echo); !errors.Is(err, keys.ErrExpired) && !errors.Is(err, &ResetError{ReasonExpired, true}) {
		t.Errorf("error %v, want %v on one side", err, keys.ErrExpired)
	}
	for i, h := range []*Host{a, b} {
		c := person(byte(i + 1)).Certificate
		c.Serial, c.Roles, c.Expiry = 2, 32, time.read()+1
		if err := h.Renew(keys.Issue(signer(byte(i+1)), c)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.Dial(soon(t), b.Addrs()[0]); err != nil {
		t.Fatal(err)
	}
	if peers := a.Peers(); len(peers) != 1 || peers[0].Roles != 32 {
		t.Errorf("peers %+v, want one with the new roles", peers)
	}
	if err := a.Renew(person(2).Certificate); !errors.Is(err, ErrWrongDevice) {
		t.Errorf("renewed with another's: error %v, want %v", err, ErrWrongDevice)
	}
	other := person(1).Certificate
	other.Expiry = time.read() + 1
	if err := a.Renew(keys.Issue(signer(9), other)); !errors.Is(err, ErrWrongAccount) {
		t.Errorf("renewed by another account: error %v, want %v", err, ErrWrongAccount)
	}
}

func TestCardsCheckASignatureOnce(t *testing.T) {
	c := newCards()
	good := person(1).Certificate
	raw := types.Marshal(good)
	for range 2 {
		if have, err := c.verify(raw, good.Device, start); err != nil || have != good {
			t.Fatalf("have %+v, error %v", have, err)
		}
	}
	if len(c.good) != 1 || len(c.order) != 1 {
		t.Fatalf("%d certificates kept, want 1", len(c.good))
	}
	if _, err := c.verify(raw, person(2).Device.ID(), start); !errors.Is(err, ErrWrongDevice) {
		t.Errorf("a known certificate from another device: error %v", err)
	}
	if _, err := c.verify(raw, good.Device, good.Expiry); !errors.Is(err, keys.ErrExpired) {
		t.Errorf("a known certificate that expired: error %v", err)
	}
	bad := bytes.Clone(raw)
	bad[len(bad)-1] ^= 1
	if _, err := c.verify(bad, good.Device, start); !errors.Is(err, keys.ErrSignature) || len(c.good) != 1 {
		t.Errorf("a false certificate: error %v, %d kept", err, len(c.good))
	}
	for i := range maxCards + 5 {
		c.keep(types.H("test", types.Be32(uint32(i))), good)
	}
	if len(c.good) != maxCards || len(c.order) != maxCards {
		t.Errorf("%d kept, limit %d", len(c.good), maxCards)
	}
}

func TestBan(t *testing.T) {
	everywhere(t, func(t *testing.T, listen string) {
		time := newClock()
		shared := func(c *Config) { c.Now = time.read }
		a, b := open(t, 1, listen, shared), open(t, 2, listen, shared)
		join(t, a, b)
		a.Ban(b.Account(), start+10)
		if peers := a.Peers(); len(peers) != 0 {
			t.Errorf("peers %+v after the ban", peers)
		}
		if _, err := a.Open(soon(t), b.Account(), echo); !errors.Is(err, ErrBanned) {
			t.Errorf("error %v, want %v", err, ErrBanned)
		}
		if _, err := a.Dial(soon(t), b.Addrs()[0]); !errors.Is(err, ErrBanned) {
			t.Errorf("error %v, want %v", err, ErrBanned)
		}
		if _, err := b.Dial(soon(t), a.Addrs()[0]); !errors.Is(err, &ResetError{ReasonBanned, true}) {
			t.Errorf("the banned is told %v, want reason %d", err, ReasonBanned)
		}
		time.now.Add(10)
		join(t, b, a)
	})
}

func TestBansAreBounded(t *testing.T) {
	p := newPeers()
	for i := range maxBans + 3 {
		p.ban(types.Account(types.H("test", types.Be32(uint32(i)))), start+types.Millis(i)+1, start)
	}
	if len(p.bans) != maxBans {
		t.Fatalf("%d bans, limit %d", len(p.bans), maxBans)
	}
	for i, want := range map[int]bool{0: false, 2: false, 3: true, maxBans + 2: true} {
		if _, have := p.banned(types.Account(types.H("test", types.Be32(uint32(i)))), start); have != want {
			t.Errorf("ban %d: %v, want %v", i, have, want)
		}
	}
}

// TestSilentPeers: one that connects and says nothing, one that opens a stream
// and says nothing, one that is dialled and says nothing.
func TestSilentPeers(t *testing.T) {
	everywhere(t, func(t *testing.T, listen string) {
		h := open(t, 1, listen, func(c *Config) { c.Limits.Meet = 300 * time.Millisecond })
		mute := open(t, 2, listen)
		mute.p2p.RemoveStreamHandler(helloProtocol)
		silent := rawPeer{t, mute}

		next(t, silent.connect(h))
		var err error
		for range 10 { // on a busy machine the connection may end before the stream
			silent.connect(h)
			if err = silent.openAndWait(h); errors.Is(err, &ResetError{ReasonTimeout, true}) {
				break
			}
		}
		if !errors.Is(err, &ResetError{ReasonTimeout, true}) {
			t.Errorf("a stream without a word ends with %v, want reason %d", err, ReasonTimeout)
		}

		silent.listen()
		if _, err := h.Dial(soon(t), mute.Addrs()[0]); !errors.Is(err, ErrTimeout) {
			t.Errorf("error %v, want %v", err, ErrTimeout)
		}
		if peers := h.Peers(); len(peers) != 0 {
			t.Errorf("peers %+v", peers)
		}
	})
}
