package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/staddle/staddle/api"
	"github.com/staddle/staddle/archive"
	"github.com/staddle/staddle/library"
	"github.com/staddle/staddle/types"
)

// The verbs of content, spoken to the daemon. Their results look like those of
// the same verbs with --offline, which work on the store in this process.

// hosting are the flags of put that only a daemon in a community can serve.
type hosting struct {
	copies   uint32
	encoding string
	epochs   uint32
	lock     string
	room     uint32
	wait     bool
}

func (h *hosting) flags(c *cobra.Command) {
	c.Flags().Uint32Var(&h.copies, "copies", 0, "replicas to have kept by hosts drawn by lot; 0: none")
	c.Flags().StringVar(&h.encoding, "encoding", "", "plain or rsa-chain (default: the community's)")
	c.Flags().Uint32Var(&h.epochs, "epochs", 0, "epochs to keep them for (default: 30 in a sim)")
	c.Flags().StringVar(&h.lock, "lock", "", "coins to prepay; what is not used comes back (default: the least)")
	c.Flags().Uint32Var(&h.room, "price-room", 4, "highest price to bear, as a multiple of the present one; it is what has to be locked")
	c.Flags().BoolVar(&h.wait, "wait", false, "wait until every copy is kept and attested")
}

func (a *app) putByDaemon(ctx context.Context, name string, f *putFlags) error {
	abs, err := filepath.Abs(name)
	if err != nil {
		return err
	}
	q := api.PutRequest{
		Path: abs, Name: f.name, Visibility: f.visibility, To: f.to, NewKey: f.newKey, Strict: f.strict,
		Copies: f.hosting.copies, Encoding: f.hosting.encoding, Epochs: f.hosting.epochs, Lock: f.hosting.lock, PriceRoom: f.hosting.room, Wait: f.hosting.wait,
		InPlace: f.inPlace, IPFS: f.ipfs, Guard: f.guard, Keep: f.keep,
	}
	var r api.PutResult
	if err := a.call(ctx, api.CallPut, q, &r); err != nil {
		return err
	}
	if a.json {
		return a.emit(struct {
			head
			api.PutResult
		}{summary, r})
	}
	a.warnAll(r.Warnings)
	a.putNotes(&r)
	if r.Plan != "" {
		a.note("plan %s  %d of %d lots kept  locked %s, likely %s", r.Plan[:8], r.Active, r.Lots, r.Locked, r.Likely)
	}
	_, err = fmt.Fprintln(a.stdout, r.Ref)
	return err
}

func (a *app) putNotes(r *api.PutResult) {
	what := "stored"
	if r.Repeated {
		what = "unchanged"
	}
	a.note("%s  %s  %s in %s", what, safe(r.Name), bytesText(r.Size), counted(uint64(r.Pieces), "piece"))
	if r.InPlace > 0 {
		a.note("in place  %s stay in the files, %s copied", bytesText(uint64(r.InPlace)), bytesText(uint64(r.Stored)))
	}
	if r.IPFS != "" {
		a.note("ipfs  %s", r.IPFS)
	}
	if s := r.Since; s != nil {
		share := library.Since{Pieces: s.Pieces, Shared: s.Shared}
		a.shared(share.Percent(), types.Millis(s.Added))
	}
	a.removedVersions(len(r.Removed))
}

func (a *app) warnAll(list []string) {
	for _, w := range list {
		fmt.Fprintf(a.stderr, "%s %s\n", a.paint(yellow, "warning:"), safe(w))
	}
}

// getWish is what flags say about a get.
type getWish struct {
	out, maxPrice string
	o             library.GetOptions
}

// getByDaemon chooses what -o means, as getting.run does.
func (a *app) getByDaemon(ctx context.Context, ref library.Ref, w getWish) error {
	text, out, o := ref.Link(), w.out, w.o
	if ref.Path != "" {
		var l api.ListResult
		if err := a.call(ctx, api.CallList, api.RefRequest{Ref: text}, &l); err != nil {
			return err
		}
		if len(l.Entries) == 1 && l.Entries[0].Name == ref.Path && l.Entries[0].Type == archive.File.String() {
			return a.fileByDaemon(ctx, ref, w)
		}
	}
	if out == "-" {
		if a.isTerminal(a.stdout) {
			return errBinary
		}
		return a.bytes(ctx, api.CallArchive, api.RefRequest{Ref: text, MaxPrice: w.maxPrice}, a.stdout)
	}
	q := api.GetRequest{Ref: text, Dir: out, Archive: isTGZ(out), Include: o.Include, Exclude: o.Exclude, Replace: o.Replace, MaxPrice: w.maxPrice}
	if out == "" {
		var err error
		if q.Dir, err = a.nameByDaemon(ctx, ref); err != nil {
			return err
		}
	}
	abs, err := filepath.Abs(q.Dir)
	if err != nil {
		return err
	}
	q.Dir = abs
	var r api.GetResult
	if err := a.call(ctx, api.CallGet, q, &r); err != nil {
		return err
	}
	if err := a.printGot(&r, q.Dir); err != nil {
		return err
	}
	if r.Skipped > 0 {
		return &marked{errPartial, counted(uint64(r.Skipped), "entry") + " left out, each with a warning"}
	}
	return nil
}

func (a *app) printGot(r *api.GetResult, dir string) error {
	if a.json {
		return a.emit(struct {
			head
			*api.GetResult
		}{summary, r})
	}
	a.warnAll(r.Warnings)
	a.note("got  %s  %s of %s, %s from peers, paid %s", safe(r.Name), bytesText(r.Bytes), counted(uint64(r.Files), "file"),
		bytesText(uint64(r.Fetched)), orZero(r.Paid))
	_, err := fmt.Fprintln(a.stdout, dir)
	return err
}

// nameByDaemon is the dataset's own name where it is safe.
func (a *app) nameByDaemon(ctx context.Context, ref library.Ref) (string, error) {
	var d api.Dataset
	if err := a.call(ctx, api.CallStat, api.RefRequest{Ref: library.Ref{Dataset: ref.Dataset, Name: ref.Name, Key: ref.Key}.Link()}, &d); err != nil {
		return "", err
	}
	return localName(d.Name, ref), nil
}

// fileByDaemon gets one file, whole or not at all.
func (a *app) fileByDaemon(ctx context.Context, ref library.Ref, w getWish) error {
	q, out := api.CatRequest{Ref: ref.Link(), Length: -1, MaxPrice: w.maxPrice}, w.out
	if out == "-" {
		return a.bytes(ctx, api.CallCat, q, a.resultWriter())
	}
	if info, err := os.Stat(out); out == "" || err == nil && info.IsDir() {
		out = filepath.Join(out, localName(path.Base(ref.Path), ref))
	}
	if _, err := os.Lstat(out); err == nil && !a.yes {
		return &failure{&marked{errUsage, fmt.Sprintf("%s is there already", out)}, "add --yes to write over it"}
	}
	err := a.output(out, true, func(w io.Writer) error { return a.bytes(ctx, api.CallCat, q, w) })
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(a.stdout, out)
	return err
}

// bytes makes a call that answers with bytes.
func (a *app) bytes(ctx context.Context, name string, req any, w io.Writer) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	err = c.Bytes(ctx, name, req, w)
	if errors.Is(err, api.ErrNotRunning) {
		return errNoDaemon
	}
	return err
}

func (a *app) listByDaemon(ctx context.Context, q api.RefRequest) error {
	var r api.ListResult
	if err := a.call(ctx, api.CallList, q, &r); err != nil {
		return err
	}
	if a.json {
		return a.emit(struct {
			head
			api.ListResult
		}{summary, r})
	}
	for _, d := range r.Datasets {
		state := stateText(d.Whole, d.InPlace, d.AtRisk)
		if d.Added == 0 {
			state = "away"
		}
		fmt.Fprintf(a.stdout, "%s  %10s  %-5s  %s  %s\n", d.Ref, bytesText(d.Size), state, whenText(d.Added), datasetName(d.Name, d.For))
	}
	for _, e := range r.Entries {
		fmt.Fprintln(a.stdout, entryLine(&e))
	}
	return nil
}

// whenText is a time of Unix milliseconds; 0 is none.
func whenText(ms int64) string {
	if ms == 0 {
		return strings.Repeat(" ", len("2006-01-02 15:04"))
	}
	return time.UnixMilli(ms).Format("2006-01-02 15:04")
}

func entryLine(e *api.Entry) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-4s %04o %12d  %s  %s", e.Type, e.Mode, e.Size, time.Unix(e.Mtime, 0).Format("2006-01-02 15:04"), safe(e.Name))
	if e.Link != "" {
		fmt.Fprintf(&b, " -> %s", safe(e.Link))
	}
	return b.String()
}

func (a *app) verifyByDaemon(ctx context.Context, refs []string) error {
	if len(refs) == 0 {
		var r api.ListResult
		if err := a.call(ctx, api.CallList, api.RefRequest{}, &r); err != nil {
			return err
		}
		for _, d := range r.Datasets {
			refs = append(refs, d.Ref)
		}
	}
	var worst error
	for _, ref := range refs {
		var r api.VerifyResult
		err := a.call(ctx, api.CallVerify, api.RefRequest{Ref: ref}, &r)
		worst = errors.Join(worst, err)
		if err == nil && !a.json {
			state := "ok"
			if r.Sealed {
				state += "  " + sealedText
			}
			fmt.Fprintf(a.stdout, "%s  %d pieces, %s  %s\n", r.Ref, r.Pieces, bytesText(r.Bytes), state)
		}
		if err == nil && a.json {
			if err := a.emit(struct {
				head
				api.VerifyResult
			}{item, r}); err != nil {
				return err
			}
		}
	}
	return worst
}

func (a *app) proveCommand() *cobra.Command {
	var q api.ProveRequest
	c := &cobra.Command{
		Use: "prove REF", Short: "challenge every host of your dataset now", Args: cobra.ExactArgs(1),
		Long: `Ask every host that keeps REF for a plan of this account to show leaves of its
replicas, chosen at random now. Exit code 8 when one of them cannot.`,
		Example: "  staddle prove films\n  staddle prove films --sample 100",
		RunE: func(c *cobra.Command, args []string) error {
			q.Ref = args[0]
			var r api.ProveResult
			if err := a.call(c.Context(), api.CallProve, q, &r); err != nil {
				return err
			}
			return a.printProof(&r)
		},
	}
	c.Flags().IntVar(&q.Samples, "sample", 30, "leaves of 1 KiB to ask each host for")
	return c
}

func (a *app) printProof(r *api.ProveResult) error {
	if a.json {
		if err := a.emit(struct {
			head
			*api.ProveResult
		}{summary, r}); err != nil {
			return err
		}
	} else {
		for _, h := range r.Hosts {
			word := "ok"
			if h.Good < h.Asked {
				word = safe(h.Why)
			}
			fmt.Fprintf(a.stdout, "%s  %d/%d leaves of %s  %d ms  %s\n", h.Host[:8], h.Good, h.Asked, counted(uint64(h.Lots), "lot"), h.Millis, word)
		}
		a.note("a host that misses a tenth would have been caught with %s%% certainty", r.Sure)
	}
	if !r.AllWhole {
		return fmt.Errorf("not every host showed all: %w", library.ErrBad)
	}
	return nil
}
