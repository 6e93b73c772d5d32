package bucket

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
)

// server is a bucket "test" on this machine, and the address of a prefix in it.
func server(t *testing.T, wrap func(http.Handler) http.Handler) string {
	t.Helper()
	backend := s3mem.New()
	if err := backend.CreateBucket("test"); err != nil {
		t.Fatal(err)
	}
	h := gofakes3.New(backend).Server()
	if wrap != nil {
		h = wrap(h)
	}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	t.Setenv("AWS_ACCESS_KEY_ID", "someone")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("AWS_REGION", "us-east-1")
	return strings.Replace(s.URL, "http://", "s3+http://", 1) + "/test/some/where"
}

func open(t *testing.T, address string) *Bucket {
	t.Helper()
	b, err := Open(address)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func listed(t *testing.T, b *Bucket, dir string) map[string]int64 {
	t.Helper()
	out := map[string]int64{}
	if err := b.List(dir, func(name string, size int64) error { out[name] = size; return nil }); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestObjects(t *testing.T) {
	address := server(t, nil)
	b, other := open(t, address), open(t, strings.TrimSuffix(address, "/where"))
	body := bytes.Repeat([]byte("0123456789"), 100_000)
	want := map[string]int64{}
	for i := range 3 {
		name := fmt.Sprintf("%08x.seg", i)
		want[name] = int64(len(body) - i)
		if err := b.Put("segments/"+name, body[i:]); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Put("disk", []byte("marker")); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, listed(t, b, "segments/")); d != "" {
		t.Error(d)
	}
	if got := listed(t, other, ""); len(got) != 4 || got["where/disk"] != 6 {
		t.Errorf("from above: %v", maps.Keys(got))
	}
	for _, r := range [][2]int64{{0, 1}, {5, 100_000}, {999_990, 10}, {0, 1_000_000}} {
		p := make([]byte, r[1])
		if n, err := b.ReadAt("segments/00000000.seg", p, r[0]); err != nil || n != len(p) || !bytes.Equal(p, body[r[0]:r[0]+r[1]]) {
			t.Errorf("read %v: %d bytes, %v", r, n, err)
		}
	}
	for _, off := range []int64{999_995, 1_000_000, 5_000_000} {
		p := make([]byte, 10)
		n, err := b.ReadAt("segments/00000000.seg", p, off)
		if !errors.Is(err, ErrCut) || int64(n) != max(1_000_000-off, 0) {
			t.Errorf("read behind the end at %d: %d bytes, %v", off, n, err)
		}
	}
	if got, err := b.Get("disk", 6); err != nil || string(got) != "marker" {
		t.Errorf("%q %v", got, err)
	}
	if _, err := b.Get("disk", 5); err == nil || errors.Is(err, ErrAbsent) {
		t.Errorf("above the limit: %v", err)
	}
	for range 2 {
		if err := b.Remove("disk"); err != nil {
			t.Error(err)
		}
	}
	if _, err := b.Get("disk", 6); !errors.Is(err, ErrAbsent) {
		t.Errorf("removed: %v", err)
	}
	if _, err := b.ReadAt("disk", make([]byte, 1), 0); !errors.Is(err, ErrAbsent) {
		t.Errorf("removed: %v", err)
	}
	stop := errors.New("stop")
	if err := b.List("", func(string, int64) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("list: %v", err)
	}
}

// TestTornUpload: an upload that breaks off leaves nothing, or what was there.
func TestTornUpload(t *testing.T) {
	broken := false
	b := open(t, server(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if broken && r.Method == http.MethodPut {
				r.Body = http.MaxBytesReader(w, r.Body, 1000)
			}
			h.ServeHTTP(w, r)
		})
	}))
	if err := b.Put("old", []byte("before")); err != nil {
		t.Fatal(err)
	}
	broken = true
	for _, name := range []string{"old", "new"} {
		if err := b.Put(name, make([]byte, 100_000)); err == nil {
			t.Fatalf("%s was taken", name)
		}
	}
	if d := cmp.Diff(map[string]int64{"old": 6}, listed(t, b, "")); d != "" {
		t.Fatal(d)
	}
}

func TestErrors(t *testing.T) {
	status := 0
	address := server(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if status == 0 {
				h.ServeHTTP(w, r)
				return
			}
			w.WriteHeader(status)
		})
	})
	b := open(t, address)
	for code, want := range map[int]error{403: ErrDenied, 401: ErrDenied, 404: ErrAbsent, 503: ErrUnreachable} {
		status = code
		for doing, err := range map[string]error{
			"put":  b.Put("x", []byte("x")),
			"list": b.List("", func(string, int64) error { return nil }),
			"read": func() error { _, err := b.ReadAt("x", make([]byte, 1), 0); return err }(),
			"get":  func() error { _, err := b.Get("x", 1); return err }(),
		} {
			if !errors.Is(err, want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%s, status %d: %v", doing, code, err)
			}
		}
	}
	status = 0
	none := open(t, strings.Replace(address, "/test/", "/nobucket/", 1))
	if err := none.Put("x", []byte("x")); !errors.Is(err, ErrAbsent) {
		t.Errorf("put into no bucket: %v", err)
	}
	away := open(t, "s3+http://127.0.0.1:1/test")
	if err := away.Put("x", []byte("x")); !errors.Is(err, ErrUnreachable) {
		t.Errorf("nobody there: %v", err)
	}
}

func TestAddress(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "a")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "b")
	for address, ok := range map[string]bool{
		"s3://s3.example.org/bucket":                true,
		"s3://s3.example.org:9000/bucket/a/b":       true,
		"s3+http://127.0.0.1:9000/bucket":           true,
		"s3+http://localhost/bucket":                true,
		"s3+http://s3.example.org/bucket":           false,
		"s3://key:secret@s3.example.org/bucket":     false,
		"s3://s3.example.org/":                      false,
		"s3://s3.example.org/ab":                    false,
		"s3:///bucket":                              false,
		"https://s3.example.org/bucket":             false,
		"s3://s3.example.org/bucket?x=y":            false,
		"s3://s3.example.org/bucket/a/../b":         false,
		"s3://s3.example.org/bucket/a//b":           false,
		"s3://s3.example.org/bu cket%zz":            false,
		"s3://h/bucket/" + strings.Repeat("a", 513): false,
	} {
		if _, err := Open(address); (err == nil) != ok || err != nil && (!errors.Is(err, ErrAddress) || strings.Contains(err.Error(), "secret")) {
			t.Errorf("%s: %v", address, err)
		}
	}
	if !IsAddress("s3://x") || IsAddress("/s3") {
		t.Error("IsAddress")
	}
}

func TestCredentials(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("HOME", dir)
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SHARED_CREDENTIALS_FILE", "AWS_PROFILE", "AWS_ACCESS_KEY", "AWS_SECRET_KEY"} {
		t.Setenv(name, "")
	}
	const address = "s3://s3.example.org/bucket"
	if _, err := Open(address); !errors.Is(err, ErrCredentials) {
		t.Fatalf("without credentials: %v", err)
	}
	file := filepath.Join(dir, "credentials")
	if err := os.WriteFile(file, []byte("[default]\naws_access_key_id = a\naws_secret_access_key = b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", file)
	if _, err := Open(address); err != nil {
		t.Fatal(err)
	}
}
