package transport

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/multiformats/go-multiaddr"
	"pgregory.net/rapid"

	"github.com/staddle/staddle/types"
)

func TestFrameRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.SampledFrom([]int{0, 1, frameStep - 1, frameStep, frameStep + 1, 3*frameStep + 5}).Draw(t, "size")
		want := bytes.Repeat([]byte{rapid.Byte().Draw(t, "byte")}, size)
		var wire bytes.Buffer
		if err := writeFrame(&wire, want); err != nil {
			t.Fatal(err)
		}
		have, err := readFrame(iotest.HalfReader(&wire), size)
		if err != nil || !bytes.Equal(have, want) {
			t.Fatalf("read %d bytes, want %d, error %v", len(have), size, err)
		}
		if _, err := readFrame(&wire, size); !errors.Is(err, io.EOF) {
			t.Fatalf("after the frame: error %v", err)
		}
	})
}

// TestFrameMemory: a length without its bytes must not cost memory.
func TestFrameMemory(t *testing.T) {
	liar := append(binary.BigEndian.AppendUint32(nil, MaxFrame), make([]byte, frameStep)...)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 16 {
		if _, err := readFrame(bytes.NewReader(liar), MaxFrame); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("error %v", err)
		}
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / 16; each > 2*(frameStep+frameRest) {
		t.Fatalf("a frame of %d bytes took %d bytes of memory", frameStep, each)
	}
}

func FuzzReadFrame(f *testing.F) {
	f.Add([]byte{0, 0, 0, 2, 1, 2, 3}, 2)
	f.Add([]byte{0xff, 0xff, 0xff, 0xff}, 1<<31-1)
	f.Add([]byte{0, 0, 0}, -1)
	f.Fuzz(func(t *testing.T, wire []byte, limit int) {
		r := bytes.NewReader(wire)
		frame, err := readFrame(r, limit)
		if err != nil {
			return
		}
		used := wire[:len(wire)-r.Len()]
		var again bytes.Buffer
		if err := writeFrame(&again, frame); err != nil || !bytes.Equal(again.Bytes(), used) || len(frame) > limit {
			t.Fatalf("frame of %d bytes, limit %d, from %x", len(frame), limit, used)
		}
	})
}

func FuzzAddress(f *testing.F) {
	device := person(1).Device.ID()
	full, err := Address("/ip4/127.0.0.1/tcp/1", device)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(full)
	f.Add("/ip4/127.0.0.1/udp/1/quic-v1")
	f.Add("/p2p-circuit")
	f.Fuzz(func(t *testing.T, addr string) {
		at, named, err := SplitAddress(addr)
		if err != nil {
			return
		}
		again, err := Address(at, named)
		if err != nil {
			t.Fatalf("%q gives %q of %s, which is refused: %v", addr, at, named, err)
		}
		if at2, named2, err := SplitAddress(again); err != nil || at2 != at || named2 != named {
			t.Fatalf("%q gives %q, then %q, error %v", addr, again, at2, err)
		}
	})
}

func TestAddresses(t *testing.T) {
	device, other := person(1).Device.ID(), person(2).Device.ID()
	full, err := Address("/ip4/127.0.0.1/tcp/1", device)
	if err != nil {
		t.Fatal(err)
	}
	if at, named, err := SplitAddress(full); err != nil || at != "/ip4/127.0.0.1/tcp/1" || named != device {
		t.Fatalf("%q is %q of %s, error %v", full, at, named, err)
	}
	h := open(t, 1, networks["tcp"])
	rsa := "/ip4/127.0.0.1/tcp/1/p2p/QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N"
	for name, tt := range map[string]struct {
		addr string
		good bool
	}{
		"plain":          {"/ip4/127.0.0.1/tcp/1", true},
		"with device":    {full, true},
		"empty":          {"", false},
		"nonsense":       {"127.0.0.1:80", false},
		"only a device":  {strings.TrimPrefix(full, "/ip4/127.0.0.1/tcp/1"), false},
		"of an RSA peer": {rsa, false},
		"too long":       {strings.Repeat("/ip4/127.0.0.1", 100), false},
	} {
		if err := h.Add(types.Account{1}, device, tt.addr); (err == nil) != tt.good || err != nil && !errors.Is(err, ErrAddress) {
			t.Errorf("%s: error %v, good %v", name, err, tt.good)
		}
	}
	if err := h.Add(types.Account{1}, other, full); !errors.Is(err, ErrAddress) {
		t.Errorf("address of another device: error %v, want %v", err, ErrAddress)
	}
	if err := h.Add(types.Account{1}, other, slices.Repeat([]string{"/ip4/127.0.0.1/tcp/1"}, maxPlaces+1)...); !errors.Is(err, ErrAddress) {
		t.Errorf("too many: error %v, want %v", err, ErrAddress)
	}
	if _, err := h.Dial(soon(t), rsa); !errors.Is(err, ErrAddress) {
		t.Errorf("dialling an RSA peer: error %v, want %v", err, ErrAddress)
	}
}

func TestBookIsBounded(t *testing.T) {
	b := newBook()
	account := func(i int) types.Account { return types.Account(types.H("account", types.Be32(uint32(i)))) }
	device := func(i int) types.Device { return types.Device(types.H("device", types.Be32(uint32(i)))) }
	at := func(i int) []multiaddr.Multiaddr {
		return []multiaddr.Multiaddr{multiaddr.StringCast(fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", i))}
	}
	for i := range maxAccounts + 2 {
		b.add(account(i), device(i), at(1))
	}
	if len(b.accounts) != maxAccounts || len(b.order) != maxAccounts || b.find(account(1)) != nil || b.find(account(2)) == nil {
		t.Fatalf("%d accounts, order %d, limit %d; the oldest must go", len(b.accounts), len(b.order), maxAccounts)
	}
	for i := range maxDevices + 2 {
		b.add(account(2), device(i), nil)
	}
	if places := b.find(account(2)); len(places) != maxDevices || places[0].device != device(maxDevices+1) {
		t.Fatalf("%d devices, limit %d; the newest comes first", len(places), maxDevices)
	}
	for i := range maxPlaces + 2 {
		b.add(account(2), device(9), at(i+1))
		b.add(account(2), device(9), at(i+1))
	}
	places := b.find(account(2))
	if places[0].device != device(9) || len(places[0].at) != maxPlaces || !places[0].at[0].Equal(at(maxPlaces + 2)[0]) {
		t.Fatalf("%v: limit %d; the newest comes first", places[0].at, maxPlaces)
	}
	if have := b.device(device(9)); len(have) != maxPlaces+1 || !have[0].Equal(at(1)[0]) {
		t.Fatalf("device 9 is at %v, want the place by account 9, the newer one, and those by account 2", have)
	}
	for i := range 2 * maxClaims {
		b.add(account(100+i), device(9), places[0].at)
	}
	if have := b.device(device(9)); len(have) > (maxClaims+1)*maxPlaces {
		t.Fatalf("%d addresses of one device", len(have))
	}
	b.drop(account(3), device(3))
	if b.find(account(3)) != nil || len(b.order) != maxAccounts-1 {
		t.Fatal("a dropped device is still there")
	}
}

func TestReasonsOnTheWire(t *testing.T) {
	for _, reason := range []uint32{0, 1, ReasonFirst, ReasonLast} {
		if have := reasonOf(codeOf(reason)); have != reason {
			t.Errorf("%d comes back as %d", reason, have)
		}
	}
	for code, want := range map[network.StreamErrorCode]uint32{
		0: ReasonNone, network.StreamResourceLimitExceeded: ReasonBusy, network.StreamRateLimited: ReasonBusy,
		network.StreamShutdown: ReasonNone, codeBase + 5: 5, codeBase + 0x10000: ReasonNone, 1<<32 - 1: ReasonNone,
	} {
		if have := reasonOf(code); have != want {
			t.Errorf("code %#x is reason %d, want %d", code, have, want)
		}
	}
}
