package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/staddle/staddle/api"
	"github.com/staddle/staddle/gateway"
	"github.com/staddle/staddle/lines"
	"github.com/staddle/staddle/transport"
	"github.com/staddle/staddle/types"
	"github.com/staddle/staddle/validate"
)

// openGateway opens the door for validators: HTTPS, and the same over streams.
func (t *town) openGateway() error {
	n := t.node
	g := gateway.New(gateway.Config{
		Device: n.id.Device, Owner: n.Account(), Chain: t.chain, Logs: t.logs, Pieces: served{t},
		Effects: notes{n}, Journal: n.store, Report: n.report,
	})
	addr := n.cfg.Gateway
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("open gateway: %w", err)
	}
	t.gateway = l
	t.closers = append(t.closers, func() { _ = l.Close() }) // Serve closed it before, as a rule
	t.parts = append(t.parts, part{"gateway", func(ctx context.Context) error { return g.Serve(ctx, l) }})
	n.host.Handle(gateway.Protocol, func(s *transport.Stream) {
		account, device := s.Remote()
		g.ServeStream(s, account, device)
	})
	return nil
}

func (t *town) gatewayAddr() string {
	if t.gateway == nil {
		return ""
	}
	return t.gateway.Addr().String()
}

// notes reports what validators say of this node.
type notes struct{ n *Node }

// Note takes one feedback.
func (x notes) Note(_ context.Context, n *lines.Notice) error {
	x.n.report("validator %s says of epoch %d: %s", n.Validator.Short(), n.Epoch, n.Values())
	return nil
}

// doors reaches other nodes' gateways: over HTTPS where the registry says, else
// over a stream.
type doors struct{ t *town }

// to is the gateway of an account.
func (d doors) to(a types.Account) (gateway.Do, error) {
	n := d.t.node
	stream := gateway.OverStream(func(ctx context.Context) (gateway.Stream, error) {
		s, err := n.host.Open(ctx, a, gateway.Protocol)
		if err != nil {
			return nil, err
		}
		return s, nil
	})
	v, err := d.t.chain.View()
	if err != nil {
		return nil, err
	}
	reg, err := v.Registry(a)
	if err != nil {
		return nil, err
	}
	if reg == nil || reg.Register.Gateway == "" {
		return stream, nil
	}
	return (&gateway.Client{Device: n.id.Device}).To(reg.Register.Gateway, reg.Register.Device), nil
}

func (d doors) seconds(e types.Epoch) (uint64, error) {
	v, err := d.t.chain.View()
	if err != nil {
		return 0, err
	}
	rec, err := v.Epoch(e)
	if err != nil {
		return 0, err
	}
	return rec.Seconds, nil
}

// maxBandwidthLog bounds the bandwidthlog of one node: 4,096 receipts of both
// sides fit many times.
const maxBandwidthLog = 16 << 20

// Log gets what an account committed for an epoch.
func (d doors) Log(ctx context.Context, of types.Account, e types.Epoch) (*validate.Log, error) {
	v, err := d.t.chain.View()
	if err != nil {
		return nil, err
	}
	claim, err := v.Claim(e, of)
	if err != nil {
		return nil, err
	}
	if claim == nil {
		return nil, fmt.Errorf("account %s committed no logs of epoch %d", of.Short(), e)
	}
	do, err := d.to(of)
	if err != nil {
		return nil, err
	}
	seconds, err := d.seconds(e)
	if err != nil {
		return nil, err
	}
	out := new(validate.Log)
	if out.Headers, err = do.Headers(ctx, seconds, &claim.Log); err != nil {
		return nil, err
	}
	if out.Exceptions, err = do.Exceptions(ctx, seconds, &claim.Log); err != nil {
		return nil, err
	}
	for i := range out.Headers {
		h := &out.Headers[i]
		if h.Role != types.LogBandwidth {
			continue
		}
		if h.Bytes > maxBandwidthLog {
			return nil, fmt.Errorf("bandwidthlog of %d bytes above %d", h.Bytes, maxBandwidthLog)
		}
		var all bytes.Buffer
		err := do.Log(ctx, seconds, h, func(line []byte) error {
			all.Write(line)
			return all.WriteByte('\n')
		})
		if err != nil {
			return nil, err
		}
		out.Bandwidth = all.Bytes()
	}
	return out, nil
}

// Smash asks a host for its answer to a secret.
func (d doors) Smash(ctx context.Context, host types.Account, chunk, seed types.Hash) (types.Hash, error) {
	do, err := d.to(host)
	if err != nil {
		return types.Hash{}, err
	}
	return do.Smash(ctx, chunk, seed)
}

// Feedback tells a node a finding.
func (d doors) Feedback(ctx context.Context, to types.Account, f *lines.Notice) error {
	do, err := d.to(to)
	if err != nil {
		return err
	}
	seconds, err := d.seconds(f.Epoch)
	if err != nil {
		return err
	}
	return do.Tell(ctx, seconds, f)
}

// writeLog writes this node's log of an epoch, by default the newest.
func (n *Node) writeLog(ctx context.Context, q api.LogRequest, w io.Writer) error {
	t, err := n.member()
	if err != nil {
		return err
	}
	role := types.LogFarmer
	for ; role.String() != q.Role; role++ {
		if role == types.LogVerdict {
			return fmt.Errorf("log %q: want farmer, buyer or bandwidth", q.Role)
		}
	}
	epochs, err := t.logs.Epochs()
	if err != nil {
		return err
	}
	if q.Epoch != nil {
		epochs = []types.Epoch{types.Epoch(*q.Epoch)}
	}
	if len(epochs) == 0 {
		return errors.New("this node has written no logs yet: it keeps and pays for nothing")
	}
	return t.logs.Lines(ctx, role, epochs[len(epochs)-1], w)
}
