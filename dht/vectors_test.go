package dht

import (
	"bytes"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"net/netip"
	"os"
	"testing"

	"filippo.io/edwards25519"
	"github.com/google/go-cmp/cmp"

	"github.com/staddle/staddle/dht/bencode"
	"github.com/staddle/staddle/types"
)

var update = flag.Bool("update", false, "write spec/vectors/dht.json anew")

const vectorFile = "../spec/vectors/dht.json"

// vectors are spec/vectors/dht.json; byte strings are hex.
type vectors struct {
	BEP44    []bep44Vector   `json:"bep44"`
	Network  []networkVector `json:"network"`
	Packet   []packetVector  `json:"packet"`
	Endpoint []contentVector `json:"endpoint"`
	Tips     []contentVector `json:"tips"`
	TipsSalt []networkVector `json:"tipsSalt"`
}

type bep44Vector struct {
	Value     string `json:"value"` // bencoded
	PrivateX  string `json:"expandedPrivateKey,omitempty"`
	Public    string `json:"public,omitempty"`
	Salt      string `json:"salt,omitempty"`
	Seq       int64  `json:"seq,omitempty"`
	Signed    string `json:"signed,omitempty"` // the bytes that are signed
	Target    string `json:"target"`
	Signature string `json:"signature,omitempty"`
}

type networkVector struct {
	In  string `json:"in"`
	Out string `json:"out"`
}

type packetVector struct {
	Name  string `json:"name"`
	Bytes string `json:"bytes"`
}

type contentVector struct {
	Name  string `json:"name"`
	Bytes string `json:"bytes"`
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// signExpanded signs with a private key in its expanded form, the only one in
// which BEP 44 gives it: the scalar and the prefix of the nonce.
func signExpanded(t *testing.T, expanded, public, msg []byte) (sig types.Signature) {
	t.Helper()
	scalar, err := edwards25519.NewScalar().SetBytesWithClamping(expanded[:32])
	if err != nil {
		t.Fatal(err)
	}
	sum := func(parts ...[]byte) *edwards25519.Scalar {
		h := sha512.Sum512(bytes.Join(parts, nil))
		s, err := edwards25519.NewScalar().SetUniformBytes(h[:])
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	nonce := sum(expanded[32:], msg)
	point := new(edwards25519.Point).ScalarBaseMult(nonce).Bytes()
	challenge := sum(point, public, msg)
	copy(sig[:32], point)
	copy(sig[32:], edwards25519.NewScalar().MultiplyAdd(challenge, scalar, nonce).Bytes())
	return sig
}

// The three test vectors of the BEP's text.
func bep44Vectors() []bep44Vector {
	const (
		private = "e06d3183d14159228433ed599221b80bd0a5ce8352e4bdf0262f76786ef1c74db7e7a9fea2c0eb269d61e3b38e450a22e754941ac78479d6c54e1faf6037881d"
		public  = "77ff84905a91936367c01360803104f92432fcd904a43511876df5cdf3e7e548"
	)
	value := hex.EncodeToString([]byte("12:Hello World!"))
	return []bep44Vector{{
		Value: value, PrivateX: private, Public: public, Seq: 1,
		Signed:    hex.EncodeToString([]byte("3:seqi1e1:v12:Hello World!")),
		Target:    "4a533d47ec9c7d95b1ad75f576cffc641853b750",
		Signature: "305ac8aeb6c9c151fa120f120ea2cfb923564e11552d06a5d856091e5e853cff1260d3f39e4999684aa92eb73ffd136e6f4f3ecbfda0ce53a1608ecd7ae21f01",
	}, {
		Value: value, PrivateX: private, Public: public, Seq: 1, Salt: hex.EncodeToString([]byte("foobar")),
		Signed:    hex.EncodeToString([]byte("4:salt6:foobar3:seqi1e1:v12:Hello World!")),
		Target:    "411eba73b6f087ca51a3795d9c8c938d365e32c1",
		Signature: "6834284b6b24c3204eb2fea824d82f88883a3d95e8b4a21b8c0ded553d17d17ddf9a8a7104b1258f30bed3787e6cb896fca78c58f8e03b5f18f14951a87d9a08",
	}, {
		Value: value, Target: "e5f96f6f38320f0f33959cb4d3d656452117aadb",
	}}
}

func TestBEP44(t *testing.T) {
	for i, v := range readVectors(t).BEP44 {
		it := Item{Value: unhex(t, v.Value)}
		if v.Public != "" {
			it.Mutable, it.Seq, it.Salt = true, v.Seq, unhex(t, v.Salt)
			it.Key = types.Account(unhex(t, v.Public))
			signed := SignedBytes(it.Salt, it.Seq, it.Value)
			it.Sig = signExpanded(t, unhex(t, v.PrivateX), it.Key[:], signed)
			if got := hex.EncodeToString(signed); got != v.Signed {
				t.Errorf("vector %d: signed bytes %s, want %s", i, got, v.Signed)
			}
			if got := hex.EncodeToString(it.Sig[:]); got != v.Signature {
				t.Errorf("vector %d: signature %s, want %s", i, got, v.Signature)
			}
		}
		if got := it.Target().String(); got != v.Target {
			t.Errorf("vector %d: target %s, want %s", i, got, v.Target)
		}
		if err := it.check(); err != nil {
			t.Errorf("vector %d: %v", i, err)
		}
		if got, err := it.Content(); err != nil || string(got) != "Hello World!" {
			t.Errorf("vector %d: content %q, %v", i, got, err)
		}
	}
}

func sampleContact(n byte) Contact {
	return Contact{ID{0: n, 19: n}, netip.AddrPortFrom(netip.AddrFrom4([4]byte{60, n, 0, 1}), 6881)}
}

func sampleEndpoints() map[string]Endpoint {
	at := netip.MustParseAddrPort
	small := Device{ID: ID{1}, Certificate: []byte{0xce}}
	full := Device{
		Flags: FlagFullCone | FlagRelay, ID: ID{2},
		Addresses: []Address{
			{ProtocolQUIC, at("60.1.2.3:4001")},
			{ProtocolTCP, at("60.1.2.3:4001")},
			{ProtocolDHT, at("60.1.2.3:6881")},
			{ProtocolQUIC, at("[2001:db8::1]:4001")},
		},
		Watchers:    []Contact{sampleContact(1), sampleContact(2)},
		Certificate: bytes.Repeat([]byte{0xce}, MaxCertificateSize),
	}
	return map[string]Endpoint{
		"one device without addresses": {Minute: 28_333_333, Devices: []Device{small}},
		"two devices":                  {Minute: 28_333_334, Devices: []Device{small, full}},
	}
}

func sampleTips() map[string]Tips {
	full := Tips{Height: 1 << 40, Root: types.H("staddle/test/1"), Time: 1_700_000_000_123}
	for i := range byte(MaxTipPeers) {
		full.Peers = append(full.Peers, types.Account{0: i, 31: 1})
	}
	return map[string]Tips{"genesis": {}, "24 peers": full}
}

func samplePackets() map[string][]byte {
	tag := NetworkTag([]byte("staddle"))
	id := ID([]byte("abcdefghij0123456789"))
	args := bencode.Fields{"id": bencode.OfBytes(id[:])}
	return map[string][]byte{
		"ping, private network":   frame{tag: tag}.query([]byte("aa"), methodPing, args),
		"ping, public, read-only": frame{readOnly: true}.query([]byte("aa"), methodPing, args),
		"answer to 8.8.4.4:6881":  frame{tag: tag}.reply([]byte("aa"), netip.MustParseAddrPort("8.8.4.4:6881"), args),
		"error 302":               frame{tag: tag}.refuse([]byte("aa"), refusal(CodeSeq, "seq 1 below stored seq 2")),
	}
}

func currentVectors(t *testing.T) vectors {
	v := vectors{BEP44: bep44Vectors()}
	for _, name := range []string{"staddle", ""} {
		v.Network = append(v.Network, networkVector{hex.EncodeToString([]byte(name)), NetworkTag([]byte(name)).String()})
	}
	for _, name := range []string{"ping, private network", "ping, public, read-only", "answer to 8.8.4.4:6881", "error 302"} {
		v.Packet = append(v.Packet, packetVector{name, hex.EncodeToString(samplePackets()[name])})
	}
	for _, name := range []string{"one device without addresses", "two devices"} {
		b, err := EncodeEndpoint(sampleEndpoints()[name])
		if err != nil {
			t.Fatal(err)
		}
		v.Endpoint = append(v.Endpoint, contentVector{name, hex.EncodeToString(b)})
	}
	for _, name := range []string{"genesis", "24 peers"} {
		b, err := EncodeTips(sampleTips()[name])
		if err != nil {
			t.Fatal(err)
		}
		v.Tips = append(v.Tips, contentVector{name, hex.EncodeToString(b)})
	}
	chain := types.H("staddle/test/1")
	v.TipsSalt = []networkVector{{chain.String(), hex.EncodeToString(TipsSalt(chain))}}
	return v
}

func readVectors(t *testing.T) (v vectors) {
	t.Helper()
	b, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestVectors(t *testing.T) {
	want := currentVectors(t)
	if *update {
		b, err := json.MarshalIndent(want, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(vectorFile, append(b, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got := readVectors(t)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-made +in the file\n%s", d)
	}
	for _, v := range got.Endpoint {
		e, err := DecodeEndpoint(unhex(t, v.Bytes))
		if d := cmp.Diff(sampleEndpoints()[v.Name], e, addrPorts()); d != "" || err != nil {
			t.Errorf("%s: %v %s", v.Name, err, d)
		}
	}
	for _, v := range got.Tips {
		tips, err := DecodeTips(unhex(t, v.Bytes))
		if d := cmp.Diff(sampleTips()[v.Name], tips); d != "" || err != nil {
			t.Errorf("%s: %v %s", v.Name, err, d)
		}
	}
	for _, v := range got.Packet {
		if _, err := decodeMessage(unhex(t, v.Bytes)); err != nil {
			t.Errorf("%s: %v", v.Name, err)
		}
	}
}

func addrPorts() cmp.Option {
	return cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })
}

func TestEndpointRefuses(t *testing.T) {
	good := func() Endpoint { return sampleEndpoints()["two devices"] }
	cases := map[string]func(e *Endpoint){
		"no device":            func(e *Endpoint) { e.Devices = nil },
		"five devices":         func(e *Endpoint) { e.Devices = make([]Device, 5) },
		"device twice":         func(e *Endpoint) { e.Devices[1].ID = e.Devices[0].ID },
		"devices unsorted":     func(e *Endpoint) { e.Devices[0].ID = ID{9} },
		"unknown flag":         func(e *Endpoint) { e.Devices[0].Flags = 8 },
		"symmetric full cone":  func(e *Endpoint) { e.Devices[0].Flags = FlagSymmetric | FlagFullCone },
		"no certificate":       func(e *Endpoint) { e.Devices[0].Certificate = nil },
		"long certificate":     func(e *Endpoint) { e.Devices[0].Certificate = make([]byte, 201) },
		"17 addresses":         func(e *Endpoint) { e.Devices[0].Addresses = make([]Address, 17) },
		"9 watchers":           func(e *Endpoint) { e.Devices[0].Watchers = make([]Contact, 9) },
		"protocol 0":           func(e *Endpoint) { e.Devices[1].Addresses[0].Protocol = 0 },
		"protocol 4":           func(e *Endpoint) { e.Devices[1].Addresses[0].Protocol = 4 },
		"port 0":               func(e *Endpoint) { e.Devices[1].Addresses[0].At = netip.MustParseAddrPort("60.1.1.1:0") },
		"unspecified":          func(e *Endpoint) { e.Devices[1].Addresses[0].At = netip.MustParseAddrPort("[::]:1") },
		"IPv4 in IPv6":         func(e *Endpoint) { e.Devices[1].Addresses[0].At = netip.MustParseAddrPort("[::ffff:1.2.3.4]:1") },
		"multicast":            func(e *Endpoint) { e.Devices[1].Addresses[0].At = netip.MustParseAddrPort("[ff02::1]:1") },
		"no address":           func(e *Endpoint) { e.Devices[1].Addresses[0].At = netip.AddrPort{} },
		"watcher without IPv4": func(e *Endpoint) { e.Devices[1].Watchers[0].Addr = netip.MustParseAddrPort("[2001:db8::1]:1") },
		"above 900 bytes":      func(e *Endpoint) { e.Devices = large() },
	}
	for name, breakIt := range cases {
		e := good()
		breakIt(&e)
		if _, err := EncodeEndpoint(e); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: error %v, want %v", name, err, ErrFormat)
		}
	}
}

// large is four devices, each within its limits.
func large() []Device {
	var out []Device
	for i := range byte(4) {
		d := sampleEndpoints()["two devices"].Devices[1]
		d.ID = ID{i}
		out = append(out, d)
	}
	return out
}

func TestContentRefuses(t *testing.T) {
	e, err := EncodeEndpoint(sampleEndpoints()["two devices"])
	if err != nil {
		t.Fatal(err)
	}
	tips, err := EncodeTips(sampleTips()["24 peers"])
	if err != nil {
		t.Fatal(err)
	}
	if len(tips) != 818 {
		t.Errorf("largest tips item has %d bytes, want 818", len(tips))
	}
	for n := range e {
		if _, err := DecodeEndpoint(e[:n]); !errors.Is(err, ErrFormat) {
			t.Fatalf("endpoint cut at %d: %v", n, err)
		}
	}
	for n := range tips {
		if _, err := DecodeTips(tips[:n]); !errors.Is(err, ErrFormat) {
			t.Fatalf("tips cut at %d: %v", n, err)
		}
	}
	bad := map[string]error{}
	_, bad["endpoint with a trailing byte"] = DecodeEndpoint(append(bytes.Clone(e), 0))
	_, bad["tips with a trailing byte"] = DecodeTips(append(bytes.Clone(tips), 0))
	_, bad["endpoint version 2"] = DecodeEndpoint(append([]byte{2}, e[1:]...))
	_, bad["tips version 0"] = DecodeTips(append([]byte{0}, tips[1:]...))
	swapped := bytes.Clone(tips)
	copy(swapped[50:82], tips[82:114])
	_, bad["tips with a peer twice"] = DecodeTips(swapped)
	past := bytes.Clone(tips)
	past[41] = 0x80
	_, bad["tips before 1970"] = DecodeTips(past)
	_, bad["endless"] = DecodeEndpoint(make([]byte, 1<<20))
	_, bad["25 peers"] = EncodeTips(Tips{Peers: make([]types.Account, 25)})
	_, bad["time below 0"] = EncodeTips(Tips{Time: -1})
	for name, err := range bad {
		if !errors.Is(err, ErrFormat) {
			t.Errorf("%s: error %v, want %v", name, err, ErrFormat)
		}
	}
}

// TestM3 holds what rule M3 says of the channels that are here: ep and tips have
// slot 0, so their salts never change.
func TestM3(t *testing.T) {
	chain := types.H("staddle/test/1")
	if got := string(EndpointSalt()); got != "ep" {
		t.Errorf("endpoint salt %q", got)
	}
	if got := TipsSalt(chain); string(got) != "tips"+string(chain[:]) || len(got) > MaxSaltSize {
		t.Errorf("tips salt %x", got)
	}
}

func FuzzDecodeEndpoint(f *testing.F) {
	for _, v := range sampleEndpoints() {
		b, err := EncodeEndpoint(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		e, err := DecodeEndpoint(in)
		if err != nil {
			return
		}
		out, err := EncodeEndpoint(e)
		if err != nil || !bytes.Equal(in, out) {
			t.Errorf("%x became %x, %v", in, out, err)
		}
	})
}

func FuzzDecodeTips(f *testing.F) {
	for _, v := range sampleTips() {
		b, err := EncodeTips(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		tips, err := DecodeTips(in)
		if err != nil {
			return
		}
		out, err := EncodeTips(tips)
		if err != nil || !bytes.Equal(in, out) {
			t.Errorf("%x became %x, %v", in, out, err)
		}
	})
}
