package main

import (
	"bytes"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"testing"
)

// TestHideKeys looks at a process as other users see it. The test is its own
// child, told apart by a variable.
func TestHideKeys(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("there is no /proc")
	}
	const link = "staddle:root/a#b#k=c2VjcmV0"
	if os.Getenv("STADDLE_TEST_CHILD") != "" {
		hideKeys(os.Args)
		if !slices.Contains(os.Args, link) {
			t.Error("the program lost its argument")
		}
		seen, err := os.ReadFile("/proc/self/cmdline")
		if err != nil || bytes.Contains(seen, []byte("c2Vj")) || !bytes.Contains(seen, []byte("staddle:root/a#b#k=********")) {
			t.Errorf("others see %q, %v", seen, err)
		}
		return
	}
	child := exec.Command(os.Args[0], "-test.run=^TestHideKeys$", "-test.v", link)
	child.Env = append(os.Environ(), "STADDLE_TEST_CHILD=1")
	out, err := child.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("PASS: TestHideKeys")) {
		t.Fatalf("%v\n%s", err, out)
	}
}
