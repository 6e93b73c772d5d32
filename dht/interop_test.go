//go:build interop

package dht

import (
	"bufio"
	"crypto/ed25519"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"os/exec"
	"strconv"
	"testing"
	"time"
)

// python is an interpreter that has libtorrent's module.
func python(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"python3", "/usr/bin/python3"} {
		if exec.Command(name, "-c", "import libtorrent").Run() == nil {
			return name
		}
	}
	t.Skip("no python3 here has the module libtorrent (Debian: python3-libtorrent)")
	return ""
}

// libtorrents are nodes of libtorrent in another process.
type libtorrents struct {
	t   *testing.T
	in  *json.Encoder
	out *bufio.Scanner
}

func startLibtorrents(t *testing.T, count int, first netip.AddrPort) *libtorrents {
	cmd := exec.Command(python(t), "testdata/libtorrent_nodes.py", strconv.Itoa(count), first.String())
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stdin.Close(); cmd.Process.Kill(); cmd.Wait() })
	l := &libtorrents{t, json.NewEncoder(stdin), bufio.NewScanner(stdout)}
	t.Logf("libtorrent: %s", l.line())
	return l
}

func (l *libtorrents) line() string {
	if !l.out.Scan() {
		l.t.Fatal("libtorrent process ended")
	}
	return l.out.Text()
}

// do sends a command and reads its answer into out.
func (l *libtorrents) do(out []any, command ...string) {
	l.t.Helper()
	if err := l.in.Encode(command); err != nil {
		l.t.Fatal(err)
	}
	if line := l.line(); json.Unmarshal([]byte(line), &out) != nil {
		l.t.Fatalf("%s answers %q", command[0], line)
	}
}

// expanded is the form of a private key that libtorrent takes.
func expanded(seed []byte) string {
	h := sha512.Sum512(seed)
	h[0] &= 248
	h[31] = h[31]&63 | 64
	return hex.EncodeToString(h[:])
}

// Items go both ways between libtorrent with its defaults and us, in a network
// of 12 and 12 nodes.
func TestInterop(t *testing.T) {
	const rounds = 10
	var ours []*Node
	for i := range 12 {
		cfg := Config{}
		if i > 0 {
			cfg.Bootstrap = []netip.AddrPort{ours[0].Addr()}
		}
		ours = append(ours, start(t, fmt.Sprintf("127.%d.5.1", 60+i), cfg))
	}
	theirs := startLibtorrents(t, 12, ours[0].Addr())
	ctx := within(t, 5*time.Minute)
	for _, n := range ours {
		if _, err := n.Bootstrap(ctx); err != nil {
			t.Fatal(err)
		}
	}
	acks := 0
	for i := range rounds {
		us := ours[i%len(ours)]
		content := fmt.Appendf(nil, "immutable %d", i)
		r, err := us.Put(ctx, content)
		if err != nil {
			t.Fatal(err)
		}
		acks += r.Stored
		var back string
		theirs.do([]any{&back}, "get", r.Target.String())
		if back != hex.EncodeToString(content) {
			t.Errorf("libtorrent reads %q of our immutable item %d, stored at %d", back, i, r.Stored)
		}

		content = fmt.Appendf(nil, "theirs %d", i)
		var target string
		var stored int
		theirs.do([]any{&target, &stored}, "put", hex.EncodeToString(content))
		id, err := ParseID(target)
		if err != nil {
			t.Fatal(err)
		}
		it, err := us.Get(ctx, id)
		if got, _ := it.Content(); string(got) != string(content) {
			t.Errorf("we read %q, %v of libtorrent's immutable item %d, stored at %d", got, err, i, stored)
		}
	}
	for i := range rounds {
		us, salt := ours[i%len(ours)], fmt.Appendf(nil, "salt %d", i)
		pub, sign := testKey(byte(i))
		r, err := us.PutMutable(ctx, MutablePut{Sign: sign, Key: pub, Salt: salt, Seq: 5, Content: []byte("ours")})
		if err != nil {
			t.Fatal(err)
		}
		acks += r.Stored
		var back string
		var seq int64
		key, hexSalt := hex.EncodeToString(pub[:]), hex.EncodeToString(salt)
		theirs.do([]any{&back, &seq}, "getm", key, hexSalt)
		if back != hex.EncodeToString([]byte("ours")) || seq != 5 {
			t.Errorf("libtorrent reads %q seq %d of our mutable item %d, stored at %d", back, seq, i, r.Stored)
		}

		seed := ed25519.NewKeyFromSeed(append(make([]byte, 31), byte(i))).Seed()
		var stored int
		theirs.do([]any{&stored}, "putm", expanded(seed), key, hex.EncodeToString([]byte("theirs")), hexSalt)
		it, err := us.GetMutable(ctx, pub, salt, 6)
		if got, _ := it.Content(); string(got) != "theirs" || it.Seq != 6 {
			t.Errorf("we read %q seq %d, %v of libtorrent's mutable item %d, stored at %d", got, it.Seq, err, i, stored)
		}
		stale := MutablePut{Sign: sign, Key: pub, Salt: salt, Seq: 3, Content: []byte("stale")}
		if r, err := us.PutMutable(ctx, stale); err == nil {
			t.Errorf("seq 3 after 6: %+v", r)
		}
	}
	if mean := float64(acks) / (2 * rounds); mean < 7.5 {
		t.Errorf("%.2f nodes store an item of ours, want 7.5 or more", mean)
	} else {
		t.Logf("%.2f nodes store an item of ours", mean)
	}
}
