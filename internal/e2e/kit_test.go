//go:build engine || browser

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/staddle/staddle/api"
)

// program is the binary under test, built once.
var program string

func TestMain(m *testing.M) {
	code, err := buildAndRun(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

func buildAndRun(m *testing.M) (int, error) {
	dir, err := os.MkdirTemp("", "staddle-e2e-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // a test runs it as another user
		return 1, err
	}
	program = filepath.Join(dir, "staddle")
	c := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", program, "github.com/staddle/staddle/cmd/staddle")
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		return 1, fmt.Errorf("build: %w\n%s", err, out)
	}
	return m.Run(), nil
}

// patience is how long anything may take on a machine that has much to do.
const patience = 4 * time.Minute

// peer is one daemon with a home of its own.
type peer struct {
	t       *testing.T
	name    string
	home    string
	log     string
	listen  string
	args    []string // of up, beyond the usual
	user    *syscall.Credential
	proc    *exec.Cmd
	client  *api.Client
	account string
}

// newPeer names a home in a directory; nothing runs yet.
func newPeer(t *testing.T, name, home string, args ...string) *peer {
	t.Helper()
	p := &peer{t: t, name: name, home: home, args: args, client: api.NewClient(filepath.Join(home, "run", "api.sock"))}
	p.listen, p.log = freePort(t), home+".log"
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			p.tail()
		}
	})
	return p
}

// start makes a peer and starts it.
func start(t *testing.T, name string, args ...string) *peer {
	t.Helper()
	p := newPeer(t, name, filepath.Join(t.TempDir(), name), args...)
	p.up()
	return p
}

// freePort is an address that was free a moment ago. A peer keeps it over its
// restarts, so that others find it again without a registry or a DHT.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", l.Addr().(*net.TCPAddr).Port)
}

// up runs the daemon and waits until it answers.
func (p *peer) up() {
	p.t.Helper()
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		p.t.Fatal(err)
	}
	defer log.Close()
	p.proc = exec.Command(program, append([]string{
		"up", "--home", p.home, "--listen", p.listen, "--gateway", "127.0.0.1:0",
	}, p.args...)...)
	p.proc.Stdout, p.proc.Stderr = log, log
	p.proc.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Credential: p.user}
	if err := p.proc.Start(); err != nil {
		p.t.Fatal(err)
	}
	var st api.Status
	await(p.t, p.name+" answers", func() bool {
		return p.client.Call(p.t.Context(), api.CallStatus, api.None{}, &st, api.Watch{}) == nil
	})
	p.account = st.Account
}

// kill ends the daemon as a power cut would.
func (p *peer) kill() {
	if p.proc != nil && p.proc.ProcessState == nil {
		_ = p.proc.Process.Kill()
		_ = p.proc.Wait() // it says "killed"
	}
}

// tail shows the end of the daemon's log.
func (p *peer) tail() {
	b, err := os.ReadFile(p.log)
	if err != nil { // it ran in the background
		b, err = os.ReadFile(filepath.Join(p.home, "state", "daemon.log"))
	}
	if err != nil {
		p.t.Logf("%s has no log: %v", p.name, err)
		return
	}
	p.t.Logf("log of %s ends:\n%s", p.name, b[max(0, len(b)-4000):])
}

// await looks until ok says yes.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patience, what)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// try makes a call.
func try[Res any](p *peer, name string, req any) (Res, error) {
	var res Res
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	err := p.client.Call(ctx, name, req, &res, api.Watch{})
	if err != nil {
		err = fmt.Errorf("%s on %s: %w", name, p.name, err)
	}
	return res, err
}

// call makes a call that must go well.
func call[Res any](p *peer, name string, req any) Res {
	p.t.Helper()
	res, err := try[Res](p, name, req)
	if err != nil {
		p.t.Fatal(err)
	}
	return res
}

func (p *peer) community() api.Community {
	p.t.Helper()
	return call[api.Community](p, api.CallCommunityInfo, api.None{})
}

// found starts a community in which all peers have the same coins and the
// validators a deposit, and lets all the others join.
func found(founder *peer, validators []*peer, others ...*peer) {
	t := founder.t
	t.Helper()
	q := api.CreateRequest{Name: "TAUT", Symbol: "TAU", Kind: "market", Preset: "sim"}
	for _, p := range append([]*peer{founder}, others...) {
		q.Credits = append(q.Credits, api.Credit{Account: p.account, Coins: "1000000"})
	}
	for _, p := range validators {
		q.Deposits = append(q.Deposits, api.Credit{Account: p.account, Coins: "10000"})
	}
	call[api.Community](founder, api.CallCommunityCreate, q)
	inv := invite(founder)
	for _, p := range others {
		call[api.Community](p, api.CallCommunityJoin, api.JoinRequest{Invite: inv})
	}
	for _, p := range others {
		await(t, p.name+" follows the chain", func() bool { return p.community().Height >= 2 })
	}
}

func invite(p *peer) string {
	p.t.Helper()
	return call[api.InviteResult](p, api.CallCommunityInvite, api.None{}).Invite
}

// result is what a run of the command line gave.
type result struct {
	code           int
	stdout, stderr string
}

// command makes a run of the command line on the peer's home.
func (p *peer) command(args ...string) *exec.Cmd {
	c := exec.CommandContext(p.t.Context(), program, args...)
	c.Env = append(os.Environ(), "STADDLE_HOME="+p.home, "LC_ALL=C.UTF-8", "TZ=UTC")
	return c
}

// cli runs the command line on the peer's home.
func (p *peer) cli(args ...string) result {
	p.t.Helper()
	c := p.command(args...)
	var out, diag bytes.Buffer
	c.Stdout, c.Stderr = &out, &diag
	err := c.Run()
	exit := new(exec.ExitError)
	if err != nil && !errors.As(err, &exit) {
		p.t.Fatalf("staddle %s: %v", strings.Join(args, " "), err)
	}
	return result{c.ProcessState.ExitCode(), out.String(), diag.String()}
}

// does runs the command line and wants exit code 0.
func (p *peer) does(args ...string) result {
	p.t.Helper()
	return p.exits(0, args...)
}

// exits runs the command line and wants an exit code.
func (p *peer) exits(want int, args ...string) result {
	p.t.Helper()
	r := p.cli(args...)
	if r.code != want {
		p.t.Fatalf("staddle %s: exit code %d, want %d\nstdout %s\nstderr %s", strings.Join(args, " "), r.code, want, r.stdout, r.stderr)
	}
	return r
}

// wantText fails unless text holds every part.
func wantText(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Fatalf("%q lacks %q", text, part)
		}
	}
}

// write makes a file with its directories.
func write(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// noise are bytes that no compressor makes smaller, the same for a seed.
func noise(n int, seed byte) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b) // never fails
	return b
}

// folder makes a folder with texts, a film of a size, an empty directory and a
// link.
func folder(t *testing.T, film int, seed byte) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "films")
	write(t, filepath.Join(dir, "film.mkv"), noise(film, seed))
	write(t, filepath.Join(dir, "text", "a.txt"), []byte("hello\n"))
	write(t, filepath.Join(dir, "text", "long.txt"), []byte(strings.Repeat("all work and no play\n", 1000)))
	if err := os.Mkdir(filepath.Join(dir, "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("text/a.txt", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// tree is all that a folder holds: names, modes, contents, links.
func tree(t *testing.T, root string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(root, func(name string, d os.DirEntry, err error) error {
		if err != nil || name == root {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		text := ""
		switch {
		case d.Type() == os.ModeSymlink:
			text, err = os.Readlink(name)
		case d.Type().IsRegular():
			var b []byte
			b, err = os.ReadFile(name)
			text = string(b)
		}
		out[strings.TrimPrefix(name, root+"/")] = info.Mode().String() + " " + text
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// sameTree fails unless two folders hold the same.
func sameTree(t *testing.T, want, got string) {
	t.Helper()
	a, b := tree(t, want), tree(t, got)
	for name, content := range a {
		if b[name] != content {
			t.Errorf("%q differs: %d bytes, want %d", name, len(b[name]), len(content))
		}
		delete(b, name)
	}
	for name := range b {
		t.Errorf("%q is too much", name)
	}
}

// object reads one line of JSON.
func object(t *testing.T, text string) map[string]any {
	t.Helper()
	var o map[string]any
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return o
}
