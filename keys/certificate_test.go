package keys

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"testing"

	"pgregory.net/rapid"

	"github.com/staddle/staddle/types"
)

type certificateVector struct {
	AccountSeed string `json:"account_seed"`
	DeviceSeed  string `json:"device_seed"`
	Serial      uint64 `json:"serial,string"`
	Roles       uint32 `json:"roles"`
	Expiry      int64  `json:"expiry,string"`
	Digest      string `json:"digest"`
	Bytes       string `json:"bytes"`
}

func (v certificateVector) issue(t *testing.T) Certificate {
	t.Helper()
	return Issue(SignerFromSeed(unhex(t, v.AccountSeed)), Certificate{
		Device: DeviceFromSeed(unhex(t, v.DeviceSeed)).ID(),
		Serial: v.Serial, Roles: Roles(v.Roles), Expiry: types.Millis(v.Expiry),
	})
}

func seedHex(b byte) string { return hex.EncodeToString(bytes.Repeat([]byte{b}, 32)) }

func certificateVectors(t *testing.T) []certificateVector {
	all := []certificateVector{
		{AccountSeed: seedHex(1), DeviceSeed: seedHex(2), Serial: 0, Roles: 0, Expiry: 1},
		{AccountSeed: seedHex(1), DeviceSeed: seedHex(2), Serial: 7, Roles: 0x3f, Expiry: 1_800_000_000_000},
		{AccountSeed: seedHex(3), DeviceSeed: seedHex(3), Serial: 1<<64 - 1, Roles: 1<<32 - 1, Expiry: 1<<63 - 1},
	}
	for i, v := range all {
		c := v.issue(t)
		digest := c.digest()
		all[i].Digest, all[i].Bytes = digest.String(), hex.EncodeToString(types.Marshal(c))
	}
	return all
}

// TestK1 holds the certificate's bytes and digest against the vectors, and
// each kind of false certificate against its error.
func TestK1(t *testing.T) {
	made := certificateVectors(t)
	for i, v := range golden(t, "certificate.json", made) {
		if made[i] != v {
			t.Errorf("vector %d:\nhave %+v\nwant %+v", i, made[i], v)
		}
		raw, err := hex.DecodeString(v.Bytes)
		if err != nil || len(raw) > MaxCertificate {
			t.Fatalf("%d bytes, limit %d, %v", len(raw), MaxCertificate, err)
		}
		var c Certificate
		if err := types.Unmarshal(raw, &c); err != nil || c != v.issue(t) {
			t.Fatalf("read %+v, error %v", c, err)
		}
		if err := c.Verify(c.Expiry - 1); err != nil {
			t.Error(err)
		}
	}
	t.Run("false ones", falseCertificates)
}

func falseCertificates(t *testing.T) {
	good := certificateVectors(t)[1].issue(t)
	mallory := SignerFromSeed([32]byte{66})
	tests := []struct {
		name   string
		now    types.Millis
		change func(c *Certificate)
		want   error
	}{
		{"good", good.Expiry - 1, func(*Certificate) {}, nil},
		{"at its expiry", good.Expiry, func(*Certificate) {}, ErrExpired},
		{"long expired", good.Expiry + 1<<40, func(*Certificate) {}, ErrExpired},
		{"prolonged", good.Expiry, func(c *Certificate) { c.Expiry++ }, ErrSignature},
		{"more roles", 1, func(c *Certificate) { c.Roles ^= RoleValidate }, ErrSignature},
		{"another serial", 1, func(c *Certificate) { c.Serial++ }, ErrSignature},
		{"another device", 1, func(c *Certificate) { c.Device[0] ^= 1 }, ErrSignature},
		{"another account", 1, func(c *Certificate) { c.Account = mallory.Account() }, ErrSignature},
		{"flipped bit", 1, func(c *Certificate) { c.Signature[40] ^= 4 }, ErrSignature},
		{"signed for another domain", 1, func(c *Certificate) {
			other := types.H("staddle/other/1", c.Account[:])
			c.Signature = SignerFromSeed([32]byte(bytes.Repeat([]byte{1}, 32))).Sign(other[:])
		}, ErrSignature},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := good
			tt.change(&c)
			if err := c.Verify(tt.now); !errors.Is(err, tt.want) {
				t.Fatalf("error %v, want %v", err, tt.want)
			}
		})
	}
}

// TestK3 shows that the recovery key is its own key, bound by its hash.
func TestK3(t *testing.T) {
	seed, err := ParseWords(NewWords([32]byte{3}))
	if err != nil {
		t.Fatal(err)
	}
	account, recovery := seed.Account().Account(), seed.Recovery().Account()
	if account == recovery {
		t.Fatal("recovery key is the account key")
	}
	want := types.H("staddle/recovery/1", recovery[:])
	if have := RecoveryHash(recovery); have != want || have == RecoveryHash(account) {
		t.Fatalf("recovery hash %s, want %s", have, want)
	}
}

// TestEveryBitOfACertificateCounts flips any bit of the encoding: it must not
// decode, or not verify.
func TestEveryBitOfACertificateCounts(t *testing.T) {
	good := certificateVectors(t)[1].issue(t)
	raw := types.Marshal(good)
	for bit := range len(raw) * 8 {
		b := bytes.Clone(raw)
		b[bit/8] ^= 1 << (bit % 8)
		var c Certificate
		if types.Unmarshal(b, &c) == nil && c.Verify(1) == nil {
			t.Errorf("bit %d does not count", bit)
		}
	}
}

func TestCertificateDecoderRefuses(t *testing.T) {
	good := certificateVectors(t)[1].issue(t)
	raw := types.Marshal(good)
	version := bytes.Clone(raw)
	version[1] = 2
	never := good
	never.Expiry = 0
	negative := good
	negative.Expiry = -1
	tests := map[string][]byte{
		"empty": nil, "cut": raw[:len(raw)-1], "trailing": append(bytes.Clone(raw), 0),
		"version 2": version, "expiry 0": types.Marshal(never), "negative expiry": types.Marshal(negative),
	}
	for name, b := range tests {
		t.Run(name, func(t *testing.T) {
			if err := types.Unmarshal(b, new(Certificate)); err == nil {
				t.Fatal("accepted")
			}
		})
	}
}

func TestCertificateRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := Issue(SignerFromSeed([32]byte{rapid.Byte().Draw(t, "account")}), Certificate{
			Device: types.Device(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "device")),
			Serial: rapid.Uint64().Draw(t, "serial"),
			Roles:  Roles(rapid.Uint32().Draw(t, "roles")),
			Expiry: types.Millis(rapid.Int64Min(1).Draw(t, "expiry")),
		})
		var have Certificate
		if err := types.Unmarshal(types.Marshal(want), &have); err != nil || have != want {
			t.Fatalf("read %+v, want %+v, error %v", have, want, err)
		}
		if err := have.Verify(want.Expiry - 1); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzCertificate(f *testing.F) {
	c := Issue(SignerFromSeed([32]byte{1}), Certificate{Device: types.Device{2}, Serial: 3, Roles: RoleHost, Expiry: 4})
	f.Add(types.Marshal(c))
	f.Add([]byte{0x87, 1, 0x58, 0x20})
	f.Add([]byte{0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		var c Certificate
		if types.Unmarshal(b, &c) != nil {
			return
		}
		if len(b) > MaxCertificate || !bytes.Equal(types.Marshal(c), b) {
			t.Fatalf("accepted %d bytes that are not canonical", len(b))
		}
		_ = c.Verify(0)
	})
}

// TestCertificateDecoderMemory bounds what a stranger's bytes may allocate.
func TestCertificateDecoderMemory(t *testing.T) {
	huge := append([]byte{0x87, 1, 0x5b, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff}, make([]byte, 64)...)
	perRun := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if types.Unmarshal(huge, new(Certificate)) == nil {
				b.Fatal("accepted")
			}
		}
	}).AllocedBytesPerOp()
	if perRun > 4096 {
		t.Fatalf("refusing took %d bytes", perRun)
	}
}

func TestNewDevice(t *testing.T) {
	d, err := NewDevice(bytes.NewReader(bytes.Repeat([]byte{9}, 40)))
	if err != nil || d.Seed() != [32]byte(bytes.Repeat([]byte{9}, 32)) {
		t.Fatalf("seed %x, error %v", d.Seed(), err)
	}
	msg := []byte("hello")
	if !VerifyDevice(d.ID(), msg, d.Sign(msg)) || VerifyDevice(d.ID(), msg[1:], d.Sign(msg)) {
		t.Fatal("a device does not verify its own signature, or any")
	}
	if _, err := NewDevice(bytes.NewReader(make([]byte, 31))); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("error %v for 31 bytes of chance, want %v", err, io.ErrUnexpectedEOF)
	}
}
