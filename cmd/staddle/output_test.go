package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/staddle/staddle/library"
	"github.com/staddle/staddle/store"
)

func TestSafe(t *testing.T) {
	tests := map[string]string{
		"plain größe π 目": "plain größe π 目",
		"\x1b[31m":        `\x1b[31m`,
		"a\nb\tc\rd\x00":  `a\nb\tc\rd\x00`,
		"\x7f\u0085":      `\x7f\u0085`,
		"\u202eabc\u2066": `\u202eabc\u2066`,
		"\u2028\u00a0":    "\\u2028\u00a0",
		"\xff\xfe":        `\xff\xfe`,
		`C:\x`:            `C:\\x`,
		"\ufeff\u200b":    `\ufeff\u200b`,
	}
	for in, want := range tests {
		if got := safe(in); got != want {
			t.Errorf("%q gives %s, want %s", in, got, want)
		}
	}
}

// FuzzSafe: no control character ever comes through, and two texts never look
// the same.
func FuzzSafe(f *testing.F) {
	f.Add("a\x1b]0;title\x07", "b")
	f.Add(`\x1b`, "\x1b")
	f.Fuzz(func(t *testing.T, a, b string) {
		out := safe(a)
		if i := strings.IndexFunc(out, func(r rune) bool { return r < 0x20 || r >= 0x7f && r < 0xa0 || r == 0x202e }); i >= 0 {
			t.Fatalf("%q gives %q", a, out)
		}
		if a != b && out == safe(b) {
			t.Fatalf("%q and %q both give %q", a, b, out)
		}
	})
}

func TestTextOnly(t *testing.T) {
	var b bytes.Buffer
	w := textOnly{&b}
	for _, text := range []string{"größe\n", "\ta\r\n", "cut \xc3", "\xb6 on", ""} {
		if _, err := w.Write([]byte(text)); err != nil {
			t.Errorf("%q is refused", text)
		}
	}
	for _, text := range []string{"\x1b[2J", "a\x00", "ELF binary \xff\xfe\xfd and more", "\u009b31m"} {
		if _, err := w.Write([]byte(text)); !errors.Is(err, errUsage) {
			t.Errorf("%q gives %v", text, err)
		}
	}
}

func TestBytesText(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 1 << 20: "1.0 MiB", 1<<30 - 1: "1.0 GiB",
		5 << 30: "5.0 GiB", 1 << 50: "1.0 PiB", 1<<64 - 1: "16384.0 PiB",
	} {
		if got := bytesText(n); got != want {
			t.Errorf("%d gives %s, want %s", n, got, want)
		}
	}
}

func TestClosest(t *testing.T) {
	verbs := (&app{env: func(string) string { return "" }}).root().Commands()
	for word, want := range map[string]string{
		"putt": "put", "gte": "get", "vreify": "verify", "doctr": "doctor", "version": "version", "l": "", "qqqqqq": "",
		"smash-mpa": "", // hidden
	} {
		if got := closest(word, verbs); got != want {
			t.Errorf("%q gives %q, want %q", word, got, want)
		}
	}
}

// TestExitCodes is the table of the manual.
func TestExitCodes(t *testing.T) {
	tests := []struct {
		err  error
		exit int
		code string
	}{
		{errors.New("x"), exitFailed, "failed"},
		{&marked{errUsage, "x"}, exitUsage, "usage"},
		{errNoDaemon, exitNoDaemon, "daemon.down"},
		{fmt.Errorf("open: %w", store.ErrLocked), exitLocked, "store.locked"},
		{&store.CorruptError{}, exitBad, "data.damaged"},
		{&library.BadError{What: "x", Err: fs.ErrNotExist}, exitBad, "data.damaged"},
		{&library.NotHeld{What: "x"}, exitNotFound, "not_held"},
		{&fs.PathError{Op: "open", Err: fs.ErrNotExist}, exitNotFound, "not_found"},
		{&fs.PathError{Op: "open", Err: fs.ErrPermission}, exitDenied, "denied"},
		{&store.QuotaError{}, exitFailed, "store.quota"},
		{fmt.Errorf("x: %w", context.Canceled), exitInterrupted, "interrupted"},
		{fmt.Errorf("x: %w", context.DeadlineExceeded), exitRetry, "timeout"},
		{&marked{errPartial, "x"}, exitPartial, "partial"},
	}
	for _, tt := range tests {
		var out bytes.Buffer
		a := &app{stderr: &out, env: func(string) string { return "" }}
		if got := a.exit(tt.err); got != tt.exit || reasonOf(tt.err).code != tt.code {
			t.Errorf("%v: exit %d, code %s, want %d %s", tt.err, got, reasonOf(tt.err).code, tt.exit, tt.code)
		}
		if lines := strings.Count(out.String(), "\n"); lines < 1 || lines > 2 || !strings.HasPrefix(out.String(), "error: ") {
			t.Errorf("%v: %q", tt.err, out.String())
		}
	}
	if (&app{}).exit(nil) != exitOK {
		t.Error("no error is an error")
	}
}

// played is a meter on a clock of its own.
func played(style string, steps []library.Progress, step time.Duration) string {
	var out bytes.Buffer
	a := &app{stderr: &out, progress: style, env: func(string) string { return "" }}
	m := a.meter()
	now := time.Unix(0, 0)
	m.now = func() time.Time { return now }
	w := m.watch()
	for _, p := range steps {
		w.Progress(p)
		now = now.Add(step)
	}
	m.end()
	return out.String()
}

func steady(n int) (out []library.Progress) {
	for i := range n + 1 {
		out = append(out, library.Progress{Phase: library.Reading, Done: uint64(i) << 20, Total: uint64(n) << 20})
	}
	return out
}

func TestMeterPlain(t *testing.T) {
	want := strings.Join([]string{
		"reading  10.0 MiB",
		"reading     10%  1.0 MiB/10.0 MiB  512.0 KiB/s",
		"reading     20%  2.0 MiB/10.0 MiB  512.0 KiB/s  eta 0:17",
		"reading     30%  3.0 MiB/10.0 MiB  512.0 KiB/s  eta 0:15",
		"reading     40%  4.0 MiB/10.0 MiB  512.0 KiB/s  eta 0:13",
		"reading     50%  5.0 MiB/10.0 MiB  512.0 KiB/s  eta 0:11",
		"reading     60%  6.0 MiB/10.0 MiB  512.0 KiB/s  eta 0:09",
		"reading     70%  7.0 MiB/10.0 MiB  512.0 KiB/s  eta 0:07",
		"reading     80%  8.0 MiB/10.0 MiB  512.0 KiB/s  eta 0:05",
		"reading     90%  9.0 MiB/10.0 MiB  512.0 KiB/s  eta 0:03",
		"reading    100%  10.0 MiB/10.0 MiB  512.0 KiB/s",
		"reading  100%  10.0 MiB in 22.0s", "",
	}, "\n")
	if d := cmp.Diff(want, played("auto", steady(10), 2*time.Second)); d != "" {
		t.Error(d)
	}
	// A quick job says little.
	if d := cmp.Diff("reading  10.0 MiB\nreading  100%  10.0 MiB in 0.1s\n", played("plain", steady(10), 10*time.Millisecond)); d != "" {
		t.Error(d)
	}
	if got := played("none", steady(10), time.Second); got != "" {
		t.Errorf("none gives %q", got)
	}
}

func TestMeterBar(t *testing.T) {
	stuck := append(steady(4)[:2], steady(4)[1], steady(4)[1])
	out := played("bar", stuck, 20*time.Second)
	pictures := strings.Split(out, "\r\x1b[K")
	last := pictures[len(pictures)-1]
	if !strings.HasPrefix(last, "reading    ▕█████               ▏   25%  1.0 MiB/4.0 MiB") || !strings.HasSuffix(last, "\n") {
		t.Errorf("last picture %q", last)
	}
	if strings.Contains(out, "Inf") || strings.Contains(out, "NaN") {
		t.Errorf("%q", out)
	}
	for _, p := range pictures {
		if n := len([]rune(p)); n > lineWidth+1 {
			t.Errorf("%d runes: %q", n, p)
		}
	}
}

func TestDirs(t *testing.T) {
	env := map[string]string{"HOME": "/u", "XDG_DATA_HOME": "/d", "XDG_CACHE_HOME": "relative", "XDG_RUNTIME_DIR": "/r"}
	t.Setenv("HOME", "/u")
	a := &app{env: func(name string) string { return env[name] }}
	got, err := a.dirs()
	want := dirs{"/u/.config/staddle", "/d/staddle", "/u/.local/state/staddle", "/u/.cache/staddle", "/r/staddle"}
	if err != nil || got != want || got.store() != "/d/staddle/store" || got.socket() != "/r/staddle/api.sock" {
		t.Errorf("%+v, %v", got, err)
	}
	a.home = "/h"
	got, err = a.dirs()
	want = dirs{"/h", "/h", "/h/state", "/h/cache", "/h/run"}
	if err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
}
