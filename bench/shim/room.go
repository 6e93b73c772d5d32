package shim

import (
	"errors"
	"fmt"
	"net"
	"os/exec"
	"runtime"
	"syscall"
	"unsafe"
)

// ErrPermission means that this user may not make a network of its own.
var ErrPermission = errors.New("needs the right to make a network namespace (root)")

// Room is a network of its own with nothing but a loopback: a program that runs
// in it reaches only what listens there, under whatever address it was told.
// So a line can lie on the way to addresses that cannot be changed.
type Room struct {
	do  chan func()
	end chan struct{}
}

// NewRoom makes a room. The error wraps ErrPermission when the user may not.
func NewRoom() (*Room, error) {
	r := &Room{do: make(chan func()), end: make(chan struct{})}
	made := make(chan error)
	go r.live(made)
	if err := <-made; err != nil {
		return nil, err
	}
	return r, nil
}

// live works on a thread in the room. It is never unlocked: the thread ends with
// the goroutine, and with it a way back that would not be one.
func (r *Room) live(made chan<- error) {
	runtime.LockOSThread()
	err := syscall.Unshare(syscall.CLONE_NEWNET)
	switch {
	case errors.Is(err, syscall.EPERM):
		err = fmt.Errorf("%w: %w", ErrPermission, err)
	case err == nil:
		err = raiseLoopback()
	}
	made <- err
	if err != nil {
		return
	}
	for {
		select {
		case f := <-r.do:
			f()
		case <-r.end:
			return
		}
	}
}

func (r *Room) run(f func()) {
	done := make(chan struct{})
	r.do <- func() { defer close(done); f() }
	<-done
}

// Listen listens on a TCP address of the room. Who accepts may be anywhere.
func (r *Room) Listen(addr string) (l net.Listener, err error) {
	r.run(func() { l, err = net.Listen("tcp", addr) })
	return l, err
}

// Start starts a program in the room.
func (r *Room) Start(c *exec.Cmd) (err error) {
	r.run(func() { err = c.Start() })
	return err
}

// Close leaves the room; it is gone with the last program in it.
func (r *Room) Close() { close(r.end) }

// raiseLoopback sets IFF_UP, as `ip link set lo up` does (netdevice(7)).
func raiseLoopback() error {
	s, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket of the room: %w", err)
	}
	defer syscall.Close(s)
	var req struct {
		name  [syscall.IFNAMSIZ]byte
		flags uint16
		_     [22]byte
	}
	copy(req.name[:], "lo")
	req.flags = syscall.IFF_UP | syscall.IFF_RUNNING
	_, _, no := syscall.Syscall(syscall.SYS_IOCTL, uintptr(s), syscall.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&req)))
	if no != 0 {
		return fmt.Errorf("raise the loopback of the room: %w", no)
	}
	return nil
}
