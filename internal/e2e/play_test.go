//go:build engine

package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/staddle/staddle/api"
)

// fetch gets a part of an address; length -1 means to the end.
func fetch(t *testing.T, url string, offset, length int) (*http.Response, []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	span := fmt.Sprintf("bytes=%d-", offset)
	if length >= 0 {
		span += fmt.Sprint(offset + length - 1)
	}
	r.Header.Set("Range", span)
	res, err := (&http.Client{Timeout: patience}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, b
}

// TestPlay reads by HTTP what another node holds: only what is asked for comes.
func TestPlay(t *testing.T) {
	a, b := start(t, "a"), start(t, "b", "--no-mine")
	found(a, nil, b)
	dir := filepath.Join(t.TempDir(), "films")
	film := noise(24<<20, 8)
	write(t, filepath.Join(dir, "dir", "film.mp4"), film)
	write(t, filepath.Join(dir, "notes.txt"), []byte("hello\n"))
	ref := call[api.PutResult](a, api.CallPut, api.PutRequest{Path: dir, Visibility: "public"}).Ref
	await(t, "b sees the dataset", func() bool {
		_, err := try[api.Dataset](b, api.CallStat, api.RefRequest{Ref: ref})
		return err == nil
	})

	before := received(b)
	url := strings.TrimSpace(b.does("play", ref+"/dir/film.mp4").stdout)
	if got := received(b) - before; got > 64<<10 {
		t.Fatalf("naming an address fetched %d bytes", got)
	}
	wantText(t, b.does("play", ref, "--json").stdout, `"url":"http://127.0.0.1:`)
	wantText(t, b.does("status").stdout, "plays      http://127.0.0.1:")

	began := time.Now()
	res, got := fetch(t, url, 10_000_000, 1_000_000)
	if res.StatusCode != 206 || !bytes.Equal(got, film[10_000_000:11_000_000]) || res.Header.Get("Content-Type") != "video/mp4" {
		t.Fatalf("%s, %d bytes", res.Status, len(got))
	}
	t.Logf("the first range took %s", time.Since(began))
	if n := received(b) - before; n > 1_600_000+1<<20 { // and the chain's own talk, the index, the table of contents
		t.Errorf("%d bytes came for 1,000,000", n)
	}
	res, _ = fetch(t, url, len(film), -1)
	if res.StatusCode != 416 {
		t.Errorf("behind the end: %s", res.Status)
	}
	_, list := fetch(t, strings.TrimSuffix(url, "dir/film.mp4"), 0, -1)
	wantText(t, string(list), `href="./dir/"`, `href="./notes.txt"`)

	var work sync.WaitGroup
	for i := range 24 { // more at once than a peer takes streams
		work.Go(func() {
			at := 1_000_000 * (i % 24)
			if _, part := fetch(t, url, at, 700_000); !bytes.Equal(part, film[at:at+700_000]) {
				t.Errorf("%d bytes at %d differ", len(part), at)
			}
		})
	}
	work.Wait()
	if n := received(b) - before; n > int64(len(film))*11/10+2<<20 {
		t.Errorf("%d bytes came for a film of %d", n, len(film))
	}
	whole := filepath.Join(t.TempDir(), "whole")
	b.does("get", ref, "-o", whole)
	if text, err := os.ReadFile(filepath.Join(whole, "notes.txt")); err != nil || string(text) != "hello\n" {
		t.Errorf("%q, %v", text, err)
	}
	wantText(t, b.exits(5, "play", "absent").stderr, "not held here")
}

// received is what a peer's connections have brought.
func received(p *peer) (sum int64) {
	p.t.Helper()
	for _, other := range call[api.Status](p, api.CallStatus, api.None{}).Peers {
		sum += int64(other.Received)
	}
	return sum
}
