// Package ours runs Staddle for measurements: the command line as anybody would
// type it, and networks of daemons on loopback.
package ours

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/staddle/staddle/api"

	"github.com/staddle/staddle/bench/proc"
	"github.com/staddle/staddle/bench/shim"
)

// Net is a network of daemons. Close it.
type Net struct {
	ctx   context.Context
	bin   string
	dir   string
	nodes []*Node
	ends  []func()
}

// Node is one daemon with a home of its own.
type Node struct {
	Name    string
	Home    string
	Account string
	Client  *api.Client
	*proc.Daemon
	port int
}

// New is a network without nodes, whose homes are made in dir.
func New(ctx context.Context, bin, dir string) *Net { return &Net{ctx: ctx, bin: bin, dir: dir} }

// Close stops all daemons.
func (n *Net) Close() error {
	var err error
	for _, d := range n.nodes {
		err = errors.Join(err, d.Stop())
	}
	for _, end := range n.ends {
		end()
	}
	return err
}

// Add starts nodes by name.
func (n *Net) Add(names ...string) ([]*Node, error) {
	var out []*Node
	for _, name := range names {
		d, err := n.start(name, nil)
		if err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, nil
}

// AddBehind starts a node to which every node that runs already is at the far
// end of a line. The error wraps shim.ErrPermission.
func (n *Net) AddBehind(name string, line shim.Line) (*Node, error) {
	room, err := shim.NewRoom()
	if err != nil {
		return nil, err
	}
	n.ends = append(n.ends, room.Close)
	for _, d := range n.nodes {
		at := fmt.Sprintf("127.0.0.1:%d", d.port)
		l, err := room.Listen(at)
		if err != nil {
			return nil, fmt.Errorf("listen for %s: %w", d.Name, err)
		}
		p := shim.New(l, at, line)
		n.ends = append(n.ends, func() { _ = p.Close() }) // its programs have ended
	}
	return n.start(name, room.Start)
}

func (n *Net) start(name string, start proc.Starter) (*Node, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	d := &Node{Name: name, Home: filepath.Join(n.dir, name), port: port}
	d.Client = api.NewClient(filepath.Join(d.Home, "run", "api.sock"))
	c := exec.Command(n.bin, "up", "--home", d.Home, "--gateway", "127.0.0.1:0", "--listen", fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", port))
	if d.Daemon, err = proc.Start(c, d.Home+".log", start); err != nil {
		return nil, err
	}
	n.nodes = append(n.nodes, d)
	err = proc.Await(n.ctx, name+" answers", 30*time.Second, func() (bool, error) {
		var st api.Status
		err := d.Client.Call(n.ctx, api.CallStatus, api.None{}, &st, api.Watch{})
		d.Account = st.Account
		return err == nil, nil
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, d.Log())
	}
	return d, nil
}

// freePort is a port that was free a moment ago.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// Coins of every member of a network, and what a validator bonds of them.
const (
	coins   = "100000"
	deposit = "10000"
)

// Found makes a community of all nodes, each a member from the start and so with
// its free share, and waits until all follow it. Blocks are made by nodes that
// run: none may be stopped for long.
func (n *Net) Found(validators ...*Node) error {
	q := api.CreateRequest{Name: "BENCH", Symbol: "B", Kind: "market", Preset: "sim"}
	for _, d := range n.nodes {
		q.Credits = append(q.Credits, api.Credit{Account: d.Account, Coins: coins})
	}
	for _, v := range validators {
		q.Deposits = append(q.Deposits, api.Credit{Account: v.Account, Coins: deposit})
	}
	first := n.nodes[0]
	if err := n.Call(first, api.CallCommunityCreate, q, nil); err != nil {
		return err
	}
	var inv api.InviteResult
	if err := n.Call(first, api.CallCommunityInvite, api.None{}, &inv); err != nil {
		return err
	}
	for _, d := range n.nodes[1:] {
		if err := n.Call(d, api.CallCommunityJoin, api.JoinRequest(inv), nil); err != nil {
			return err
		}
	}
	return n.Follow(2)
}

// Follow waits until all nodes that run have seen so many blocks more than the
// first has now.
func (n *Net) Follow(blocks uint64) error {
	var tip uint64
	for i, d := range n.nodes {
		err := proc.Await(n.ctx, d.Name+" follows the chain", 60*time.Second, func() (bool, error) {
			var c api.Community
			err := n.Call(d, api.CallCommunityInfo, api.None{}, &c)
			if i == 0 && tip == 0 {
				tip = c.Height
			}
			return c.Height >= tip+blocks, err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Await looks until ok says yes.
func (n *Net) Await(what string, limit time.Duration, ok func() (bool, error)) error {
	return proc.Await(n.ctx, what, limit, ok)
}

// Call asks a daemon.
func (n *Net) Call(d *Node, name string, req, res any) error {
	if err := d.Client.Call(n.ctx, name, req, res, api.Watch{}); err != nil {
		return fmt.Errorf("%s on %s: %w", name, d.Name, err)
	}
	return nil
}

// Received is how many bytes a node has had from its peers.
func (n *Net) Received(d *Node) (sum uint64, err error) {
	var st api.Status
	err = n.Call(d, api.CallStatus, api.None{}, &st)
	for _, p := range st.Peers {
		sum += p.Received
	}
	return sum, err
}

// Drop stops a node for good.
func (n *Net) Drop(d *Node) error {
	for i, have := range n.nodes {
		if have == d {
			n.nodes = append(n.nodes[:i:i], n.nodes[i+1:]...)
		}
	}
	return d.Stop()
}

// Command is our program on a node's home.
func Command(ctx context.Context, bin, home string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, bin, append([]string{"--home", home, "--progress", "none", "--quiet"}, args...)...)
}

// Put publishes by a node's daemon and gives the reference.
func (n *Net) Put(d *Node, folder string, args ...string) (ref string, u proc.Use, err error) {
	var out strings.Builder
	u, err = proc.With([]*proc.Daemon{d.Daemon}, func() (proc.Use, error) {
		c := Command(n.ctx, n.bin, d.Home, append([]string{"put", folder, "--json"}, args...)...)
		c.Stdout = &out
		return proc.Run(c)
	})
	if err != nil {
		return "", u, err
	}
	var last struct {
		Ref string `json:"ref"`
	}
	for line := range strings.Lines(out.String()) {
		if err := json.Unmarshal([]byte(line), &last); err != nil {
			return "", u, fmt.Errorf("what put printed: %w", err)
		}
	}
	return last.Ref, u, nil
}

// Get fetches a dataset on one node; the processor time is that of all nodes in
// ends and of the command.
func (n *Net) Get(d *Node, ref, to string, ends ...*Node) (proc.Use, error) {
	daemons := []*proc.Daemon{d.Daemon}
	for _, e := range ends {
		daemons = append(daemons, e.Daemon)
	}
	return proc.With(daemons, func() (proc.Use, error) {
		return proc.Run(Command(n.ctx, n.bin, d.Home, "get", ref, "-o", to))
	})
}
