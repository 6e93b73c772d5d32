package proc

import (
	"errors"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	tests := map[string]struct {
		text string
		want time.Duration
		ok   bool
	}{
		"usual":           {"7 (ipfs) S 1 7 7 0 -1 4194560 9 0 0 0 150 25 3 4 20 0 8 0", 1750 * time.Millisecond, true},
		"name with space": {"7 (a b) c) S 1 7 7 0 -1 4194560 9 0 0 0 1 0 3 4", 10 * time.Millisecond, true},
		"cut":             {"7 (ipfs) S 1 7", 0, false},
		"no number":       {"7 (ipfs) S 1 7 7 0 -1 4194560 9 0 0 0 x 25 3", 0, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := parseStat(tt.text)
			if (err == nil) != tt.ok || tt.ok && got != tt.want {
				t.Errorf("got %s, %v; want %s", got, err, tt.want)
			}
		})
	}
}

func TestParsePeak(t *testing.T) {
	got, err := parsePeak("Name:\tx\nVmPeak:\t  900 kB\nVmHWM:\t    2048 kB\nVmRSS:\t 12 kB\n")
	if err != nil || got != 2<<20 {
		t.Errorf("got %d, %v; want %d", got, err, 2<<20)
	}
	if _, err := parsePeak("Name:\tx\n"); err == nil {
		t.Error("no error without VmHWM")
	}
}

func TestRun(t *testing.T) {
	u, err := Run(exec.Command("sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done"))
	if err != nil || u.Wall <= 0 || u.CPU <= 0 || u.RSS <= 0 {
		t.Errorf("got %+v, %v", u, err)
	}
	var exit *exec.ExitError
	if _, err := Run(exec.Command("sh", "-c", "echo why >&2; exit 3")); !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Errorf("got %v", err)
	}
}

func TestDaemon(t *testing.T) {
	d, err := Start(exec.Command("sh", "-c", "echo here; while :; do :; done"), filepath.Join(t.TempDir(), "log"), nil)
	if err != nil {
		t.Fatal(err)
	}
	u, err := With([]*Daemon{d}, func() (Use, error) {
		err := Await(t.Context(), "the daemon works", 10*time.Second, func() (bool, error) {
			used, err := d.CPU()
			return used > 50*time.Millisecond && d.Log() == "here", err
		})
		return Use{Wall: time.Second}, err
	})
	if err != nil || u.CPU <= 0 || u.RSS <= 0 || u.Wall != time.Second {
		t.Errorf("got %+v, %v", u, err)
	}
	if err := d.Stop(); err != nil {
		t.Error(err)
	}
	if _, err := d.CPU(); err == nil {
		t.Error("no error for a process that has ended")
	}
}
