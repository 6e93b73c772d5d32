package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"staddle": main})
}

// TestScripts runs the program as people do; the scripts are its manual.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("STADDLE_HOME", filepath.Join(e.WorkDir, "home"))
			e.Setenv("TZ", "UTC")
			e.Setenv("LC_ALL", "C.UTF-8")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status": scriptStatus, "ndjson": scriptJSON, "noise": scriptNoise, "hostile": scriptHostile,
			"flip": scriptFlip, "same": scriptSame, "capture": scriptCapture, "estargz": scriptEstargz,
		},
		RequireExplicitExec: true,
	})
}

// status N staddle args...: runs it and wants that exit code.
func scriptStatus(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit := new(exec.ExitError)
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// ndjson FILE last TYPE: every line is an object with type and schema 1, the
// last of that type. FILE is stdout or stderr.
func scriptJSON(ts *testscript.TestScript, _ bool, args []string) {
	last := ""
	lines := bufio.NewScanner(strings.NewReader(ts.ReadFile(args[0])))
	for lines.Scan() {
		var o map[string]any
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			ts.Fatalf("%q: %v", lines.Text(), err)
		}
		if o["schema"] != 1.0 {
			ts.Fatalf("schema of %q", lines.Text())
		}
		last = fmt.Sprint(o["type"])
	}
	if last != args[1] {
		ts.Fatalf("last line is %q, want %q", last, args[1])
	}
}

// noise FILE BYTES SEED: a file that does not compress.
func scriptNoise(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	seed, err := strconv.ParseUint(args[2], 10, 8)
	ts.Check(err)
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed)}).Read(b)
	ts.Check(os.MkdirAll(filepath.Dir(ts.MkAbs(args[0])), 0o755))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o644))
}

// hostile DIR: names that would move the cursor, and one of 255 bytes.
func scriptHostile(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o755))
	for _, name := range []string{"\x1b[31mred", "new\nline", "back\\slash", "turn\u202eed", strings.Repeat("n", 255), "größe"} {
		ts.Check(os.WriteFile(filepath.Join(dir, name), []byte(name), 0o644))
	}
}

// flip DIR FILE OFFSET: flips a bit of what the files below DIR hold of FILE.
func scriptFlip(ts *testscript.TestScript, _ bool, args []string) {
	off, err := strconv.Atoi(args[2])
	ts.Check(err)
	part := []byte(ts.ReadFile(args[1]))[off : off+64]
	found := 0
	ts.Check(filepath.WalkDir(ts.MkAbs(args[0]), func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if at := bytes.Index(b, part); at >= 0 {
			found++
			b[at] ^= 1
			return os.WriteFile(name, b, 0o600)
		}
		return nil
	}))
	if found == 0 {
		ts.Fatalf("no file holds it")
	}
}

// same A B: two folders or files hold the same, with modes and times.
func scriptSame(ts *testscript.TestScript, _ bool, args []string) {
	a, b := treeText(ts, args[0]), treeText(ts, args[1])
	if a != b {
		ts.Fatalf("%s\ndiffers from\n%s", a, b)
	}
}

func treeText(ts *testscript.TestScript, dir string) string {
	var out strings.Builder
	dir = ts.MkAbs(dir)
	ts.Check(filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		text, when := "", info.ModTime().Unix()
		switch {
		case d.Type() == fs.ModeSymlink:
			text, err = os.Readlink(name)
			when = 0
		case d.Type().IsRegular():
			var b []byte
			b, err = os.ReadFile(name)
			text = strconv.Quote(string(b))
		case rel == ".":
			when = 0
		}
		fmt.Fprintf(&out, "%q %v %d %s\n", rel, info.Mode(), when, text)
		return err
	}))
	return out.String()
}

// capture NAME: puts the first word of stdout into an environment variable.
func scriptCapture(ts *testscript.TestScript, _ bool, args []string) {
	words := strings.Fields(ts.ReadFile("stdout"))
	if len(words) == 0 {
		ts.Fatalf("stdout is empty")
	}
	ts.Setenv(args[0], words[0])
}

// estargz FILE NAME: the eStargz library opens the archive and finds the name.
func scriptEstargz(ts *testscript.TestScript, _ bool, args []string) {
	b, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	r, err := estargz.Open(io.NewSectionReader(bytes.NewReader(b), 0, int64(len(b))))
	ts.Check(err)
	if _, ok := r.Lookup(args[1]); !ok {
		ts.Fatalf("no %q in it", args[1])
	}
}
