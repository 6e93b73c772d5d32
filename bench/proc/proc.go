// Package proc runs programs and tells what they cost: wall and processor time
// and the most memory they held. It reads Linux's /proc.
package proc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Use is what a piece of work cost.
type Use struct {
	Wall time.Duration
	CPU  time.Duration // user and system, of all processes that took part
	RSS  int64         // most resident bytes of the largest of them
}

// Run runs a command to its end. Its output is in the error when it fails.
func Run(c *exec.Cmd) (Use, error) {
	var text bytes.Buffer
	if c.Stdout == nil {
		c.Stdout = &text
	}
	if c.Stderr == nil {
		c.Stderr = &text
	}
	began := time.Now()
	err := c.Run()
	u := Use{Wall: time.Since(began)}
	if end := c.ProcessState; end != nil { // nil: it did not start
		u.CPU = end.UserTime() + end.SystemTime()
		if r, ok := end.SysUsage().(*syscall.Rusage); ok {
			u.RSS = r.Maxrss << 10
		}
	}
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", strings.Join(c.Args, " "), err, tail(text.String()))
	}
	return u, err
}

// Output runs a command and gives what it printed, without the space around.
func Output(c *exec.Cmd) (string, error) {
	var out bytes.Buffer
	c.Stdout = &out
	_, err := Run(c)
	return strings.TrimSpace(out.String()), err
}

func tail(s string) string {
	const most = 2000
	return strings.TrimSpace(s[max(0, len(s)-most):])
}

// Daemon is a program that goes on until it is stopped.
type Daemon struct {
	cmd *exec.Cmd
	log *os.File
}

// Starter starts a command; (*exec.Cmd).Start does, unless a namespace has to.
type Starter func(*exec.Cmd) error

// Start starts a daemon that writes into a log and does not outlive this
// program.
func Start(c *exec.Cmd, logName string, start Starter) (*Daemon, error) {
	log, err := os.OpenFile(logName, os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if c.Stdout == nil {
		c.Stdout = log
	}
	c.Stderr = log
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if start == nil {
		start = (*exec.Cmd).Start
	}
	if err := start(c); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", c.Path, err), log.Close())
	}
	return &Daemon{c, log}, nil
}

// Log is the end of what the daemon has written.
func (d *Daemon) Log() string {
	b, err := io.ReadAll(io.NewSectionReader(d.log, 0, 1<<20))
	if err != nil {
		return err.Error()
	}
	return tail(string(b))
}

// Stop ends the daemon: SIGTERM, and after ten seconds SIGKILL.
func (d *Daemon) Stop() error {
	if d.cmd.ProcessState != nil {
		return nil
	}
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	timer := time.AfterFunc(10*time.Second, func() { _ = d.cmd.Process.Kill() })
	defer timer.Stop()
	_ = d.cmd.Wait() // it was told to end
	return d.log.Close()
}

// ticks is the unit of /proc/PID/stat: user space sees 100 a second on every
// Linux.
const ticks = 100

// CPU is the processor time that the daemon has used, its threads included.
func (d *Daemon) CPU() (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", d.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	return parseStat(string(b))
}

// parseStat reads fields 14 and 15, user and system time (proc_pid_stat(5)). The
// name in field 2 may hold anything, a parenthesis included.
func parseStat(s string) (time.Duration, error) {
	f := strings.Fields(s[strings.LastIndexByte(s, ')')+1:])
	if len(f) < 13 {
		return 0, fmt.Errorf("process state of %d fields, want 13 after the name", len(f))
	}
	var sum time.Duration
	for _, field := range f[11:13] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("process state: %w", err)
		}
		sum += time.Duration(n) * time.Second / ticks
	}
	return sum, nil
}

// Peak is the most resident memory since the start or ResetPeak, in bytes.
func (d *Daemon) Peak() (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	return parsePeak(string(b))
}

func parsePeak(s string) (int64, error) {
	for line := range strings.Lines(s) {
		if text, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(text), " kB"), 10, 64)
			return n << 10, err
		}
	}
	return 0, errors.New("process status has no VmHWM")
}

// ResetPeak lets Peak begin at what is resident now.
func (d *Daemon) ResetPeak() error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", d.cmd.Process.Pid), []byte("5"), 0)
}

// With measures work in which daemons take part, also when it fails: what work
// itself used is the rest.
func With(daemons []*Daemon, work func() (Use, error)) (Use, error) {
	before, err := total(daemons)
	if err != nil {
		return Use{}, err
	}
	for _, d := range daemons {
		if err := d.ResetPeak(); err != nil {
			return Use{}, err
		}
	}
	u, err := work()
	after, lost := total(daemons)
	u.CPU += max(after-before, 0)
	for _, d := range daemons {
		peak, gone := d.Peak()
		lost = errors.Join(lost, gone)
		u.RSS = max(u.RSS, peak)
	}
	return u, errors.Join(err, lost)
}

func total(daemons []*Daemon) (sum time.Duration, err error) {
	for _, d := range daemons {
		used, err := d.CPU()
		if err != nil {
			return 0, err
		}
		sum += used
	}
	return sum, nil
}

// Await looks ten times a second until ok says yes.
func Await(ctx context.Context, what string, limit time.Duration, ok func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		done, err := ok()
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not within %s: %s", limit, what)
		case <-tick.C:
		}
	}
}
