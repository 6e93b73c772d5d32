package swarm

import (
	"context"
	"sync"

	"github.com/staddle/staddle/types"
)

// perPeer is how many streams to one account this node opens at once: as many as
// a server takes unless it is told otherwise.
const perPeer = 4

// lanes keep jobs that run beside each other from asking one peer for more
// streams than it takes.
type lanes struct {
	mu sync.Mutex
	of map[types.Account]*lane
}

type lane struct {
	places chan struct{} // one a stream; full: wait
	users  int           // streams, and who waits for one
}

// enter waits for a stream to the account to be allowed; leave ends it. The error
// is ErrBusy when ctx ends first.
func (l *lanes) enter(ctx context.Context, a types.Account) (leave func(), err error) {
	l.mu.Lock()
	if l.of == nil {
		l.of = map[types.Account]*lane{}
	}
	one, ok := l.of[a]
	if !ok {
		one = &lane{places: make(chan struct{}, perPeer)}
		l.of[a] = one
	}
	one.users++
	l.mu.Unlock()
	select {
	case one.places <- struct{}{}:
		return func() {
			<-one.places
			l.drop(a, one)
		}, nil
	case <-ctx.Done():
		l.drop(a, one)
		return nil, refuse(ReasonBusy, "%d streams to %s are open already", perPeer, a.Short())
	}
}

func (l *lanes) drop(a types.Account, one *lane) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if one.users--; one.users == 0 {
		delete(l.of, a)
	}
}
