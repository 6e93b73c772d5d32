package host

import "syscall"

const niceness = 10

// yieldToOthers lowers the priority of this thread alone (on Linux a thread is
// what setpriority(2) counts as a process). Without the right to do so the
// worker runs as it is.
func yieldToOthers() { _ = syscall.Setpriority(syscall.PRIO_PROCESS, syscall.Gettid(), niceness) }
