// Package kubo runs kubo, the reference implementation of IPFS, for
// measurements: repositories of their own, peers on loopback alone.
package kubo

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/staddle/staddle/bench/proc"
)

// Repo is one repository, and its daemon once it is started.
type Repo struct {
	ctx  context.Context
	bin  string
	dir  string
	peer string // its address, with its name
	*proc.Daemon
}

// synced is kubo's default store with one word changed: blocks are durable when
// add returns.
const synced = `{"type":"mount","mounts":[
{"mountpoint":"/blocks","path":"blocks","prefix":"flatfs.datastore","shardFunc":"/repo/flatfs/shard/v1/next-to-last/2","sync":true,"type":"flatfs"},
{"compression":"none","mountpoint":"/","path":"datastore","prefix":"leveldb.datastore","type":"levelds"}]}`

// Init makes a repository. Everything that reaches beyond loopback is off; the
// rest is kubo's default.
func Init(ctx context.Context, bin, dir string) (*Repo, error) {
	r := &Repo{ctx: ctx, bin: bin, dir: dir}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return nil, err
	}
	for _, args := range [][]string{
		{"init", "--empty-repo"},
		{"bootstrap", "rm", "--all"},
		{"config", "--json", "AutoConf.Enabled", "false"},
		{"config", "--json", "Bootstrap", "[]"},
		{"config", "--json", "DNS.Resolvers", "{}"},
		{"config", "--json", "Routing.DelegatedRouters", "[]"},
		{"config", "--json", "Ipns.DelegatedPublishers", "[]"},
		{"config", "--json", "Discovery.MDNS.Enabled", "false"},
		{"config", "--json", "AutoTLS.Enabled", "false"},
		{"config", "--json", "Swarm.DisableNatPortMap", "true"},
		{"config", "--json", "Swarm.RelayClient.Enabled", "false"},
		{"config", "--json", "Swarm.EnableHolePunching", "false"},
		{"config", "Routing.Type", "none"},
		{"config", "--json", "Provide.Enabled", "false"},
		{"config", "--json", "Addresses.Gateway", "[]"},
		{"config", "Addresses.API", "/ip4/127.0.0.1/tcp/0"},
	} {
		if _, err := proc.Run(r.Command(args...)); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// Sync makes blocks durable when add returns, as our put does. The default leaves
// that to the system.
func (r *Repo) Sync() error {
	_, err := proc.Run(r.Command("config", "--json", "Datastore.Spec", synced))
	return err
}

// Command is a command on the repository.
func (r *Repo) Command(args ...string) *exec.Cmd {
	c := exec.CommandContext(r.ctx, r.bin, args...)
	c.Env = append(os.Environ(), "IPFS_PATH="+r.dir, "IPFS_TELEMETRY=off", "HOME="+filepath.Dir(r.dir))
	return c
}

// Add adds a file or folder as raw leaves and gives the CID. chunker is such as
// size-262144.
func (r *Repo) Add(path, chunker string) (cid string, u proc.Use, err error) {
	c := r.Command("add", "-r", "-Q", "--progress=false", "--cid-version=1", "--raw-leaves", "--chunker="+chunker, path)
	out := filepath.Join(filepath.Dir(r.dir), filepath.Base(r.dir)+".cid")
	f, err := os.Create(out)
	if err != nil {
		return "", u, err
	}
	defer f.Close()
	c.Stdout = f
	if u, err = proc.Run(c); err != nil {
		return "", u, err
	}
	b, err := os.ReadFile(out)
	if err != nil || len(b) == 0 {
		return "", u, fmt.Errorf("ipfs add printed no CID: %w", err)
	}
	return string(b[:len(b)-1]), u, nil
}

// Up starts the daemon and learns its address.
func (r *Repo) Up() error {
	port, err := freePort()
	if err != nil {
		return err
	}
	at := fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", port)
	if _, err := proc.Run(r.Command("config", "--json", "Addresses.Swarm", `["`+at+`"]`)); err != nil {
		return err
	}
	id, err := proc.Output(r.Command("config", "Identity.PeerID"))
	if err != nil {
		return err
	}
	r.peer = at + "/p2p/" + id
	if r.Daemon, err = proc.Start(r.Command("daemon"), r.dir+".log", nil); err != nil {
		return err
	}
	err = proc.Await(r.ctx, "kubo answers", 60*time.Second, func() (bool, error) {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			return false, nil
		}
		defer c.Close()
		_, err = os.Stat(filepath.Join(r.dir, "api"))
		return err == nil, nil
	})
	if err != nil {
		return fmt.Errorf("%w: %s", err, r.Log())
	}
	return nil
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// Connect connects to another daemon.
func (r *Repo) Connect(to *Repo) error {
	_, err := proc.Run(r.Command("swarm", "connect", to.peer))
	return err
}

// Get fetches from a connected peer into a file or folder; the processor time is
// that of both daemons and of the command.
func (r *Repo) Get(cid, to string, from *Repo) (proc.Use, error) {
	return proc.With([]*proc.Daemon{r.Daemon, from.Daemon}, func() (proc.Use, error) {
		return proc.Run(r.Command("get", "--progress=false", "-o", to, cid))
	})
}
