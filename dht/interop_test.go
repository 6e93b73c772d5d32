//go:build interop

package dht

import (
	"bufio"
	"context"
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

// interop is a network of 12 nodes of libtorrent with its defaults, and 12 of
// ours.
type interop struct {
	*testing.T
	ctx    context.Context
	ours   []*Node
	theirs *libtorrents
	acks   int // stores that acknowledged our puts
}

const rounds = 10 // in each direction, for each kind of item

// Items go both ways between libtorrent and us.
func TestInterop(t *testing.T) {
	x := &interop{T: t, ctx: within(t, 5*time.Minute)}
	for i := range 12 {
		cfg := Config{}
		if i > 0 {
			cfg.Bootstrap = []netip.AddrPort{x.ours[0].Addr()}
		}
		x.ours = append(x.ours, start(t, fmt.Sprintf("127.%d.5.1", 60+i), cfg))
	}
	x.theirs = startLibtorrents(t, 12, x.ours[0].Addr())
	for _, n := range x.ours {
		if _, err := n.Bootstrap(x.ctx); err != nil {
			t.Fatal(err)
		}
	}
	for i := range rounds {
		x.immutable(i)
		x.mutable(i)
	}
	mean := float64(x.acks) / (2 * rounds)
	t.Logf("%.2f nodes store an item of ours", mean)
	if mean < 7.5 {
		t.Errorf("%.2f nodes store an item of ours, want 7.5 or more", mean)
	}
}

func (x *interop) immutable(i int) {
	us, content := x.ours[i%len(x.ours)], fmt.Appendf(nil, "immutable %d", i)
	r, err := us.Put(x.ctx, content)
	if err != nil {
		x.Fatal(err)
	}
	x.acks += r.Stored
	var back string
	x.theirs.do([]any{&back}, "get", r.Target.String())
	if back != hex.EncodeToString(content) {
		x.Errorf("libtorrent reads %q of our immutable item %d, stored at %d", back, i, r.Stored)
	}

	content = fmt.Appendf(nil, "theirs %d", i)
	var target string
	var stored int
	x.theirs.do([]any{&target, &stored}, "put", hex.EncodeToString(content))
	id, err := ParseID(target)
	if err != nil {
		x.Fatal(err)
	}
	it, err := us.Get(x.ctx, id)
	if got, _ := it.Content(); string(got) != string(content) {
		x.Errorf("we read %q, %v of libtorrent's immutable item %d, stored at %d", got, err, i, stored)
	}
}

func (x *interop) mutable(i int) {
	us, salt := x.ours[i%len(x.ours)], fmt.Appendf(nil, "salt %d", i)
	pub, sign := testKey(byte(i))
	r, err := us.PutMutable(x.ctx, MutablePut{Sign: sign, Key: pub, Salt: salt, Seq: 5, Content: []byte("ours")})
	if err != nil {
		x.Fatal(err)
	}
	x.acks += r.Stored
	var back string
	var seq int64
	key, hexSalt := hex.EncodeToString(pub[:]), hex.EncodeToString(salt)
	x.theirs.do([]any{&back, &seq}, "getm", key, hexSalt)
	if back != hex.EncodeToString([]byte("ours")) || seq != 5 {
		x.Errorf("libtorrent reads %q seq %d of our mutable item %d, stored at %d", back, seq, i, r.Stored)
	}

	seed := append(make([]byte, 31), byte(i)) // as in testKey
	var stored int
	x.theirs.do([]any{&stored}, "putm", expanded(seed), key, hex.EncodeToString([]byte("theirs")), hexSalt)
	it, err := us.GetMutable(x.ctx, pub, salt, 6)
	if got, _ := it.Content(); string(got) != "theirs" || it.Seq != 6 {
		x.Errorf("we read %q seq %d, %v of libtorrent's mutable item %d, stored at %d", got, it.Seq, err, i, stored)
	}
	stale := MutablePut{Sign: sign, Key: pub, Salt: salt, Seq: 3, Content: []byte("stale")}
	if r, err := us.PutMutable(x.ctx, stale); err == nil {
		x.Errorf("seq 3 after 6: %+v", r)
	}
}
