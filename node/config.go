// Package node joins adapters and engines into one running daemon: it opens the
// store, the keys and the network, starts the community's engines when there is a
// community, and closes everything in the reverse order. It is the only package
// that knows all of them; nothing here decides anything about money, hosting or
// content.
package node

import (
	"fmt"
	"sync"
	"time"

	"github.com/staddle/staddle/types"
)

// Config is all that a node is told. The zero value with a Home works.
type Config struct {
	Home        string                           // directory of everything this node owns
	Listen      []string                         // multiaddrs; empty: every address, a port of the system's choice
	Gateway     string                           // host:port of the peer-facing HTTPS; empty: loopback, any port
	DHT         string                           // host:port of the DHT's UDP socket; empty: none
	Seeds       []string                         // host:port of DHT nodes to begin with
	IPFS        []string                         // multiaddrs for bitswap and graphsync; empty: none
	IPFSGateway string                           // host:port of an HTTP gateway for the IPFS world; empty: none
	Play        string                           // loopback host:port for players of this machine; empty: none
	Quota       int64                            // bytes of the store; 0: as much as the disk has
	MDNS        bool                             // look for peers on the local network
	PortMap     bool                             // ask the router for a port
	Mine        bool                             // extend the chain when it is this account's turn
	Upload      int64                            // bytes a day that this node is willing to send; 0: 1 TiB
	SpendPerDay string                           // coins that downloads may cost in a day of Unix time; empty: no bound
	MaxPrice    string                           // coins a GB for downloads, at most; empty: four times the epoch's price
	Report      func(format string, args ...any) // one line an event; nil: silent
}

// repeatAfter is how long the same line is not reported again.
const repeatAfter = 30 * time.Second

// reporter passes lines on, each text at most once in a while: what is tried
// again and again is not news.
type reporter struct {
	out  func(format string, args ...any)
	mu   sync.Mutex
	last map[string]time.Time
}

func (r *reporter) report(format string, args ...any) {
	if r.out == nil {
		return
	}
	text := fmt.Sprintf(format, args...)
	now := time.Now()
	r.mu.Lock()
	old, known := r.last[text]
	if len(r.last) > 4096 {
		r.last = map[string]time.Time{}
	}
	tell := !known || now.Sub(old) > repeatAfter
	if tell {
		r.last[text] = now
	}
	r.mu.Unlock()
	if tell {
		r.out("%s", text)
	}
}

func (c *Config) check() error {
	if c.Home == "" {
		return fmt.Errorf("a node needs a home directory")
	}
	if c.Quota < 0 {
		return fmt.Errorf("quota of %d bytes", c.Quota)
	}
	return nil
}

// clock is the wall clock in the unit of the chain (T1).
func clock() types.Millis { return types.Millis(time.Now().UnixMilli()) }
