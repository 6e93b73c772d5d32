//go:build !unix

package cluster

import "os/exec"

// ownGroup does nothing where there are no process groups: cancelling ends the
// shell, and its children end with their pipes.
func ownGroup(*exec.Cmd) {}
