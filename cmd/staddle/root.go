package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"
)

// app is one run of the command line: its streams and its global flags.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	env            func(string) string

	home     string
	json     bool
	quiet    bool
	verbose  bool
	progress string
	color    string
	offline  bool
	timeout  time.Duration
	yes      bool

	cancel context.CancelFunc // of --timeout; may be nil
	at     string             // how far the job was when last seen
}

const rootLong = `Staddle lets a community share and preserve big data without a server. A folder
becomes a dataset named by its root, hosts drawn by lot keep replicas of it, and
anyone fetches it back byte for byte.

A dataset is named staddle:ROOT, ROOT or, when it is held here, by its NAME; a
path after a slash names a file or a directory in it.

Most commands speak to the daemon (staddle up). With --offline put, get, ls, cat,
verify and rm work on the local store instead, while no daemon runs.

Exit codes: 0 done, 1 failed, 2 wrong usage or not yet there, 3 done in part,
4 not allowed, 5 not found, 6 out of time, 7 no daemon, 8 verification failed,
9 not enough coins, 11 store in use by another process,
130 interrupted. 10 and 12 are reserved for identities with a passphrase.`

// commands lists the verbs. A new verb is a new file and a line here.
func (a *app) commands() []*cobra.Command {
	list := []*cobra.Command{
		a.putCommand(), a.getCommand(), a.lsCommand(), a.catCommand(), a.playCommand(), a.verifyCommand(), a.linkCommand(), a.rmCommand(),
		a.denyCommand(), a.exportCommand(), a.importCommand(),
		a.upCommand(), a.downCommand(), a.statusCommand(), a.proveCommand(), a.communityCommand(), a.hostCommand(), a.validatorCommand(),
		a.nameCommand(), a.carCommand(), a.ipfsCommand(), a.coinCommand(), a.epochCommand(), a.logCommand(), a.simCommand(), a.diskCommand(), a.doctorCommand(), a.versionCommand(), mrCommand(),
	}
	return append(list, mrAliases()...)
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use: "staddle", Short: "share and preserve big data in a community", Long: rootLong,
		Example:       "  staddle up --background\n  staddle put ~/films\n  staddle put ~/films --offline",
		SilenceErrors: true, SilenceUsage: true, PersistentPreRunE: a.prepare,
	}
	f := root.PersistentFlags()
	f.StringVar(&a.home, "home", "", "keep everything in this directory [STADDLE_HOME]")
	f.BoolVar(&a.json, "json", false, "results as lines of JSON")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "no progress and no notes")
	f.BoolVarP(&a.verbose, "verbose", "v", false, "whole errors")
	f.StringVar(&a.progress, "progress", "auto", "auto, bar, plain, json or none")
	f.StringVar(&a.color, "color", "auto", "auto, always or never")
	f.BoolVar(&a.offline, "offline", false, "work on the local store, without daemon and network")
	f.DurationVar(&a.timeout, "timeout", 0, "give up after this time, such as 90s; 0 never")
	f.BoolVar(&a.yes, "yes", false, "answer yes to every question")
	root.AddCommand(a.commands()...)
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usage(c, "%v", err)
	})
	uniform(root)
	return root
}

// uniform makes every command of the tree answer a wrong word alike.
func uniform(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return usage(c, "%v; want: %s", err, c.UseLine())
			}
			return nil
		}
	}
	if !c.Runnable() {
		c.Args = knownVerb
		c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	}
	for _, sub := range c.Commands() {
		uniform(sub)
	}
}

// knownVerb refuses a word that is no verb and names the closest.
func knownVerb(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	err := usage(c, "%s knows no %q", c.CommandPath(), safe(args[0]))
	if near := closest(args[0], c.Commands()); near != "" {
		err.next = c.CommandPath() + " " + near + "     or     staddle help"
	}
	return err
}

// closest is the visible verb with the fewest changes to word, if they are few.
func closest(word string, verbs []*cobra.Command) string {
	best, least := "", min(len(word)*2/3, 3)+1
	for _, v := range verbs {
		if v.Hidden {
			continue
		}
		if n := distance(word, v.Name()); n < least {
			best, least = v.Name(), n
		}
	}
	return best
}

// distance counts insertions, deletions and replacements of bytes (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			before, row[j+1] = row[j+1], min(before+cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// prepare checks the global flags and starts the clock of --timeout.
func (a *app) prepare(c *cobra.Command, _ []string) error {
	for _, f := range []struct {
		name, value string
		known       []string
	}{
		{"progress", a.progress, []string{"auto", "bar", "plain", "json", "none"}},
		{"color", a.color, []string{"auto", "always", "never"}},
	} {
		if !slices.Contains(f.known, f.value) {
			return usage(c, "--%s %q is none of %v", f.name, f.value, f.known)
		}
	}
	if a.timeout < 0 {
		return usage(c, "--timeout %v is below 0", a.timeout)
	}
	if a.timeout > 0 {
		ctx, cancel := context.WithTimeout(c.Context(), a.timeout)
		a.cancel = cancel
		c.SetContext(ctx)
	}
	a.home = cmp.Or(a.home, a.env("STADDLE_HOME"))
	return nil
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "print the version", Args: cobra.NoArgs,
		Example: "  staddle version\n  staddle version --json",
		RunE: func(*cobra.Command, []string) error {
			if a.json {
				return a.emit(struct {
					head
					Version string `json:"version"`
				}{summary, version})
			}
			_, err := fmt.Fprintln(a.stdout, "staddle", version)
			return err
		},
	}
}
