//go:build engine

package e2e

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/staddle/staddle/api"
	"github.com/staddle/staddle/node"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestCommandLine uses one daemon as people do, from its start to its end.
func TestCommandLine(t *testing.T) {
	a := newPeer(t, "a", filepath.Join(t.TempDir(), "a"))
	films := folder(t, 700_000, 4)
	film := noise(700_000, 4)
	shapes := map[string]string{}

	for _, args := range [][]string{{"status"}, {"put", films}, {"get", "films"}, {"coin", "balance"}, {"community", "info"}, {"down"}} {
		wantText(t, a.exits(7, args...).stderr, "no daemon is running", "staddle up")
	}
	shapes["error"] = shape(t, a.exits(7, "status", "--json").stderr)

	background(t, a)
	wantText(t, a.does("status").stdout, "account ", "none yet; next: staddle community create")
	wantText(t, a.exits(5, "coin", "balance").stderr, "in no community yet", "staddle community create")
	second := newPeer(t, "second", a.home)
	if r := second.cli("up", "--listen", "/ip4/127.0.0.1/tcp/0"); r.code == 0 || !strings.Contains(r.stderr, "another daemon answers") {
		t.Fatalf("a second daemon on one home: exit code %d, %s", r.code, r.stderr)
	}
	wantText(t, a.exits(11, "ls", "--offline").stderr, "staddle down")

	wantText(t, a.does("community", "create", "TAUT", "--coin", "TAU", "--kind", "market", "--preset", "sim").stdout, "TAUT", "chain ")
	if r := a.cli("community", "create", "OTHER", "--kind", "market", "--preset", "sim"); r.code == 0 {
		t.Fatal("a node in two communities")
	}
	wantText(t, a.does("community", "info").stdout, "TAUT", "coin TAU")
	await(t, "a block", func() bool { return a.community().Height >= 1 })

	t.Run("put and get", func(t *testing.T) { contentByCLI(t, a.on(t), films, film, shapes) })
	t.Run("coins", func(t *testing.T) { coinsByCLI(t, a.on(t), films) })
	t.Run("host", func(t *testing.T) { hostByCLI(t, a.on(t), shapes) })
	shapes["status"] = shape(t, a.does("status", "--json").stdout)
	golden(t, "shapes.txt", joined(shapes))

	a.does("down")
	a.exits(7, "status")
	wantText(t, a.does("ls", "--offline").stdout, "films")
	a.does("verify", "films")
}

// background starts the daemon as people do and ends it when the test ends.
func background(t *testing.T, a *peer) {
	t.Helper()
	r := a.does("up", "--background", "--listen", a.listen)
	wantText(t, r.stderr, "is running in the background, process ")
	var pid int
	_, rest, _ := strings.Cut(r.stderr, "process ")
	if _, err := fmt.Sscanf(rest, "%d", &pid); err != nil {
		t.Fatalf("%q: %v", r.stderr, err)
	}
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) }) // it is down already, as a rule
	a.account = call[api.Status](a, api.CallStatus, api.None{}).Account
}

func contentByCLI(t *testing.T, a *peer, films string, film []byte, shapes map[string]string) {
	shapes["put"] = shape(t, a.does("put", films, "--json").stdout)
	ref := strings.TrimSpace(a.does("put", films).stdout)
	wantText(t, a.does("ls").stdout, ref, "whole", "films")
	wantText(t, a.does("ls", "films/text").stdout, "text/a.txt")
	if got := a.does("cat", "films/film.mkv", "--offset", "65530", "--length", "100").stdout; got != string(film[65530:65630]) {
		t.Fatalf("cat gives %d other bytes", len(got))
	}
	if got := a.does("cat", ref+"/text/a.txt").stdout; got != "hello\n" {
		t.Fatalf("cat gives %q", got)
	}
	a.exits(5, "cat", ref+"/absent")
	wantText(t, a.does("verify", "films").stdout, "ok")
	wantText(t, a.does("put", films, "--in-place", "--keep", "daily:7").stderr, "in place", "stay in the files")
	wantText(t, a.does("ls").stdout, ref, "place")
	wantText(t, a.does("verify", "films").stdout, "ok")

	dir := t.TempDir()
	shapes["get"] = shape(t, a.does("get", "films", "-o", filepath.Join(dir, "one"), "--json").stdout)
	sameTree(t, films, filepath.Join(dir, "one"))
	wantText(t, a.exits(2, "get", "films", "-o", filepath.Join(dir, "one")).stderr, "target is not empty")
	a.does("get", "films", "-o", filepath.Join(dir, "one"), "--yes")
	a.does("get", ref+"/film.mkv", "-o", filepath.Join(dir, "alone"))
	if b, err := os.ReadFile(filepath.Join(dir, "alone")); err != nil || !bytes.Equal(b, film) {
		t.Fatalf("one file: %d bytes, %v", len(b), err)
	}
	a.does("get", "films", "-o", filepath.Join(dir, "films.tgz"))
	if b, err := os.ReadFile(filepath.Join(dir, "films.tgz")); err != nil || !bytes.HasPrefix(b, []byte{0x1f, 0x8b}) {
		t.Fatalf("the archive: %d bytes, %v", len(b), err)
	}
	const unknown = "staddle:bafyreidfgvvr4zjknkz77oetev52vx3ig3mvlgeqq7urug65whlwp2dmly"
	a.exits(5, "get", unknown, "-o", filepath.Join(dir, "two"))
	a.exits(5, "get", "absent", "-o", filepath.Join(dir, "two"))
	a.exits(5, "prove", unknown)
	a.exits(5, "put", filepath.Join(dir, "absent"))
	a.exits(2, "put", films, "--visibility", "members")
}

func coinsByCLI(t *testing.T, a *peer, films string) {
	b := strings.Repeat("0", 63) + "1"
	wantText(t, a.does("coin", "balance").stdout, "TAU", "locked ", "bonded ", "pending ")
	wantText(t, a.does("coin", "send", b, "1.5").stdout, "sent in block ")
	wantText(t, a.exits(9, "coin", "send", b, "10000000").stderr, "the balance is")
	wantText(t, a.exits(9, "put", films, "--copies", "1", "--lock", "10000000").stderr, "the balance is", "staddle coin balance")
	a.exits(1, "coin", "send", "nobody", "1")
	a.exits(2, "coin", "send", b, "-1")
}

func hostByCLI(t *testing.T, a *peer, shapes map[string]string) {
	a.exits(2, "host", "enable")
	a.does("host", "enable", "--space", "2", "--encode", "--bond", "2000")
	await(t, "the registration", func() bool {
		c := a.community()
		return c.Hosts == 1 && c.Encoders == 1
	})
	wantText(t, a.does("host", "status").stdout, "offers 2 GiB", "keeps 0 pieces in 0 lots")
	shapes["host status"] = shape(t, a.does("host", "status", "--json").stdout)
	shapes["coin balance"] = shape(t, a.does("coin", "balance", "--json").stdout)
	shapes["community info"] = shape(t, a.does("community", "info", "--json").stdout)
}

// shape is every field of an object with the kind of its value, a line each.
func shape(t *testing.T, text string) string {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(text), "\n")
	out := shapeOf("", object(t, lines[len(lines)-1]))
	slices.Sort(out)
	return strings.Join(slices.Compact(out), "\n") + "\n"
}

func shapeOf(at string, v any) []string {
	switch v := v.(type) {
	case map[string]any:
		var out []string
		for k, x := range v {
			out = append(out, shapeOf(at+"."+k, x)...)
		}
		return out
	case []any:
		out := []string{at + " list"}
		for _, x := range v {
			out = append(out, shapeOf(at+"[]", x)...)
		}
		return out
	case string:
		if at == ".type" {
			return []string{at + " " + v}
		}
		return []string{at + " text"}
	case float64:
		return []string{at + " number"}
	case bool:
		return []string{at + " bool"}
	}
	return []string{at + " null"}
}

func joined(parts map[string]string) string {
	var b strings.Builder
	var names []string
	for name := range parts {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(&b, "== %s\n%s", name, parts[name])
	}
	return b.String()
}

// golden compares with a file of testdata; -update writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	name = filepath.Join("testdata", name)
	if *update {
		write(t, name, []byte(got))
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; got\n%s", name, got)
	}
}

// TestPowerCut: kill -9 of a daemon, then up again: its chain, its datasets and
// what it wished to put on the chain are there.
func TestPowerCut(t *testing.T) {
	a, b := start(t, "a"), start(t, "b", "--no-mine")
	found(a, nil, b)
	films := folder(t, 400_000, 5)
	ref := call[api.PutResult](b, api.CallPut, api.PutRequest{Path: films, Visibility: "public"}).Ref
	before := b.community()

	a.kill() // who alone makes blocks
	pause := 100 * time.Millisecond
	await(t, "a wire is wished for when the power goes", func() bool {
		sending := b.command("coin", "send", strings.Repeat("0", 63)+"2", "7")
		if err := sending.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(pause) // no witness but the store, after the kill
		pause *= 2
		b.kill()
		if err := sending.Wait(); err == nil {
			t.Fatal("the wire was sent without a block")
		}
		if wishes(t, b.home) > 0 {
			return true
		}
		b.up()
		return false
	})

	b.up()
	if c := b.community(); c.Chain != before.Chain || c.Height < before.Height {
		t.Fatalf("chain %s at %d, was %s at %d", c.Chain, c.Height, before.Chain, before.Height)
	}
	wantText(t, b.does("verify", ref).stdout, "ok")
	got := filepath.Join(t.TempDir(), "got")
	b.does("get", ref, "-o", got)
	sameTree(t, films, got)

	a.up()
	await(t, "the chain grows", func() bool { return b.community().Height > before.Height+2 })
	await(t, "the wire is in a block", func() bool {
		return coins(t, b.community().Balance) < coins(t, before.Balance)-6
	})
	if left := coins(t, b.community().Balance); left < coins(t, before.Balance)-8 {
		t.Fatalf("balance %v: the wire went out more than once", left)
	}
}

// wishes counts the transactions that a home's chain still wants.
func wishes(t *testing.T, home string) int {
	t.Helper()
	st, err := node.OpenStore(home, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	n := 0
	err = st.Scan("chain", "w/", "", func(string, []byte) error {
		n++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func coins(t *testing.T, s string) float64 {
	t.Helper()
	var f float64
	if err := json.Unmarshal([]byte(s), &f); err != nil {
		t.Fatal(err)
	}
	return f
}
