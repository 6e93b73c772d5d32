// Package types breaks purity in each way that an import can.
package types

import (
	_ "context"       // want: purity
	"crypto/rand"     // want: purity
	"fmt"             // fine
	_ "log/slog"      // want: purity
	_ "math/rand/v2"  // want: purity
	"net/netip"       // want: purity
	_ "os"            // want: purity
	_ "path/filepath" // fine
	"sync"            // want: purity
	_ "sync/atomic"   // want: purity
	"time"            // want: purity
	_ "unicode/utf8"  // fine
)

// ID is clean.
type ID struct{ N uint64 }

// Use keeps the imports.
func Use() string {
	var mu sync.Mutex
	mu.Lock()
	return fmt.Sprint(rand.Text(), netip.Addr{}, time.Now())
}
