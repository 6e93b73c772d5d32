//go:build engine

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/staddle/staddle/api"
)

// TestCAR: a dataset leaves as a CAR of both versions and comes into a second
// node, whose gateway serves it; a broken CAR is refused and leaves nothing.
func TestCAR(t *testing.T) {
	a := start(t, "a")
	b := start(t, "b", "--ipfs-gateway", "127.0.0.1:0")
	films := folder(t, 700_000, 3)
	ref := strings.TrimSpace(a.does("put", films).stdout)
	dir := t.TempDir()
	tgz := filepath.Join(dir, "films.tgz")
	a.does("get", ref, "-o", tgz)
	want, err := os.ReadFile(tgz)
	if err != nil {
		t.Fatal(err)
	}
	gateway := call[api.Status](b, api.CallStatus, api.None{}).IPFS.Gateway
	for _, version := range []string{"1", "2"} {
		car := filepath.Join(dir, version+".car")
		a.does("car", "export", ref, "--car-version", version, "-o", car)
		a.exits(2, "car", "export", ref, "-o", car) // it does not write over a file
		root, _, _ := strings.Cut(b.does("car", "import", car).stdout, " ")
		if got := fetch(t, gateway+"/ipfs/"+root, ""); !bytes.Equal(got, want) {
			t.Errorf("version %s: the gateway gives %d bytes, want %d", version, len(got), len(want))
		}
		if got := fetch(t, gateway+"/ipfs/"+root, "bytes=300000-300099"); !bytes.Equal(got, want[300_000:300_100]) {
			t.Errorf("version %s: the gateway gives another range of %d bytes", version, len(got))
		}
		wantText(t, b.does("car", "ls").stdout, root, version+".car")
		b.does("car", "rm", root)
		if r, err := http.Get(gateway + "/ipfs/" + root); err != nil || r.StatusCode != http.StatusNotFound {
			t.Errorf("version %s: after rm the gateway says %v %v", version, r, err)
		}
	}
	whole, err := os.ReadFile(filepath.Join(dir, "1.car"))
	if err != nil {
		t.Fatal(err)
	}
	whole[len(whole)-100] ^= 1
	bad := filepath.Join(dir, "bad.car")
	write(t, bad, whole)
	if r := b.cli("car", "import", bad); r.code != 8 || !strings.Contains(r.stderr, "not what the CID names") {
		t.Errorf("a flipped bit: exit code %d, %s", r.code, r.stderr)
	}
	write(t, bad, whole[:len(whole)/2])
	if r := b.cli("car", "import", bad); r.code != 8 {
		t.Errorf("half a CAR: exit code %d, %s", r.code, r.stderr)
	}
	if out := b.does("car", "ls").stdout; out != "" {
		t.Errorf("broken CARs are listed: %s", out)
	}
}

// fetch gets a URL, or a range of it.
func fetch(t *testing.T, url, span string) []byte {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if span != "" {
		q.Header.Set("Range", span)
	}
	r, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode/100 != 2 {
		t.Fatalf("%s: status %d, %d bytes: %v", url, r.StatusCode, len(b), err)
	}
	return b
}

// TestBetweenNodes: bitswap and graphsync between two of our own nodes; pieces by
// number are what they say.
func TestBetweenNodes(t *testing.T) {
	a := start(t, "a", "--ipfs", "/ip4/127.0.0.1/tcp/0")
	b := start(t, "b", "--ipfs", "/ip4/127.0.0.1/tcp/0", "--ipfs-gateway", "127.0.0.1:0")
	ref := strings.TrimSpace(a.does("put", folder(t, 2_000_000, 4)).stdout)
	root := unixfsRoot(t, a, ref)
	from := call[api.Status](a, api.CallStatus, api.None{}).IPFS.Addrs[0]
	part := b.does("ipfs", "fetch", root, "--graphsync", "--pieces", "2:5/8", "--from", from).stdout
	wantText(t, part, root, "4 blocks") // three pieces and the root
	b.does("car", "rm", root)
	b.does("ipfs", "fetch", root, "--from", from)
	dir := t.TempDir()
	a.does("get", ref, "-o", filepath.Join(dir, "a.tgz"))
	want, err := os.ReadFile(filepath.Join(dir, "a.tgz"))
	if err != nil {
		t.Fatal(err)
	}
	gateway := call[api.Status](b, api.CallStatus, api.None{}).IPFS.Gateway
	if got := fetch(t, gateway+"/ipfs/"+root, ""); !bytes.Equal(got, want) {
		t.Errorf("by bitswap: %d bytes, want %d", len(got), len(want))
	}
	if r := b.cli("ipfs", "fetch", root, "--from", "/ip4/127.0.0.1/tcp/1"); r.code == 0 {
		t.Error("an address without peer id was taken")
	}
}

// unixfsRoot is the root of a dataset as the IPFS world knows it: the first line
// of a CAR names it.
func unixfsRoot(t *testing.T, p *peer, ref string) string {
	t.Helper()
	car := filepath.Join(t.TempDir(), "root.car")
	p.does("car", "export", ref, "-o", car)
	out := p.does("car", "import", car).stdout
	root, _, _ := strings.Cut(out, " ")
	p.does("car", "rm", root)
	return root
}

// TestKubo: a kubo node reads what we serve, by bitswap and from our gateway, and
// we read what it has added.
func TestKubo(t *testing.T) {
	ipfs := kubo(t)
	a := start(t, "a", "--ipfs", "/ip4/127.0.0.1/tcp/0", "--ipfs-gateway", "127.0.0.1:0")
	ref := strings.TrimSpace(a.does("put", folder(t, 3_000_000, 5)).stdout)
	tgz := filepath.Join(t.TempDir(), "films.tgz")
	a.does("get", ref, "-o", tgz)
	want, err := os.ReadFile(tgz)
	if err != nil {
		t.Fatal(err)
	}
	root := unixfsRoot(t, a, ref)
	st := call[api.Status](a, api.CallStatus, api.None{})
	ipfs.run("swarm", "connect", st.IPFS.Addrs[0])
	if got := ipfs.run("cat", root); !bytes.Equal(got, want) {
		t.Errorf("kubo reads %d bytes of ours by bitswap, want %d", len(got), len(want))
	}
	car := filepath.Join(t.TempDir(), "ours.car")
	write(t, car, fetch(t, st.IPFS.Gateway+"/ipfs/"+root+"?format=car", ""))
	wantText(t, string(ipfs.run("dag", "import", car)), root, "success")

	tree := folder(t, 1_000_000, 6)
	added := strings.TrimSpace(string(ipfs.run("add", "-r", "-Q", "--cid-version=1", tree)))
	a.does("ipfs", "fetch", added, "--from", ipfs.addr())
	film, err := os.ReadFile(filepath.Join(tree, "film.mkv"))
	if err != nil {
		t.Fatal(err)
	}
	if got := fetch(t, st.IPFS.Gateway+"/ipfs/"+added+"/film.mkv", ""); !bytes.Equal(got, film) {
		t.Errorf("we read %d bytes of kubo's, want %d", len(got), len(film))
	}
	wantText(t, string(fetch(t, st.IPFS.Gateway+"/ipfs/"+added+"/", "")), "film.mkv", "text")
	put := call[api.PutResult](a, api.CallPut, api.PutRequest{Path: tree, Visibility: "public", IPFS: true})
	if put.IPFS != added {
		t.Errorf("our directory is %s, kubo's %s", put.IPFS, added)
	}
	a.does("car", "rm", added) // what remains is made of the dataset
	ipfs.run("pin", "rm", added)
	ipfs.run("repo", "gc")
	if got := ipfs.run("cat", added+"/film.mkv"); !bytes.Equal(got, film) {
		t.Errorf("kubo reads %d bytes of our directory, want %d", len(got), len(film))
	}
	ipfs.run("pin", "add", added)
	theirs := filepath.Join(t.TempDir(), "theirs.car")
	write(t, theirs, ipfs.run("dag", "export", added))
	wantText(t, a.does("car", "import", theirs).stdout, added)
}

// kuboNode is a kubo daemon with a repository of its own.
type kuboNode struct {
	t       *testing.T
	program string
	repo    string
}

// kuboPackage is what bench/peers pins a version of.
const kuboPackage = "github.com/ipfs/kubo/cmd/ipfs"

// kubo starts a daemon, on loopback alone. STADDLE_KUBO names a program that is
// built already.
func kubo(t *testing.T) *kuboNode {
	t.Helper()
	k := &kuboNode{t: t, program: os.Getenv("STADDLE_KUBO"), repo: t.TempDir()}
	if k.program == "" {
		peers, err := filepath.Abs("../../bench/peers")
		if err != nil {
			t.Fatal(err)
		}
		k.program = filepath.Join(t.TempDir(), "ipfs")
		c := exec.CommandContext(t.Context(), "go", "build", "-o", k.program, kuboPackage)
		c.Dir, c.Env = peers, append(os.Environ(), "CGO_ENABLED=0")
		if out, err := c.CombinedOutput(); err != nil {
			t.Skipf("kubo cannot be built here: %v\n%s", err, out)
		}
	}
	k.run("init", "--profile=test")
	k.run("config", "--json", "Addresses.Swarm", `["/ip4/127.0.0.1/tcp/0"]`)
	k.run("config", "Routing.Type", "none")
	daemon := k.command(context.Background(), "daemon")
	log := new(bytes.Buffer)
	daemon.Stdout, daemon.Stderr = log, log
	daemon.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = daemon.Process.Kill()
		_ = daemon.Wait() // it says "killed"
		if t.Failed() {
			t.Logf("kubo says:\n%s", log)
		}
	})
	await(t, "kubo answers", func() bool {
		_, err := os.Stat(filepath.Join(k.repo, "api")) // a command before would take its lock
		return err == nil
	})
	return k
}

func (k *kuboNode) command(ctx context.Context, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, k.program, args...)
	c.Env = append(os.Environ(), "IPFS_PATH="+k.repo, "IPFS_TELEMETRY=off")
	return c
}

// run is a kubo command that must succeed within a minute.
func (k *kuboNode) run(args ...string) []byte {
	k.t.Helper()
	ctx, cancel := context.WithTimeout(k.t.Context(), time.Minute)
	defer cancel()
	var diag bytes.Buffer
	c := k.command(ctx, args...)
	c.Stderr = &diag
	out, err := c.Output()
	if err != nil {
		k.t.Fatalf("ipfs %s: %v\n%s", strings.Join(args, " "), err, diag.String())
	}
	return out
}

// addr is where we reach it.
func (k *kuboNode) addr() string {
	k.t.Helper()
	var id struct{ Addresses []string }
	if err := json.Unmarshal(k.run("id"), &id); err != nil || len(id.Addresses) == 0 {
		k.t.Fatalf("kubo has no address: %v", err)
	}
	return id.Addresses[0]
}
