package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"github.com/staddle/staddle/api"
	"github.com/staddle/staddle/archive"
	"github.com/staddle/staddle/deny"
	"github.com/staddle/staddle/ipfs"
	"github.com/staddle/staddle/library"
	"github.com/staddle/staddle/node"
	"github.com/staddle/staddle/sponsor"
	"github.com/staddle/staddle/store"
	"github.com/staddle/staddle/store/bucket"
)

// Exit codes; 10 to 12 are those of restic.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitPartial     = 3
	exitDenied      = 4
	exitNotFound    = 5
	exitRetry       = 6
	exitNoDaemon    = 7
	exitBad         = 8
	exitFunds       = 9
	exitNoIdentity  = 10
	exitLocked      = 11
	exitPassphrase  = 12
	exitInterrupted = 130
)

// Errors of the command line itself.
var (
	errUsage    = errors.New("wrong usage")
	errNoDaemon = errors.New("no daemon is running")
	errPartial  = errors.New("done in part")
	errAnswer   = errors.New("needs an answer")
)

// reason is a line of the table that turns errors into exit codes.
type reason struct {
	is   error  // for errors.Is
	code string // in JSON; never changes its meaning
	exit int
	next string // what to do; "" when the error knows better
}

// vanished is the code of a folder that lacks many files.
const vanished = "folder.vanished"

// reasons are tried in order: the first that matches decides.
var reasons = []reason{
	{context.Canceled, "interrupted", exitInterrupted, "the same command again goes on where this one stopped"},
	{context.DeadlineExceeded, "timeout", exitRetry, "the same command again goes on; a longer --timeout gives it more time"},
	{errUsage, "usage", exitUsage, "staddle help"},
	{errAnswer, "usage.unconfirmed", exitUsage, "add --yes"},
	{errNoDaemon, "daemon.down", exitNoDaemon, "staddle up  or  add --offline"},
	{node.ErrNoCommunity, "community.none", exitNotFound, "staddle community create NAME  or  staddle community join INVITE"},
	{node.ErrNotYet, "not_yet", exitUsage, "staddle help"},
	{node.ErrTooDear, "price.too_high", exitFunds, "a higher --max-price  or  another time"},
	{node.ErrBudget, "budget.used_up", exitFunds, "tomorrow (UTC)  or  staddle up --spend-per-day COINS"},
	{sponsor.ErrFunds, "coins.too_few", exitFunds, "staddle coin balance"},
	{sponsor.ErrNotPublished, "dataset.unknown", exitNotFound, "staddle put FOLDER"},
	{errDiffers, "epoch.differs", exitBad, "staddle epoch show"},
	{store.ErrLocked, "store.locked", exitLocked, "leave out --offline while the daemon runs  or  staddle down"},
	{store.ErrNewer, "store.newer", exitFailed, "install the newest staddle"},
	{store.ErrNotStore, "store.foreign", exitFailed, "choose another directory with --home"},
	{store.ErrQuota, "store.quota", exitFailed, "free room with staddle rm  or  raise the quota"},
	{store.ErrDiskFull, "store.disk_full", exitFailed, "free space on that disk, then the same command again"},
	{bucket.ErrAddress, "usage.bucket", exitUsage, "staddle disk add s3://HOST/BUCKET/PREFIX"},
	{bucket.ErrCredentials, "store.credentials", exitDenied, "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY  or  AWS_SHARED_CREDENTIALS_FILE"},
	{bucket.ErrDenied, "store.bucket_denied", exitDenied, "check the credentials and the rights on the bucket"},
	{bucket.ErrAbsent, "store.no_bucket", exitNotFound, "make the bucket first"},
	{bucket.ErrUnreachable, "store.bucket_away", exitRetry, "the same command again, when the bucket can be reached"},
	{store.ErrDiskGone, "store.disk_gone", exitFailed, "bring the disk back and start again  or  staddle disk lost DIR"},
	{store.ErrNoDisk, "store.no_disk", exitNotFound, "staddle disk ls"},
	{store.ErrCorrupt, "data.damaged", exitBad, "staddle doctor"},
	{library.ErrVanished, vanished, exitFailed, "is the disk mounted?  staddle put FOLDER  without --watch confirms it"},
	{library.ErrAtRisk, "data.at_risk", exitBad, "bring the file back  or  staddle put FOLDER  makes a new version"},
	{library.ErrBad, "data.damaged", exitBad, "staddle verify REF  names all that is damaged; getting or putting it again heals"},
	{library.ErrOccupied, "target.occupied", exitUsage, "choose another -o  or  add --yes to write over files of the same name"},
	{library.ErrExport, "export.bad", exitBad, "the export again: staddle export REF --to DIR goes on where it stopped"},
	{library.ErrSealed, "sealed", exitDenied, "ask who published it for a link: staddle link"},
	{library.ErrAmbiguous, "reference.bad", exitUsage, "staddle ls  lists what is held here"},
	{node.ErrNoFace, "ipfs.off", exitUsage, "staddle up --ipfs /ip4/0.0.0.0/tcp/4001"},
	{ipfs.ErrCAR, "car.bad", exitBad, "get the file again"},
	{node.ErrNoName, "name.unknown", exitNotFound, "staddle name ls ACCOUNT"},
	{library.ErrNotHeld, "not_held", exitNotFound, "staddle ls  lists what is held here"},
	{deny.ErrRule, "rule.bad", exitUsage, "staddle deny --help"},
	{errPartial, "partial", exitPartial, ""},
	{fs.ErrNotExist, "not_found", exitNotFound, "check the spelling"},
	{fs.ErrExist, "target.occupied", exitUsage, "choose another -o  or  add --yes"},
	{fs.ErrPermission, "denied", exitDenied, "check who owns it"},
}

// failed is the reason of an error that no line matches.
var failed = reason{code: "failed", exit: exitFailed}

// failure is an error with its own next step.
type failure struct {
	err  error
	next string
}

// Error is what failed and why.
func (f *failure) Error() string { return f.err.Error() }

// Unwrap leads to the reason.
func (f *failure) Unwrap() error { return f.err }

// usage says what is wrong with the words of a command.
func usage(c *cobra.Command, format string, args ...any) *failure {
	return &failure{&marked{errUsage, fmt.Sprintf(format, args...)}, c.CommandPath() + " --help"}
}

// marked is a text that counts as one of the errors above.
type marked struct {
	is   error
	text string
}

// Error is the text.
func (m *marked) Error() string { return m.text }

// Is makes it one of the errors above.
func (m *marked) Is(target error) bool { return target == m.is }

func reasonOf(err error) reason {
	if e := new(api.Error); errors.As(err, &e) {
		return reason{code: e.Code, exit: e.Exit, next: e.Hint}
	}
	out := failed
	for _, r := range reasons {
		if errors.Is(err, r.is) {
			out = r
			break
		}
	}
	if f := new(failure); errors.As(err, &f) && f.next != "" {
		out.next = f.next
	}
	return out
}

// exit reports err in two lines at most and gives the exit code.
func (a *app) exit(err error) int {
	if err == nil {
		return exitOK
	}
	r := reasonOf(err)
	text := a.plain(err)
	if a.verbose {
		text = err.Error()
	}
	text = safe(strings.ReplaceAll(text, "\n", "; "))
	if a.json {
		err = writeJSON(a.stderr, struct {
			head
			Code    string `json:"code"`
			Message string `json:"message"`
			Hint    string `json:"hint,omitempty"`
			Exit    int    `json:"exit"`
		}{head{"error", 1}, r.code, text, r.next, r.exit})
		if err != nil {
			return exitFailed
		}
		return r.exit
	}
	fmt.Fprintln(a.stderr, a.paint(red, "error:"), text)
	if r.next != "" {
		fmt.Fprintln(a.stderr, "next: ", r.next)
	}
	return r.exit
}

// plain is the innermost error that tells the whole story, without the path that
// it came through the code.
func (a *app) plain(err error) string {
	if f := new(failure); errors.As(err, &f) {
		return f.Error()
	}
	switch {
	case errors.Is(err, context.Canceled):
		return "interrupted" + a.at
	case errors.Is(err, context.DeadlineExceeded):
		return "out of time" + a.at
	}
	for _, as := range []func(error) error{
		as[*library.Vanished], as[*library.AtRisk], as[*library.NotHeld], as[*library.BadError], as[*store.QuotaError], as[*store.DiskError], as[*archive.Warning],
	} {
		if inner := as(err); inner != nil {
			return inner.Error()
		}
	}
	return err.Error()
}

func as[E error](err error) error {
	var e E
	if errors.As(err, &e) {
		return e
	}
	return nil
}
