package node

import (
	"context"
	"errors"
	"sync"

	"github.com/staddle/staddle/transport"
	"github.com/staddle/staddle/types"
)

// answer is how an engine answers requests of a protocol.
type answer = func(ctx context.Context, from types.Account, request []byte) ([]byte, error)

// answers lets several engines answer one protocol: the first that does not
// refuse is right. A host gives its own bundles, a validator those it checked.
type answers struct {
	net network
	mu  sync.Mutex
	by  map[string][]answer
}

// add makes an engine answer a protocol.
func (a *answers) add(protocol string, limit int, f answer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.by == nil {
		a.by = map[string][]answer{}
	}
	a.by[protocol] = append(a.by[protocol], f)
	if len(a.by[protocol]) > 1 {
		return
	}
	a.net.Answer(protocol, limit, func(ctx context.Context, from types.Account, request []byte) ([]byte, error) {
		a.mu.Lock()
		list := a.by[protocol]
		a.mu.Unlock()
		var all error
		for _, f := range list {
			out, err := f(ctx, from, request)
			if err == nil {
				return out, nil
			}
			all = errors.Join(all, err)
		}
		return nil, all
	})
}

// shared is the network of an engine whose protocols others answer too.
type shared struct {
	network
	answers *answers
}

// Answer shares the protocol.
func (s shared) Answer(protocol string, limit int, f answer) { s.answers.add(protocol, limit, f) }

// Request asks a peer, or this node itself: a drawn checker may be the asker's
// own device in another role.
func (s shared) Request(ctx context.Context, to types.Account, protocol string, request []byte, limit int) ([]byte, error) {
	if to != s.Account() {
		return s.network.Request(ctx, to, protocol, request, limit)
	}
	s.answers.mu.Lock()
	list := s.answers.by[protocol]
	s.answers.mu.Unlock()
	for _, f := range list {
		if out, err := f(ctx, to, request); err == nil {
			return out, nil
		}
	}
	return nil, transport.ErrUnknown
}
