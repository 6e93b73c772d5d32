// Package api is how programs on this machine speak to the daemon: HTTP over a
// unix socket, one POST a call.
//
// A call sends one JSON object and gets lines of JSON: any number of "progress"
// and "note" lines, then one "result" or "error". Calls that give bytes answer
// with the bytes instead; an error after the first byte stands in the trailer.
// The socket's file mode is the access control: its owner may do everything.
package api

import "errors"

// Version is part of every path.
const Version = "v1"

// Progress is one line about a running call.
type Progress struct {
	Phase string `json:"phase"`
	Name  string `json:"name,omitempty"` // hostile text
	Done  uint64 `json:"done"`
	Total uint64 `json:"total"`
}

// Error is how a call failed: Code is for programs, Message and Hint are for
// people, Exit is the exit code of the command line.
type Error struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	Exit    int    `json:"exit"`
}

// Error is the message.
func (e *Error) Error() string { return e.Message }

// ErrNotRunning is the error of a client that finds no daemon.
var ErrNotRunning = errors.New("the daemon is not running")
