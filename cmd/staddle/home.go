package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// dirs is where files lie: by the XDG base directories, or all below one home.
type dirs struct {
	config  string // config.toml
	data    string // identity, chains, store
	state   string // logs
	cache   string // what can be made again
	runtime string // the socket of the daemon
}

// dirs finds the directories and makes none.
func (a *app) dirs() (dirs, error) {
	if a.home != "" {
		home, err := filepath.Abs(a.home)
		if err != nil {
			return dirs{}, err
		}
		return dirs{home, home, filepath.Join(home, "state"), filepath.Join(home, "cache"), filepath.Join(home, "run")}, nil
	}
	user, err := os.UserHomeDir()
	if err != nil {
		return dirs{}, &failure{fmt.Errorf("find your home directory: %w", err), "name a directory with --home"}
	}
	xdg := func(name, fallback string) string {
		if dir := a.env(name); filepath.IsAbs(dir) { // the specification says to ignore others
			return filepath.Join(dir, "staddle")
		}
		return filepath.Join(user, fallback, "staddle")
	}
	d := dirs{
		config: xdg("XDG_CONFIG_HOME", ".config"),
		data:   xdg("XDG_DATA_HOME", ".local/share"),
		state:  xdg("XDG_STATE_HOME", ".local/state"),
		cache:  xdg("XDG_CACHE_HOME", ".cache"),
	}
	d.runtime = filepath.Join(d.state, "run")
	if run := a.env("XDG_RUNTIME_DIR"); filepath.IsAbs(run) {
		d.runtime = filepath.Join(run, "staddle")
	}
	return d, nil
}

// store is the directory of pieces, blocks and tables.
func (d dirs) store() string { return filepath.Join(d.data, "store") }

// socket is where the daemon listens.
func (d dirs) socket() string { return filepath.Join(d.runtime, "api.sock") }

// makeData makes the directory of data, for its owner's eyes only.
func (d dirs) makeData() error {
	if err := os.MkdirAll(d.data, 0o700); err != nil {
		return &failure{err, "name another directory with --home"}
	}
	return nil
}
