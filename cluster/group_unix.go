//go:build unix

package cluster

import (
	"os/exec"
	"syscall"
)

// ownGroup puts a command and its children into a process group of their own, so
// that cancelling ends all of them.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
