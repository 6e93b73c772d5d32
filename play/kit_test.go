package play

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/archive"
	"github.com/staddle/staddle/types"
)

const pieceStep = types.PieceSize

// shelf is a Source in memory that counts.
type shelf struct {
	root  cid.Cid
	name  string
	files map[string][]byte
	fail  error         // of Read
	hold  chan struct{} // Read waits for it; nil: not

	calls atomic.Int64 // of Read
	read  atomic.Int64 // bytes that a writer took
	now   atomic.Int64 // reads at work
	most  atomic.Int64
	mu    sync.Mutex
	held  map[string]bool // path and piece that were fetched
}

func newShelf(files map[string][]byte) *shelf {
	return &shelf{root: types.NodeCIDOf(types.H("staddle/test/dataset")), name: "films", files: files, held: map[string]bool{}}
}

func (s *shelf) known(root string) error {
	if root != s.name && root != s.root.String() {
		return fmt.Errorf("dataset %q: %w", root, fs.ErrNotExist)
	}
	return nil
}

func (s *shelf) Stat(_ context.Context, root, name string) (Item, error) {
	i := Item{Root: s.root, Entry: archive.Entry{Name: name, Type: archive.Dir}}
	if err := s.known(root); err != nil || name == "" {
		return i, err
	}
	if b, ok := s.files[name]; ok {
		i.Entry.Type, i.Entry.Size = archive.File, int64(len(b))
		return i, nil
	}
	for have := range s.files {
		if strings.HasPrefix(have, name+"/") {
			return i, nil
		}
	}
	return i, fmt.Errorf("%q: %w", name, fs.ErrNotExist)
}

func (s *shelf) List(_ context.Context, root, dir string) (out []archive.Entry, err error) {
	seen := map[string]bool{}
	for name, b := range s.files {
		rest, ok := strings.CutPrefix(name, dir+"/")
		if dir == "" {
			rest, ok = name, true
		}
		if !ok {
			continue
		}
		head, _, deep := strings.Cut(rest, "/")
		if seen[head] {
			continue
		}
		seen[head] = true
		e := archive.Entry{Name: path.Join(dir, head), Type: archive.File, Size: int64(len(b))}
		if deep {
			e.Type, e.Size = archive.Dir, 0
		}
		out = append(out, e)
	}
	return out, s.known(root)
}

// fetch counts pieces as if each were fetched once.
func (s *shelf) fetch(name string, at int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held[fmt.Sprintf("%s %d", name, at/pieceStep)] = true
}

func (s *shelf) fetched() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int64(len(s.held)) * pieceStep
}

func (s *shelf) Read(ctx context.Context, _, name string, part Part, w io.Writer) error {
	s.calls.Add(1)
	s.most.Store(max(s.most.Load(), s.now.Add(1)))
	defer s.now.Add(-1)
	if s.hold != nil {
		select {
		case <-s.hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	b := s.files[name]
	for at, end := part.From, part.To; at < end; {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if s.fail != nil {
			return s.fail
		}
		s.fetch(name, at)
		n := min(pieceStep-at%pieceStep, end-at)
		if _, err := w.Write(b[at : at+n]); err != nil {
			return err
		}
		s.read.Add(n)
		at += n
	}
	return nil
}

var errNobody = errors.New("nobody is left to ask")

func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{3}).Read(b)
	return b
}

// serve runs a player on loopback and gives the address of a root.
func serve(t *testing.T, s Source, l Limits) string {
	t.Helper()
	ln, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- New(s, l).Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return ln.Addr().String()
}

// client does not follow redirects, nor keep connections.
var client = &http.Client{
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Transport:     &http.Transport{DisableKeepAlives: true, DialContext: (&net.Dialer{Timeout: 30 * time.Second}).DialContext},
	Timeout:       time.Minute,
}

type answer struct {
	code int
	head http.Header
	body []byte
	err  error // while reading the body
}

// ask makes a request; head holds pairs of field and value.
func ask(t *testing.T, method, url string, head ...string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(head); i += 2 {
		if head[i] == "Host" {
			r.Host = head[i+1]
			continue
		}
		r.Header.Set(head[i], head[i+1])
	}
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var b bytes.Buffer
	_, err = b.ReadFrom(res.Body)
	return answer{res.StatusCode, res.Header, b.Bytes(), err}
}
