package types

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
)

func testHeaders() []LogHeader {
	device := Device(H("staddle/test/device"))
	return []LogHeader{
		{Version: 1, Device: device, Role: LogFarmer, Epoch: 7, Lines: 3, Bytes: 600, Leaves: 12, Root: H("staddle/test/root", []byte{1})},
		{Version: 1, Device: device, Role: LogBandwidth, Epoch: 7, Shard: Shard{Bits: 4, Prefix: 3}, Lines: 2, Bytes: 300, Root: H("staddle/test/root", []byte{2}), Previous: H("staddle/test/previous")},
		{Version: 1, Device: device, Role: LogBandwidth, Epoch: 7, Shard: Shard{Bits: 4, Prefix: 4}, Lines: 0, Bytes: 0, Root: sha256.Sum256(nil)},
	}
}

// RFC 9162 section 2.1.1 as it is written there: split at the largest power of
// two below n.
func recursiveRoot(lines []string) Hash {
	switch len(lines) {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return sha256.Sum256([]byte("\x00" + lines[0]))
	}
	k := 1
	for 2*k < len(lines) {
		k *= 2
	}
	l, r := recursiveRoot(lines[:k]), recursiveRoot(lines[k:])
	return sha256.Sum256([]byte("\x01" + string(l[:]) + string(r[:])))
}

func TestLineTree(t *testing.T) {
	var lines []string
	var tree LineTree
	for n := range 70 {
		if have, want := tree.Root(), recursiveRoot(lines); have != want || tree.Count() != uint64(n) {
			t.Fatalf("root of %d lines is %s, want %s", n, have, want)
		}
		line := strings.Repeat("x", n)
		tree.Add([]byte(line))
		lines = append(lines, line)
	}
	// Vector of RFC 6962 implementations: one empty leaf.
	var one LineTree
	one.Add(nil)
	if have := one.Root().String(); have != "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d" {
		t.Fatal(have)
	}
}

func TestHeadersRoot(t *testing.T) {
	h := testHeaders()
	want, err := HeadersRoot(h)
	if err != nil {
		t.Fatal(err)
	}
	if have, err := HeadersRoot([]LogHeader{h[2], h[0], h[1]}); err != nil || have != want {
		t.Fatalf("another order gives %s, %v", have, err)
	}
	if recursiveRoot([]string{string(Marshal(&h[0])), string(Marshal(&h[1])), string(Marshal(&h[2]))}) != want {
		t.Fatal("not the tree over the sorted headers")
	}
	for name, change := range map[string]func(*LogHeader){
		"other device":  func(h *LogHeader) { h.Device[0]++ },
		"other epoch":   func(h *LogHeader) { h.Epoch++ },
		"same log":      func(h *LogHeader) { h.Shard.Prefix = 3 },
		"other version": func(h *LogHeader) { h.Version = 2 },
		"no role":       func(h *LogHeader) { h.Role = 0 },
		"wide prefix":   func(h *LogHeader) { h.Shard.Prefix = 16 },
		"leaves":        func(h *LogHeader) { h.Leaves = 1 },
		"lines":         func(h *LogHeader) { h.Lines = 2 },
	} {
		bad := testHeaders()
		change(&bad[2])
		if root, err := HeadersRoot(bad); err == nil {
			t.Errorf("%s passes with root %s", name, root)
		}
	}
}

func TestLogHeaderRoundTrip(t *testing.T) {
	for _, h := range testHeaders() {
		var have LogHeader
		if err := Unmarshal(Marshal(&h), &have); err != nil || have != h {
			t.Fatalf("%v became %v, %v", h, have, err)
		}
	}
}

func TestShard(t *testing.T) {
	for _, text := range []string{"0x0/0", "0x0/1", "0x3/4", "0xff/8", "0xffff/16"} {
		s, err := ParseShard(text)
		if err != nil || s.String() != text {
			t.Errorf("%s reads as %s, %v", text, s, err)
		}
	}
	for _, text := range []string{"", "3/4", "0x3", "0x3/1", "0x/0", "0x10/4", "0x0/17", "0x03/4", "-1/4", "0X3/4"} {
		if s, err := ParseShard(text); err == nil {
			t.Errorf("%q reads as %s", text, s)
		}
	}
	// Every key is in exactly one shard of a level.
	for bits := range uint8(MaxShardBits + 1) {
		found := 0
		for prefix := range uint32(1) << bits {
			if (Shard{Bits: bits, Prefix: prefix}).Holds(0xa7, 0x51) {
				found++
			}
		}
		if found != 1 {
			t.Errorf("level %d holds a key %d times", bits, found)
		}
	}
}

func TestLogRoleNames(t *testing.T) {
	if have := fmt.Sprint(LogRole(0), LogFarmer, LogBuyer, LogBandwidth, LogVerdict, LogRole(99)); have != "none farmer buyer bandwidth verdict unknown" {
		t.Fatal(have)
	}
}
