package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"
)

// maxLine bounds one line of an answer.
const maxLine = 16 << 20

// Client calls the daemon behind a socket.
type Client struct{ http *http.Client }

// NewClient makes a client; nothing is opened before the first call.
func NewClient(path string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}
	return &Client{&http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}
}

// Watch is told what happens during a call; nil fields are not called.
type Watch struct {
	Progress func(Progress)
	Note     func(string)
}

// Call makes a call and fills res. Errors: ErrNotRunning, *Error, or a broken
// connection.
func (c *Client) Call(ctx context.Context, name string, req, res any, w Watch) error {
	r, err := c.post(ctx, name, req)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	lines := bufio.NewScanner(r.Body)
	lines.Buffer(make([]byte, 64<<10), maxLine)
	for lines.Scan() {
		done, err := readLine(lines.Bytes(), res, w)
		if done || err != nil {
			return err
		}
	}
	return fmt.Errorf("daemon ended the call %s: %w", name, errors.Join(lines.Err(), ctx.Err(), io.ErrUnexpectedEOF))
}

func readLine(b []byte, res any, w Watch) (done bool, err error) {
	var l struct {
		line
		Result json.RawMessage `json:"result"`
	}
	if err := json.Unmarshal(b, &l); err != nil {
		return true, fmt.Errorf("read answer: %w", err)
	}
	switch {
	case l.Error != nil:
		return true, l.Error
	case l.Progress != nil && w.Progress != nil:
		w.Progress(*l.Progress)
	case l.Type == "note" && w.Note != nil:
		w.Note(l.Note)
	case l.Type == "result":
		if res == nil {
			return true, nil
		}
		return true, json.Unmarshal(l.Result, res)
	}
	return false, nil
}

// Bytes makes a call whose result is bytes and copies them to w.
func (c *Client) Bytes(ctx context.Context, name string, req any, w io.Writer) error {
	r, err := c.post(ctx, name, req)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if _, err := io.Copy(w, r.Body); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if text := r.Trailer.Get(errorTrailer); text != "" {
		e := new(Error)
		if err := json.Unmarshal([]byte(text), e); err != nil {
			return fmt.Errorf("read answer: %w", err)
		}
		return e
	}
	return nil
}

func (c *Client) post(ctx context.Context, name string, req any) (*http.Response, error) {
	body, err := json.Marshal(req)
	if err != nil {
		return nil, err
	}
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://staddle/"+Version+"/"+name, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r, err := c.http.Do(q)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, ErrNotRunning
	}
	if err != nil {
		return nil, fmt.Errorf("call %s: %w", name, err)
	}
	if r.StatusCode != http.StatusOK {
		defer r.Body.Close()
		return nil, fmt.Errorf("call %s: the daemon says %s; is it of another version?", name, r.Status)
	}
	return r, nil
}
