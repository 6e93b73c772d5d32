package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/staddle/staddle/api"
	"github.com/staddle/staddle/library"
	"github.com/staddle/staddle/node"
	"github.com/staddle/staddle/store"
)

// upFlags are what `staddle up` may be told.
type upFlags struct {
	background bool
	cfg        node.Config
	noMine     bool
}

func (a *app) upCommand() *cobra.Command {
	var f upFlags
	c := &cobra.Command{
		Use: "up", Short: "start the daemon; makes your identity the first time", Args: cobra.NoArgs,
		Long: `Start the daemon. The first start makes an identity: 24 words in the file
"identity" of the data directory (HOME/identity with --home). Keep a copy of it:
whoever has the words is you, and nothing restores them.

Addresses in invites and registrations name the port, so give --listen a fixed
one; a port of the system's choice changes with every start.`,
		Example: `  staddle up
  staddle up --background --listen /ip4/0.0.0.0/tcp/4101
  staddle up --background --listen /ip4/127.0.0.1/tcp/4101 --dht 127.0.0.1:4201
  staddle up --background --listen /ip4/127.0.0.1/tcp/4102 --dht 127.0.0.1:4202 --dht-seed 127.0.0.1:4201`,
		RunE: func(c *cobra.Command, _ []string) error { return a.up(c.Context(), &f) },
	}
	l := c.Flags()
	l.BoolVar(&f.background, "background", false, "go on in the background; the log is daemon.log in the state directory")
	l.StringSliceVar(&f.cfg.Listen, "listen", nil, "multiaddrs to listen on (default: every address, any port, TCP and QUIC)")
	l.StringVar(&f.cfg.Gateway, "gateway", "127.0.0.1:0", "host:port of the HTTPS that validators ask for logs")
	l.StringVar(&f.cfg.Play, "play", "127.0.0.1:0", "loopback host:port at which players of this machine read (staddle play); \"\" turns it off")
	l.StringVar(&f.cfg.DHT, "dht", "", "address:port of the DHT's UDP socket (default: no DHT)")
	l.StringSliceVar(&f.cfg.Seeds, "dht-seed", nil, "address:port of a DHT node to begin with; may be repeated")
	l.StringSliceVar(&f.cfg.IPFS, "ipfs", nil, "multiaddrs for bitswap and graphsync; serves public datasets to the IPFS world (default: none)")
	l.StringVar(&f.cfg.IPFSGateway, "ipfs-gateway", "", "host:port of an HTTP gateway that serves public datasets to the IPFS world (default: none)")
	l.Int64Var(&f.cfg.Quota, "quota", 0, "most bytes of pieces and replicas to hold; 0 sets no limit")
	l.Int64Var(&f.cfg.Upload, "upload", 0, "bytes a day that this node is willing to send; an eighth may be free (default 1 TiB)")
	l.StringVar(&f.cfg.SpendPerDay, "spend-per-day", "", "coins that downloads may cost in a day (UTC); empty sets no bound")
	l.BoolVar(&f.cfg.MDNS, "mdns", false, "look for peers on the local network")
	l.BoolVar(&f.cfg.PortMap, "portmap", false, "ask the router for a port")
	l.BoolVar(&f.noMine, "no-mine", false, "follow the community without making blocks")
	return c
}

// up runs the daemon until it is told to stop.
func (a *app) up(ctx context.Context, f *upFlags) error {
	d, err := a.dirs()
	if err != nil {
		return err
	}
	if f.background {
		return a.upBehind(ctx, d)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if err := d.makeData(); err != nil {
		return err
	}
	f.cfg.Home, f.cfg.Mine = d.data, !f.noMine
	f.cfg.Report = func(format string, args ...any) {
		fmt.Fprintf(a.stderr, "%s "+format+"\n", append([]any{time.Now().Format("15:04:05.000")}, args...)...)
	}
	l, err := api.Listen(d.socket())
	if err != nil {
		return err
	}
	n, err := node.Open(f.cfg)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	a.greet(n)
	srv := api.NewServer(a.classify)
	n.Calls(srv, version, stop)
	serving := make(chan error, 1)
	go func() { serving <- srv.Serve(ctx, l) }()
	err = n.Run(ctx)
	stop()
	return errors.Join(err, <-serving, n.Close())
}

func (a *app) greet(n *node.Node) {
	id := n.Identity()
	if id.New {
		a.note("Created your identity %s. Its 24 words are in the file identity of your home; keep a copy of them in a safe place.", n.Account().Short())
	}
	a.note("Node %s is running. On another terminal: staddle status", n.Account().Short())
}

// upBehind starts the daemon as a process of its own and waits until it answers.
func (a *app) upBehind(ctx context.Context, d dirs) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(d.state, 0o700); err != nil {
		return err
	}
	name := filepath.Join(d.state, "daemon.log")
	log, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	var args []string
	for _, arg := range os.Args[1:] {
		if arg != "--background" && arg != "--background=true" {
			args = append(args, arg)
		}
	}
	c := exec.Command(self, args...)
	c.Stdout, c.Stderr = log, log
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := c.Start(); err != nil {
		return fmt.Errorf("start daemon: %w", err)
	}
	gone := make(chan error, 1)
	go func() { gone <- c.Wait() }()
	client := api.NewClient(d.socket())
	for {
		var st api.Status
		if err := client.Call(ctx, api.CallStatus, api.None{}, &st, api.Watch{}); err == nil {
			a.note("Node %s is running in the background, process %d; its log is %s", st.Account[:8], c.Process.Pid, name)
			return nil
		}
		select {
		case err := <-gone:
			return &failure{fmt.Errorf("the daemon ended at once: %w", err), "read " + name}
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// classify turns an error of the daemon into what the caller prints.
func (a *app) classify(err error) *api.Error {
	r := reasonOf(err)
	return &api.Error{Code: r.code, Message: a.plain(err), Hint: r.next, Exit: r.exit}
}

func (a *app) downCommand() *cobra.Command {
	return &cobra.Command{
		Use: "down", Short: "stop the daemon", Args: cobra.NoArgs, Example: "  staddle down",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := a.call(c.Context(), api.CallStop, api.None{}, nil); err != nil {
				return err
			}
			return a.awaitSilence(c.Context())
		},
	}
}

// awaitSilence waits until the daemon has let go of its socket and its store.
func (a *app) awaitSilence(ctx context.Context) error {
	d, err := a.dirs()
	if err != nil {
		return err
	}
	for {
		if _, err := os.Stat(d.socket()); errors.Is(err, os.ErrNotExist) {
			st, err := store.Open(d.store(), store.Options{})
			if err == nil {
				a.note("stopped")
				return st.Close()
			}
			if !errors.Is(err, store.ErrLocked) {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// client reaches the daemon.
func (a *app) client() (*api.Client, error) {
	d, err := a.dirs()
	if err != nil {
		return nil, err
	}
	return api.NewClient(d.socket()), nil
}

// call makes one call with the usual progress on stderr.
func (a *app) call(ctx context.Context, name string, req, res any) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	m := a.meter()
	err = c.Call(ctx, name, req, res, api.Watch{Progress: m.follow, Note: func(s string) { a.note("%s", safe(s)) }})
	m.end()
	if errors.Is(err, api.ErrNotRunning) {
		return errNoDaemon
	}
	return err
}

// follow shows progress that the daemon reports. Lots are few and are told one by
// one; everything else is bytes.
func (m *meter) follow(p api.Progress) {
	if p.Phase == "placing" {
		m.a.note("kept and attested: %d of %d lots", p.Done, p.Total)
		return
	}
	m.update(library.Progress{Phase: library.Phase(p.Phase), Name: p.Name, Done: p.Done, Total: p.Total})
}
