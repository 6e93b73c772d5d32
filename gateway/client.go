package gateway

import (
	"bufio"
	"compress/gzip"
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/staddle/staddle/keys"
	"github.com/staddle/staddle/lines"
	"github.com/staddle/staddle/types"
)

// Call is one request: a target such as "/headers/1515542149".
type Call struct {
	Method string      // empty: GET
	Target string      // path and query
	Header http.Header // may be nil
}

// Do asks one gateway. The caller closes the answer's body, which ends the
// connection; ctx bounds all of it.
type Do func(ctx context.Context, c Call) (*http.Response, error)

// Client asks gateways over HTTPS as a device.
type Client struct{ Device keys.Device }

// Get asks the gateway at host:port, which must prove to be the device want.
// The error wraps ErrDevice when it is another one.
func (c *Client) Get(ctx context.Context, addr string, want types.Device, target string) (*http.Response, error) {
	return c.To(addr, want)(ctx, Call{Target: target})
}

// To is a gateway at host:port, which must prove to be the device want.
func (c *Client) To(addr string, want types.Device) Do {
	return func(ctx context.Context, call Call) (*http.Response, error) {
		config, err := expecting(c.Device, want)
		if err != nil {
			return nil, err
		}
		config.ServerName = "device.invalid" // Go wants a name; the device is what is checked
		d := tls.Dialer{NetDialer: &net.Dialer{Timeout: 10 * time.Second}, Config: config}
		conn, err := d.DialContext(ctx, "tcp", addr)
		if err != nil {
			return nil, fmt.Errorf("reach gateway %s: %w", addr, err)
		}
		return exchange(ctx, tlsStream{conn.(*tls.Conn)}, call)
	}
}

// OverStream is a gateway behind streams of Protocol. open has proven who is at
// the other end.
func OverStream(open func(ctx context.Context) (Stream, error)) Do {
	return func(ctx context.Context, call Call) (*http.Response, error) {
		s, err := open(ctx)
		if err != nil {
			return nil, fmt.Errorf("reach gateway: %w", err)
		}
		return exchange(ctx, s, call)
	}
}

// tlsStream is a connection as a Stream. The request has a length, so the write
// side stays open: a half-closed one would look like a caller that left.
type tlsStream struct{ *tls.Conn }

// Deadline implements Stream.
func (s tlsStream) Deadline(t time.Time) error { return s.SetDeadline(t) }

// CloseWrite implements Stream.
func (s tlsStream) CloseWrite() error { return nil }

// exchange sends the request and reads the answer's head. When ctx ends before
// the body is closed, the stream gives up.
func exchange(ctx context.Context, s Stream, call Call) (*http.Response, error) {
	stop := context.AfterFunc(ctx, func() { _ = s.Deadline(time.Unix(1, 0)) })
	r, err := send(s, call)
	if err != nil {
		stop()
		return nil, errors.Join(context.Cause(ctx), fmt.Errorf("ask %.60q: %w", call.Target, err), s.Close())
	}
	r.Body = &body{ReadCloser: r.Body, stream: s, stop: stop}
	if r.Header.Get("Content-Encoding") == "gzip" {
		r.Header.Del("Content-Encoding")
		r.ContentLength = -1
		r.Body = &unzip{body: r.Body}
	}
	return r, nil
}

func send(s Stream, call Call) (*http.Response, error) {
	method := call.Method
	if method == "" {
		method = http.MethodGet
	}
	if strings.ContainsAny(call.Target+method, " \r\n") || !strings.HasPrefix(call.Target, "/") {
		return nil, fmt.Errorf("%w: %.60q", ErrPath, call.Target)
	}
	var head strings.Builder
	fmt.Fprintf(&head, "%s %s HTTP/1.1\r\nHost: device.invalid\r\nConnection: close\r\nContent-Length: 0\r\n", method, call.Target)
	if err := call.Header.Write(&head); err != nil {
		return nil, err
	}
	if _, err := io.WriteString(s, head.String()+"\r\n"); err != nil {
		return nil, err
	}
	if err := s.CloseWrite(); err != nil {
		return nil, err
	}
	limited := &io.LimitedReader{R: s, N: maxHead}
	in := bufio.NewReader(limited)
	r, err := http.ReadResponse(in, &http.Request{Method: method})
	if err != nil {
		return nil, err
	}
	limited.N = 1 << 62 // the head was in its bounds; the body has its own length
	return r, nil
}

// body closes the stream with the body.
type body struct {
	io.ReadCloser
	stream Stream
	stop   func() bool
}

// Close implements io.Closer. The body is not read to its end.
func (b *body) Close() error {
	b.stop()
	return b.stream.Close()
}

// unzip reads a compressed body; opening it waits for the first bytes.
type unzip struct {
	body io.ReadCloser
	z    *gzip.Reader
}

// Read implements io.Reader.
func (u *unzip) Read(p []byte) (int, error) {
	if u.z == nil {
		z, err := gzip.NewReader(u.body)
		if err != nil {
			return 0, fmt.Errorf("compressed answer: %w", err)
		}
		u.z = z
	}
	return u.z.Read(p)
}

// Close implements io.Closer.
func (u *unzip) Close() error { return u.body.Close() }

// RefusedError is an answer other than the one asked for.
type RefusedError struct {
	Code int // HTTP status
	Why  string
}

// Error implements error.
func (e *RefusedError) Error() string { return fmt.Sprintf("gateway says %d: %s", e.Code, e.Why) }

// ask gives the body of an answer with that status, else *RefusedError.
func (do Do) ask(ctx context.Context, call Call, want int) (io.ReadCloser, error) {
	r, err := do(ctx, call)
	if err != nil {
		return nil, err
	}
	if r.StatusCode == want {
		return r.Body, nil
	}
	why, _ := io.ReadAll(io.LimitReader(r.Body, 200))
	clean := strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return ' '
		}
		return c
	}, string(why))
	return nil, errors.Join(&RefusedError{r.StatusCode, strings.TrimSpace(clean)}, r.Body.Close())
}

func (do Do) all(ctx context.Context, target string, limit int64) ([]byte, error) {
	in, err := do.ask(ctx, Call{Target: target}, http.StatusOK)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	b, err := io.ReadAll(io.LimitReader(in, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("answer to %.60q is longer than %d bytes", target, limit)
	}
	return b, err
}

const maxHeaders = 1 << 20 // bytes of a list of log headers

// Headers asks for the headers of an epoch's logs and holds them to what the
// node committed.
func (do Do) Headers(ctx context.Context, seconds uint64, c *types.LogCommitment) (lines.Headers, error) {
	b, err := do.all(ctx, (&target{endpoint: getHeaders, seconds: seconds}).String(), maxHeaders)
	if err != nil {
		return nil, err
	}
	var h lines.Headers
	if err := types.Unmarshal(b, &h); err != nil {
		return nil, fmt.Errorf("headers of epoch %d: %w", c.Epoch, err)
	}
	return h, h.Committed(c)
}

// Exceptions asks for the block that a commitment names, as bytes that hash to
// its name; nil when it names none.
func (do Do) Exceptions(ctx context.Context, seconds uint64, c *types.LogCommitment) ([]byte, error) {
	if !c.Exceptions.Defined() {
		return nil, nil
	}
	b, err := do.all(ctx, (&target{endpoint: getExceptions, seconds: seconds}).String(), lines.MaxExceptionsBytes)
	if err != nil {
		return nil, err
	}
	_, err = lines.ParseExceptions(c.Exceptions, b)
	return b, err
}

// Log asks for one log of an epoch, compressed on the way, and gives its lines;
// at the end the error is lines.ErrLog unless they were those of the header.
func (do Do) Log(ctx context.Context, seconds uint64, h *types.LogHeader, emit lines.Emit) error {
	if h.Role < types.LogFarmer || h.Role > types.LogBandwidth {
		return fmt.Errorf("%w: no gateway gives %s logs", ErrPath, h.Role)
	}
	t := target{endpoint: getLog, role: h.Role, seconds: seconds}
	in, err := do.ask(ctx, Call{Target: t.String(), Header: http.Header{"Accept-Encoding": {"gzip"}}}, http.StatusOK)
	if err != nil {
		return err
	}
	defer in.Close()
	return lines.Check(in, h, emit)
}

// Smash asks for the answer to a secret about a piece.
func (do Do) Smash(ctx context.Context, chunk, secret types.Hash) (answer types.Hash, err error) {
	b, err := do.all(ctx, (&target{endpoint: getSmash, chunk: chunk, challenge: secret}).String(), 2*types.HashSize+1)
	if err != nil {
		return answer, err
	}
	if n, err := hex.Decode(answer[:], b[:max(0, len(b)-1)]); err != nil || n != types.HashSize || b[len(b)-1] != '\n' {
		return types.Hash{}, fmt.Errorf("SMASH answer %.80q is not 64 hex digits", b)
	}
	return answer, nil
}

// Tell sends a signed feedback about the epoch with that time.
func (do Do) Tell(ctx context.Context, seconds uint64, n *lines.Notice) error {
	t := target{endpoint: tell, seconds: seconds, notice: n}
	in, err := do.ask(ctx, Call{Method: http.MethodPost, Target: t.String()}, http.StatusNoContent)
	if err != nil {
		return err
	}
	return in.Close()
}
