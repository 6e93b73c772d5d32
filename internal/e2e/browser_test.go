//go:build browser

package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/staddle/staddle/api"
)

// tool finds a program, or skips.
func tool(t *testing.T, names ...string) string {
	t.Helper()
	for _, name := range names {
		if at, err := exec.LookPath(name); err == nil {
			return at
		}
	}
	t.Skipf("%s is not installed", names[0])
	return ""
}

// browser is a headless one that is told what to do over a pipe, by the DevTools
// protocol.
type browser struct {
	t       *testing.T
	to      io.Writer
	answers chan map[string]any
	ids     int
	session string
}

func openBrowser(t *testing.T, program string) *browser {
	t.Helper()
	theirsIn, ours, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	from, theirsOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	c := exec.Command(program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
		"--autoplay-policy=no-user-gesture-required", "--mute-audio", "--no-proxy-server", "--remote-debugging-pipe",
		"--user-data-dir="+filepath.Join(home, "profile"), "about:blank")
	c.Env = append(os.Environ(), "HOME="+home)
	c.ExtraFiles = []*os.File{theirsIn, theirsOut}
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = theirsIn.Close(), theirsOut.Close()
	b := &browser{t: t, to: ours, answers: make(chan map[string]any, 1024)}
	t.Cleanup(func() {
		_ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL) // the group that we started
		_ = c.Wait()
		_, _ = ours.Close(), from.Close()
	})
	go b.listen(from)
	return b
}

func (b *browser) listen(from io.Reader) {
	defer close(b.answers)
	r := bufio.NewReader(from)
	for {
		text, err := r.ReadBytes(0)
		if err != nil {
			return
		}
		var m map[string]any
		if json.Unmarshal(bytes.TrimSuffix(text, []byte{0}), &m) == nil && m["id"] != nil {
			b.answers <- m
		}
	}
}

// call makes one call of the protocol.
func (b *browser) call(method string, params map[string]any) map[string]any {
	b.t.Helper()
	b.ids++
	m := map[string]any{"id": b.ids, "method": method, "params": params}
	if b.session != "" {
		m["sessionId"] = b.session
	}
	text, err := json.Marshal(m)
	if err == nil {
		_, err = b.to.Write(append(text, 0))
	}
	if err != nil {
		b.t.Fatal(err)
	}
	limit := time.After(time.Minute)
	for {
		select {
		case a, open := <-b.answers:
			if !open {
				b.t.Fatalf("the browser ended during %s", method)
			}
			if int(a["id"].(float64)) != b.ids {
				continue
			}
			if a["error"] != nil {
				b.t.Fatalf("%s: %v", method, a["error"])
			}
			return a["result"].(map[string]any)
		case <-limit:
			b.t.Fatalf("no answer to %s", method)
		}
	}
}

// open makes a page.
func (b *browser) open() {
	b.t.Helper()
	target := b.call("Target.createTarget", map[string]any{"url": "about:blank"})["targetId"]
	b.session = b.call("Target.attachToTarget", map[string]any{"targetId": target, "flatten": true})["sessionId"].(string)
}

// visit goes to an address and does not wait for it.
func (b *browser) visit(url string) {
	b.t.Helper()
	b.call("Page.navigate", map[string]any{"url": url})
}

// run evaluates a script and gives its number.
func (b *browser) run(script string) float64 {
	b.t.Helper()
	r := b.call("Runtime.evaluate", map[string]any{"expression": script, "awaitPromise": true, "returnByValue": true})
	if r["exceptionDetails"] != nil {
		b.t.Fatalf("%s: %v", script, r["exceptionDetails"])
	}
	n, _ := r["result"].(map[string]any)["value"].(float64)
	return n
}

const film = `document.querySelector('video')`

// frame waits until the film shows a picture at or after a second.
func (b *browser) frame(second float64) {
	b.t.Helper()
	limit := time.Now().Add(2 * time.Minute)
	script := fmt.Sprintf(`%[1]s && %[1]s.readyState >= 2 && !%[1]s.seeking && %[1]s.currentTime >= %[2]f ? 1 : 0`, film, second)
	for b.run(script) != 1 {
		if time.Now().After(limit) {
			b.t.Fatalf("no picture at second %f", second)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// makeFilms makes an MP4 whose index stands at its end, and a WebM, of 4 Mbit/s: a
// tenth of each is encoded and repeated.
func makeFilms(t *testing.T, ffmpeg, dir string, seconds int) {
	t.Helper()
	for name, codec := range map[string][]string{
		"film.mp4":  {"-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"},
		"film.webm": {"-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8"},
	} {
		part := filepath.Join(t.TempDir(), name)
		encode := append([]string{
			"-f", "lavfi", "-i", fmt.Sprintf("testsrc2=size=640x360:rate=5:duration=%d", seconds/10), "-vf", "noise=alls=40:allf=t",
			"-g", "10", "-b:v", "4M", "-minrate", "4M", "-maxrate", "4M", "-bufsize", "4M",
		}, codec...)
		for _, args := range [][]string{append(encode, part), {"-stream_loop", "9", "-i", part, "-c", "copy", filepath.Join(dir, name)}} {
			if out, err := exec.Command(ffmpeg, append([]string{"-loglevel", "error"}, args...)...).CombinedOutput(); err != nil {
				t.Fatalf("ffmpeg: %v\n%s", err, out)
			}
		}
	}
}

// TestBrowser plays films of another node in a real browser: the first picture
// within two seconds, seeking, and at most 1.6 times the bytes that were watched.
func TestBrowser(t *testing.T) {
	chromium, ffmpeg := tool(t, "chromium", "chromium-browser", "google-chrome"), tool(t, "ffmpeg")
	dir := filepath.Join(t.TempDir(), "films")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	const seconds = 300
	makeFilms(t, ffmpeg, dir, seconds)
	a, b := start(t, "a"), start(t, "b", "--no-mine")
	found(a, nil, b)
	ref := call[api.PutResult](a, api.CallPut, api.PutRequest{Path: dir, Visibility: "public"}).Ref
	await(t, "b sees the dataset", func() bool {
		_, err := try[api.Dataset](b, api.CallStat, api.RefRequest{Ref: ref})
		return err == nil
	})
	web := openBrowser(t, chromium)
	web.open()
	web.visit(strings.TrimSpace(b.does("play", ref).stdout)) // a person begins at the list
	await(t, "the list of films", func() bool {
		return web.run(`document.readyState === 'complete' && document.links.length >= 2 ? 1 : 0`) == 1
	})
	for _, name := range []string{"film.mp4", "film.webm"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		url := strings.TrimSpace(b.does("play", ref+"/"+name).stdout)
		before, began := stored(b), time.Now()
		web.visit(url)
		web.frame(0)
		first := time.Since(began)
		// At the usual speed: a browser reads ten seconds of its own time ahead.
		web.frame(50)
		began = time.Now()
		web.run(film + `.currentTime = 200; 0`)
		web.frame(200)
		seek := time.Since(began)
		web.frame(250)
		web.run(film + `.pause(); 0`)
		played := web.run(`(() => { let s = 0, p = ` + film + `.played; for (let i = 0; i < p.length; i++) s += p.end(i) - p.start(i); return s })()`)
		got, watched := float64(stored(b)-before), played*float64(info.Size())/seconds
		t.Logf("%s of %d bytes: first picture after %s, seek %s, %.0f bytes came for %.0f watched (%.0f s): %.2f",
			name, info.Size(), first, seek, got, watched, played, got/watched)
		if first > 2*time.Second || seek > 2*time.Second {
			t.Errorf("%s: first picture after %s, seek %s; want 2 s at most", name, first, seek)
		}
		if played < 90 || got > 1.6*watched {
			t.Errorf("%s: %.0f bytes came for %.0f", name, got, watched)
		}
	}
}

// stored is what the pieces at a peer take.
func stored(p *peer) int64 {
	p.t.Helper()
	return call[api.Status](p, api.CallStatus, api.None{}).Stored.Used
}
