package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/staddle/staddle/api"
)

// simNetwork is a network of real processes on this machine: the demo.
type simNetwork struct {
	a     *app
	ctx   context.Context
	self  string // this program
	dir   string
	began time.Time
	keep  bool // daemons go on when the demo has ended
	nodes []*simNode
	chaos *chaos // nil in peace
}

// simNode is one daemon with a home of its own.
type simNode struct {
	name    string
	home    string
	client  *api.Client
	args    []string // beyond the usual
	account string
	address string
	gone    bool // killed by the story, and not back yet

	mu      sync.Mutex // of what a restart changes
	proc    *exec.Cmd
	log     *os.File
	dhtAddr string
}

type simFlags struct {
	dir   string
	keep  bool
	chaos uint64
}

func (a *app) simCommand() *cobra.Command {
	var f simFlags
	c := &cobra.Command{
		Use: "sim", Short: "the whole idea on this machine: a network of processes that keeps a folder", Args: cobra.NoArgs,
		Long: `Start nine nodes as processes of their own on loopback: a sponsor, four hosts that
also encode, four validators. Publish a folder, have three unique replicas kept by
hosts drawn by lot, audit them, kill a host, repair, settle an epoch in the
community's coin, and fetch the folder on a tenth node, byte for byte. The exit
code is 0 only if all of it came true; else the homes and logs of the nodes stay.`,
		Example: "  staddle sim\n  staddle sim --dir ~/films\n  staddle sim --chaos 7",
		RunE: func(c *cobra.Command, _ []string) error {
			var seed *uint64
			if c.Flags().Changed("chaos") {
				seed = &f.chaos
			}
			return a.sim(c.Context(), &f, seed)
		},
	}
	c.Flags().StringVar(&f.dir, "dir", "", "folder to publish (default: a part of Go's source and a film)")
	c.Flags().BoolVar(&f.keep, "keep", false, "leave the network running at the end")
	c.Flags().Uint64Var(&f.chaos, "chaos", 0, "kill -9 nodes of each role at moments drawn from this seed and start them again; 0: a seed from the clock")
	return c
}

// sim runs the demo, with chaos when there is a seed.
func (a *app) sim(ctx context.Context, f *simFlags, seed *uint64) (err error) {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "staddle-sim-")
	if err != nil {
		return err
	}
	s := &simNetwork{a: a, ctx: ctx, self: self, dir: dir, began: time.Now(), keep: f.keep}
	defer func() {
		if f.keep && err == nil {
			s.say("the network is left running; homes are in %s; stop a node with: staddle down --home HOME", dir)
			return
		}
		s.stopAll()
		if err == nil {
			err = os.RemoveAll(dir)
		} else {
			s.say("the homes and logs are in %s", dir)
		}
	}()
	if seed != nil {
		s.chaos = newChaos(s, *seed)
	}
	d := &demo{simNetwork: s, folder: f.dir}
	return d.run()
}

// say prints a step with its time since the start.
func (s *simNetwork) say(format string, args ...any) {
	fmt.Fprintf(s.a.stdout, "%6.1fs  %s\n", time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
}

// start runs a node's daemon and waits until it answers.
func (s *simNetwork) start(n *simNode) error {
	if err := s.launch(n); err != nil {
		return err
	}
	n.gone = false
	return s.answers(n)
}

// launch runs a node's daemon.
func (s *simNetwork) launch(n *simNode) error {
	log, err := os.OpenFile(n.home+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	// Its DHT stays where it was, as that of a node others begin with would; its
	// other addresses change with every start.
	args := append([]string{
		"up", "--home", n.home, "--listen", "/ip4/127.0.0.1/tcp/0", "--gateway", "127.0.0.1:0", "--dht", cmp.Or(n.dht(), "127.0.0.1:0"),
	}, n.args...)
	if first := s.nodes[0]; first != n {
		args = append(args, "--dht-seed", first.dht())
	}
	proc := exec.Command(s.self, args...)
	proc.Stdout, proc.Stderr = log, log
	proc.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if !s.keep { // no daemon outlives a demo that is killed
		proc.SysProcAttr.Pdeathsig = syscall.SIGKILL
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := proc.Start(); err != nil {
		return errors.Join(err, log.Close())
	}
	n.log, n.proc = log, proc
	return nil
}

// answers waits until a node's daemon answers and learns its names.
func (s *simNetwork) answers(n *simNode) error {
	return s.await("node "+n.name+" answers", 30*time.Second, func() (bool, error) {
		var st api.Status
		if err := n.client.Call(s.ctx, api.CallStatus, api.None{}, &st, api.Watch{}); err != nil {
			return false, nil
		}
		if n.account == "" { // they never change
			n.account, n.address = st.Account, st.Address
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		n.dhtAddr = st.DHT
		return true, nil
	})
}

// dht is where a node's DHT was when it last answered.
func (n *simNode) dht() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dhtAddr
}

// add makes a node and starts it. The first one is where the others' DHT begins.
func (s *simNetwork) add(name string, args ...string) (*simNode, error) {
	n := &simNode{name: name, home: filepath.Join(s.dir, name), args: args}
	n.client = api.NewClient(filepath.Join(n.home, "run", "api.sock"))
	s.nodes = append(s.nodes, n)
	return n, s.start(n)
}

// kill ends a node as a power cut would.
func (s *simNetwork) kill(n *simNode) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.proc.Process.Kill(); err != nil {
		return err
	}
	_ = n.proc.Wait() // it says "killed"
	return n.log.Close()
}

func (s *simNetwork) stopAll() {
	for _, n := range s.nodes {
		if n.proc != nil && n.proc.ProcessState == nil {
			_ = n.proc.Process.Signal(syscall.SIGTERM)
		}
	}
	for _, n := range s.nodes {
		if n.proc == nil || n.proc.ProcessState != nil {
			continue
		}
		timer := time.AfterFunc(5*time.Second, func() { _ = n.proc.Process.Kill() })
		_ = n.proc.Wait() // it was told to end
		timer.Stop()
		_ = n.log.Close()
	}
}

// await looks four times a second until ok says yes.
func (s *simNetwork) await(what string, limit time.Duration, ok func() (bool, error)) error {
	if s.chaos != nil {
		limit *= patience
	}
	deadline := time.Now().Add(limit)
	for {
		done, err := ok()
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if done {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not within %s: %s", limit, what)
		}
		select {
		case <-s.ctx.Done():
			return s.ctx.Err()
		case <-time.After(250 * time.Millisecond):
		}
	}
}

// call asks a node.
func call[Res any](s *simNetwork, n *simNode, name string, req any) (Res, error) {
	var res Res
	return res, s.ask(n, name, req, &res, api.Watch{})
}

// ask makes a call. Where chaos reigns, a call that broke because its daemon died
// is made again when the daemon is back, as a person would repeat a command.
func (s *simNetwork) ask(n *simNode, name string, req, res any, w api.Watch) error {
	for {
		err := n.client.Call(s.ctx, name, req, res, w)
		if err == nil {
			return nil
		}
		err = fmt.Errorf("%s on %s: %w", name, n.name, err)
		if s.chaos == nil || n.gone || !broken(err) || s.ctx.Err() != nil {
			return err
		}
		if err := s.chaos.again(n, name); err != nil {
			return err
		}
	}
}

// nameOf is the node with an account or an address, for people.
func (s *simNetwork) nameOf(id string) string {
	for _, n := range s.nodes {
		if n.account == id || n.address == id {
			return n.name
		}
	}
	if len(id) > 8 {
		return id[:8]
	}
	return id
}

func (s *simNetwork) names(ids []string) string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = s.nameOf(id)
	}
	return strings.Join(out, ", ")
}

// errDemo is the error of a demo whose outcome is not what it should be.
var errDemo = errors.New("the demo did not end as it should")
