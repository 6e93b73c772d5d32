package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path"
	"strings"

	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/api"
	"github.com/staddle/staddle/ipfs"
	"github.com/staddle/staddle/library"
	"github.com/staddle/staddle/types"
)

// face is what this node shows to the IPFS world, when it is told to.
type face struct {
	world   *ipfs.World  // bitswap and graphsync; nil without --ipfs
	door    net.Listener // of the HTTP gateway; nil without --ipfs-gateway
	handler http.Handler
}

// rowWorld keeps the key of the IPFS host.
const rowWorld = "ipfs-key"

// openFace opens what Config asks for. Saying so is the opt-in (P2): without it
// nothing of this node reaches the IPFS world.
func (n *Node) openFace() error {
	public := ipfs.Public(blocks{n.lib}, open{n})
	if addr := n.cfg.IPFSGateway; addr != "" {
		inner, err := ipfs.Gateway(public, ipfs.GatewayOptions{})
		if err != nil {
			return err
		}
		n.face.handler = n.screen(inner)
		if n.face.door, err = net.Listen("tcp", addr); err != nil {
			return fmt.Errorf("open IPFS gateway: %w", err)
		}
	}
	if len(n.cfg.IPFS) == 0 {
		return nil
	}
	seed, err := n.worldKey()
	if err == nil {
		n.face.world, err = ipfs.OpenWorld(seed, n.cfg.IPFS, public)
	}
	if err != nil {
		return errors.Join(err, n.face.close())
	}
	return nil
}

// screen refuses paths of the deny lists before they are looked up (P3); blocks
// are refused by the policy.
func (n *Node) screen(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rest, ok := strings.CutPrefix(path.Clean(r.URL.Path), "/ipfs/")
		root, below, _ := strings.Cut(rest, "/")
		if c, err := cid.Decode(root); ok && err == nil && n.deny.DeniedPath(c, below) {
			http.Error(w, "this node does not give that away", http.StatusGone)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (n *Node) worldKey() (seed [32]byte, err error) {
	raw, ok, err := n.store.Get(table, rowWorld)
	if err != nil {
		return seed, fmt.Errorf("read IPFS key: %w", err)
	}
	if ok && len(raw) == len(seed) {
		return [32]byte(raw), nil
	}
	if _, err := rand.Read(seed[:]); err != nil {
		return seed, err
	}
	return seed, n.store.Save(nil, []types.Row{{Table: table, Key: rowWorld, Value: seed[:]}})
}

// serve answers HTTP until ctx ends.
func (f *face) serve(ctx context.Context) error {
	if f.door == nil {
		<-ctx.Done()
		return nil
	}
	srv := ipfs.Server(f.handler)
	defer context.AfterFunc(ctx, func() { _ = srv.Close() })()
	if err := srv.Serve(f.door); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("IPFS gateway: %w", err)
	}
	return nil
}

func (f *face) close() error {
	var err error
	if f.world != nil {
		err = f.world.Close()
	}
	if f.door != nil {
		_ = f.door.Close() // the server closed it before, as a rule
	}
	return err
}

// describe is nil when this node shows nothing.
func (f *face) describe() *api.IPFS {
	if f.world == nil && f.door == nil {
		return nil
	}
	out := new(api.IPFS)
	if f.world != nil {
		out.Addrs = f.world.Addrs()
	}
	if f.door != nil {
		out.Gateway = "http://" + f.door.Addr().String()
	}
	return out
}

// blocks is all blocks of the library, as the IPFS world asks for them.
type blocks struct{ lib *library.Library }

// Get implements ipfs.Blocks.
func (b blocks) Get(_ context.Context, c cid.Cid) ([]byte, error) { return b.lib.Block(c) }

// Has implements ipfs.Blocks.
func (b blocks) Has(ctx context.Context, c cid.Cid) (bool, error) {
	_, err := b.Size(ctx, c)
	if ipfs.IsNotHeld(err) {
		return false, nil
	}
	return err == nil, err
}

// Size implements ipfs.Sizer.
func (b blocks) Size(_ context.Context, c cid.Cid) (int, error) { return b.lib.BlockSize(c) }

// open is the policy of what strangers may have: what this node holds of public
// datasets and imports (P2), and does not deny (P3).
type open struct{ n *Node }

// Serve implements ipfs.Policy.
func (o open) Serve(_ context.Context, c cid.Cid) bool {
	return !o.n.deny.Denied(c) && o.n.lib.Public(c)
}
