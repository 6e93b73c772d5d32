package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/staddle/staddle/library"
	"github.com/staddle/staddle/node"
	"github.com/staddle/staddle/types"
)

type putFlags struct {
	name        string
	visibility  string
	to          []string
	newKey      bool
	strict      bool
	rangePieces int
	inPlace     bool
	ipfs        bool
	keep        string
	guard       bool
	hosting     hosting
	watching    watching
}

const putLong = `Pack a folder or a file into a dataset, keep it here, and publish it in the
community if this node is in one. Prints the dataset's reference. The same folder
gives the same reference, and what is stored already is not stored again.

With --copies hosts drawn by lot keep replicas until the plan ends. Coins are
locked for it; the hosts are paid by epoch, and what is not used comes back.
With --visibility me only you read it, on every machine that has your 24 words;
with members also the accounts named with --to. Names, sizes of files and contents
are encrypted before anything leaves; hosts cannot read them. Others read what they
get a link to (staddle link). Who had a key keeps what was read with it: --new-key
seals the next version so that it does not open.

Without --wait the command returns when the plan is in a block. A plan goes on
when the command is stopped; the same put again goes on with the plan that runs.

With --in-place what does not compress (films, photos, archives) is not copied:
Staddle notes where in your files the pieces are, and checks them whenever it reads
them. The files must stay as they are; when one changes, the dataset is at risk, and
staddle status, ls and verify say so. Put without --in-place makes copies again.

With --watch the command goes on, and puts the folder again when it has changed and
been quiet for --settle. It stops when more than 30 % of the files are gone: a disk
that is not mounted looks like that. A plain put confirms that they are meant to be.

With --ipfs the dataset also has the UnixFS directory that ipfs add
--cid-version=1 makes, under the same CIDs; its root is printed as a note. It takes
no room: its blocks are made of the dataset when somebody asks for them.

--keep says which versions of the folder stay held: the newest of each of the last
days, weeks, ... that have one. Others are removed as by staddle rm. The newest, and
what a plan of yours needs, always stays.`

func (a *app) putCommand() *cobra.Command {
	var f putFlags
	c := &cobra.Command{
		Use: "put PATH", Short: "publish a folder or a file; prints its reference", Args: cobra.ExactArgs(1),
		Long:    putLong,
		Example: "  staddle put ~/films\n  staddle put ~/films --in-place\n  staddle put ~/films --copies 3 --wait\n  staddle put ~/notes --watch --keep daily:7,weekly:5\n  staddle put ~/films --copies 1 --encoding plain --epochs 12\n  staddle put ~/films --offline",
		RunE: func(c *cobra.Command, args []string) error {
			a.askVisibility(&f)
			o, err := f.options(c)
			if err != nil {
				return err
			}
			if _, err := library.ParseKeep(f.keep); err != nil {
				return usage(c, "--keep %v", err)
			}
			if a.offline && f.ipfs {
				return usage(c, "--ipfs needs the daemon: leave out --offline")
			}
			if a.offline && f.hosting.copies > 0 {
				return usage(c, "--copies needs the daemon: leave out --offline")
			}
			once := func(ctx context.Context) error { return a.putByDaemon(ctx, args[0], &f) }
			if a.offline {
				once = func(ctx context.Context) error {
					return a.withLocal(ctx, func(ctx context.Context, l *local) error { return a.put(ctx, l, args[0], &f, o) })
				}
			}
			if !f.watching.on {
				return once(c.Context())
			}
			f.guard, o.Guard = true, true
			return a.watchFolder(c.Context(), args[0], &f.watching, once)
		},
	}
	c.Flags().StringVar(&f.name, "name", "", "name of the dataset (default: the folder's)")
	c.Flags().StringVar(&f.visibility, "visibility", "", "who can read it: me, members or public (default: asked on a terminal, else public)")
	c.Flags().StringArrayVar(&f.to, "to", nil, "account of a member who can read it, with --visibility members; may be repeated")
	c.Flags().BoolVar(&f.newKey, "new-key", false, "seal under a new key, so that keys of earlier versions do not open this one")
	c.Flags().BoolVar(&f.strict, "strict", false, "fail when anything would be left out")
	c.Flags().BoolVar(&f.inPlace, "in-place", false, "do not copy what can be read from the files; they must stay")
	c.Flags().BoolVar(&f.ipfs, "ipfs", false, "give the folder a UnixFS directory too, for the IPFS world")
	c.Flags().StringVar(&f.keep, "keep", "", "versions that stay held, such as daily:7,weekly:5 (default: all)")
	f.watching.flags(c)
	f.hosting.flags(c)
	c.Flags().IntVar(&f.rangePieces, "range-pieces", 0, "most pieces of a range, 4 to 256")
	_ = c.Flags().MarkHidden("range-pieces") // the flag is defined one line above
	return c
}

// askVisibility asks who can read the dataset (P1.3: asked in a market), where there
// is somebody to ask.
func (a *app) askVisibility(f *putFlags) {
	if f.visibility != "" {
		return
	}
	f.visibility = types.VisibilityPublic.String()
	in, ok := a.stdin.(*os.File)
	if a.yes || !ok || !term.IsTerminal(int(in.Fd())) || a.env("STADDLE_NO_PROMPT") != "" {
		return
	}
	fmt.Fprintf(a.stderr, "who can read it: me, members or public? [%s] ", f.visibility)
	var answer string
	if _, err := fmt.Fscanln(in, &answer); err == nil {
		f.visibility = strings.ToLower(answer)
	}
}

func (f *putFlags) options(c *cobra.Command) (library.PutOptions, error) {
	o := library.PutOptions{Name: f.name, Strict: f.strict, RangePieces: f.rangePieces, NewKey: f.newKey, InPlace: f.inPlace}
	var err error
	if o.Visibility, err = types.ParseVisibility(f.visibility); err != nil {
		return o, usage(c, "--visibility: %v", err)
	}
	switch members := o.Visibility == types.VisibilityMembers; {
	case members && len(f.to) == 0:
		return o, usage(c, "--visibility members needs --to ACCOUNT: this community has no list of members")
	case !members && len(f.to) > 0:
		return o, usage(c, "--to is for --visibility members")
	case f.ipfs && o.Visibility != types.VisibilityPublic:
		return o, usage(c, "--ipfs is for public datasets")
	case f.newKey && o.Visibility == types.VisibilityPublic:
		return o, usage(c, "--new-key: a public dataset has no key")
	}
	for _, s := range f.to {
		h, err := types.ParseHash(s)
		if err != nil {
			return o, usage(c, "--to %q is no account: %v", s, err)
		}
		o.To = append(o.To, types.Account(h))
	}
	return o, nil
}

func (a *app) put(ctx context.Context, l *local, path string, f *putFlags, o library.PutOptions) error {
	if o.Visibility != types.VisibilityPublic {
		if err := a.ensureIdentity(); err != nil {
			return err
		}
	}
	m := a.meter()
	p, err := l.Put(ctx, path, o, m.watch())
	m.end()
	if err != nil {
		return err
	}
	gone, err := a.retain(l, path, f.keep, &p)
	if err != nil {
		return err
	}
	if a.json {
		return a.emit(putSummary(&p, gone))
	}
	what := "stored"
	if p.Repeated {
		what = "unchanged"
	}
	mf := &p.Manifest
	a.note("%s  %s  %s of %s and %s as %s in %s", what, safe(mf.Name), bytesText(mf.Content),
		counted(mf.Files, "file"), counted(mf.Dirs, "directory"), bytesText(p.Attachment.Size), counted(uint64(mf.Pieces), "piece"))
	if p.InPlace > 0 {
		a.note("in place  %s stay in the files, %s copied", bytesText(uint64(p.InPlace)), bytesText(uint64(p.Stored)))
	}
	if s := p.Since; s != nil {
		a.shared(s.Percent(), s.Added)
	}
	a.removedVersions(len(gone))
	ref := p.Ref()
	_, err = fmt.Fprintln(a.stdout, ref.String())
	return err
}

// shared says what a dataset shares with the version before.
func (a *app) shared(percent int, added types.Millis) {
	a.note("%d %% shared with the version of %s", percent, dayText(time.UnixMilli(int64(added)), time.Now()))
}

// dayText is a moment as people name it: the hour today, the year in other years.
func dayText(t, now time.Time) string {
	switch {
	case t.Format(time.DateOnly) == now.Format(time.DateOnly):
		return t.Format("15:04")
	case t.Year() == now.Year():
		return t.Format("2 January")
	}
	return t.Format("2 January 2006")
}

func (a *app) removedVersions(n int) {
	if n > 0 {
		a.note("removed  %s that --keep does not keep", counted(uint64(n), "version"))
	}
}

// retain lets versions go that keep does not keep.
func (a *app) retain(l *local, path, keep string, p *library.Published) ([]library.Version, error) {
	if keep == "" {
		return nil, nil
	}
	k, err := library.ParseKeep(keep)
	if err != nil {
		return nil, err
	}
	if sponsors, err := node.Sponsors(l.store); err != nil || sponsors {
		return nil, errors.Join(err, &failure{&marked{errUsage, "--keep: only the daemon knows which versions your plans need"}, "leave out --offline"})
	}
	return l.Retain(library.Retaining{
		Folder: path, Name: p.Manifest.Name, Keep: k, Zone: time.Local,
		Bound: func(types.DatasetID) (bool, error) { return false, nil },
	})
}

func putSummary(p *library.Published, gone []library.Version) any {
	m := &p.Manifest
	ref := p.Ref()
	var since *sinceJSON
	if s := p.Since; s != nil {
		before := library.Ref{Dataset: s.Dataset}
		since = &sinceJSON{before.String(), int64(s.Added), s.Shared, s.SharedRanges}
	}
	var removed []string
	for _, v := range gone {
		ref := library.Ref{Dataset: v.Dataset}
		removed = append(removed, ref.String())
	}
	return struct {
		head
		Ref      string `json:"ref"`
		Name     string `json:"name"`
		UnixFS   string `json:"unixfs"`
		Size     uint64 `json:"size"`
		Pieces   uint32 `json:"pieces"`
		Ranges   int    `json:"ranges"`
		Files    uint64 `json:"files"`
		Dirs     uint64 `json:"dirs"`
		Symlinks uint64 `json:"symlinks"`
		Content  uint64 `json:"content"`
		Stored   int64  `json:"stored"`
		Warnings uint64 `json:"warnings"`
		Repeated bool   `json:"repeated"`
		InPlace  int64  `json:"in_place"`

		Since   *sinceJSON `json:"since,omitempty"`
		Removed []string   `json:"removed,omitempty"`
	}{
		summary, ref.String(), m.Name, m.UnixFS.String(), m.Size, m.Pieces, len(m.Ranges),
		m.Files, m.Dirs, m.Symlinks, m.Content, p.Stored, m.Warnings, p.Repeated, p.InPlace,
		since, removed,
	}
}

// sinceJSON is what a dataset shares with the version before.
type sinceJSON struct {
	Ref          string `json:"ref"`
	Added        int64  `json:"added_ms"`
	Shared       uint32 `json:"shared_pieces"`
	SharedRanges uint32 `json:"shared_ranges"`
}
