package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/api"
	"github.com/staddle/staddle/deny"
	"github.com/staddle/staddle/library"
)

// Files of deny lists, in the directory deny of a home. Other programs of the
// IPFS world read them as they stand.
const (
	denyDir     = "deny"
	denySuffix  = ".deny"
	ownDenyFile = "local.deny" // what deny add writes; read last, so it wins
	ownDenyHead = "version: 1\nname: kept from leaving this machine\n---\n"
	maxDenyFile = 1 << 30 // bytes
)

// Denials are the deny lists of a home (P3). They may be asked by anyone at any
// time; changes are made one at a time and reach the disk before they count.
type Denials struct {
	dir  string
	warn func(string)

	mu    sync.Mutex // held while files change
	files []api.DenyFile
	rules atomic.Pointer[deny.List]
}

// OpenDenials reads the lists of a home. Lines that are no rules go to warn.
func OpenDenials(home string, warn func(string)) (*Denials, error) {
	d := &Denials{dir: filepath.Join(home, denyDir), warn: warn}
	return d, d.reload()
}

// Denied implements the check before every way out.
func (d *Denials) Denied(c cid.Cid) bool { return d.rules.Load().Denied(c) }

// DeniedPath is the check for what a path leads to.
func (d *Denials) DeniedPath(c cid.Cid, path string) bool { return d.rules.Load().DeniedPath(c, path) }

// reload reads all files again.
func (d *Denials) reload() error {
	names, err := filepath.Glob(filepath.Join(d.dir, "*"+denySuffix))
	if err != nil {
		return err
	}
	own := d.own()
	names = slices.DeleteFunc(names, func(n string) bool { return n == own })
	slices.Sort(names)
	fresh, files := new(deny.List), []api.DenyFile{}
	for _, name := range append(names, own) {
		before := fresh.Len()
		if err := d.read(fresh, name); err != nil {
			return err
		}
		if n := fresh.Len() - before; n > 0 {
			files = append(files, api.DenyFile{File: name, Rules: n})
		}
	}
	d.files = files
	d.rules.Store(fresh)
	return nil
}

func (d *Denials) own() string { return filepath.Join(d.dir, ownDenyFile) }

// read adds the rules of a file; one that is not there has none.
func (d *Denials) read(to *deny.List, name string) error {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read a deny list: %w", err)
	}
	defer f.Close()
	err = to.Read(io.LimitReader(f, maxDenyFile), func(line int, err error) {
		d.warn(fmt.Sprintf("%s line %d: %v", name, line, err))
	})
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// Add denies what the lines say, from now on.
func (d *Denials) Add(lines []string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	have, err := d.lines()
	if err != nil {
		return err
	}
	fresh := map[string]bool{}
	for _, l := range lines {
		fresh[l], fresh["!"+l] = true, true
	}
	have = slices.DeleteFunc(have, func(l string) bool { return fresh[l] })
	return d.write(append(have, lines...))
}

// Remove takes what the lines say off the own list, and excepts it from lists of
// others that deny it.
func (d *Denials) Remove(lines []string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	have, err := d.lines()
	if err != nil {
		return err
	}
	gone := map[string]bool{}
	for _, l := range lines {
		gone[l], gone["!"+l] = true, true
	}
	have = slices.DeleteFunc(have, func(l string) bool { return gone[l] })
	others := slices.ContainsFunc(d.files, func(f api.DenyFile) bool { return f.File != d.own() })
	if others {
		for _, l := range lines {
			have = append(have, "!"+l)
		}
	}
	return d.write(have)
}

// lines are the rules of the own list.
func (d *Denials) lines() (out []string, err error) {
	raw, err := os.ReadFile(d.own())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the own deny list: %w", err)
	}
	body := strings.TrimPrefix(string(raw), ownDenyHead)
	for l := range strings.Lines(body) {
		if l = strings.TrimSpace(l); l != "" {
			out = append(out, l)
		}
	}
	return out, nil
}

// write replaces the own list and reads all again.
func (d *Denials) write(lines []string) error {
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return err
	}
	text := ownDenyHead + strings.Join(append(lines, ""), "\n")
	if err := writeFile(d.own(), []byte(text), 0o600); err != nil {
		return fmt.Errorf("write the own deny list: %w", err)
	}
	return d.reload()
}

// Import takes a copy of a list; it replaces one of the same file name.
func (d *Denials) Import(name string) (rules int, warnings []string, err error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxDenyFile+1))
	if err == nil && len(raw) > maxDenyFile {
		err = fmt.Errorf("%s has more than %d bytes", name, maxDenyFile)
	}
	if err != nil {
		return 0, nil, err
	}
	list := new(deny.List)
	err = list.Read(bytes.NewReader(raw), func(line int, err error) {
		if len(warnings) < 100 {
			warnings = append(warnings, fmt.Sprintf("line %d is left out: %v", line, err))
		}
	})
	if err == nil && list.Len() == 0 {
		err = fmt.Errorf("%s holds no rule: %w", name, deny.ErrRule)
	}
	if err != nil {
		return 0, warnings, err
	}
	base := strings.TrimSuffix(filepath.Base(name), denySuffix) + denySuffix
	if base == ownDenyFile {
		base = "imported-" + base
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return 0, warnings, err
	}
	if err := writeFile(filepath.Join(d.dir, base), raw, 0o600); err != nil {
		return 0, warnings, err
	}
	return list.Len(), warnings, d.reload()
}

// Lists tells what is in force.
func (d *Denials) Lists() []api.DenyFile {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.files)
}

// Change does what a request says. lib finds the parts of datasets.
func (d *Denials) Change(ctx context.Context, lib *library.Library, q api.DenyRequest) (*api.DenyResult, error) {
	res := new(api.DenyResult)
	var err error
	switch q.Do {
	case api.DenyAdd, api.DenyRemove:
		var lines []string
		if lines, err = d.rulesOf(ctx, lib, q.Items, res); err != nil {
			return nil, err
		}
		if res.Changed = len(lines); q.Do == api.DenyAdd {
			err = d.Add(lines)
		} else {
			err = d.Remove(lines)
		}
	case api.DenyImport:
		for _, name := range q.Items {
			n, warnings, err := d.Import(name)
			if err != nil {
				return nil, err
			}
			res.Changed, res.Warnings = res.Changed+n, append(res.Warnings, warnings...)
		}
	case api.DenyList:
		res.Rules, err = d.lines()
	default:
		err = fmt.Errorf("%q is none of add, rm, import, ls", q.Do)
	}
	res.Lists = d.Lists()
	return res, err
}

// rulesOf gives the rules that deny the items.
func (d *Denials) rulesOf(ctx context.Context, lib *library.Library, items []string, res *api.DenyResult) (lines []string, err error) {
	for _, item := range items {
		if strings.HasPrefix(item, "/") {
			line, err := ruleOf(item)
			if err != nil {
				return nil, err
			}
			lines = append(lines, line)
			continue
		}
		ref, err := library.ParseRef(item)
		if err != nil { // a CID of another kind
			c, path, why := deny.ParseItem(item)
			if why != nil {
				return nil, errors.Join(why, err)
			}
			lines = append(lines, deny.Line(c, path))
			continue
		}
		more, err := partsOf(ctx, lib, ref, res)
		if err != nil {
			return nil, err
		}
		lines = append(lines, more...)
	}
	return lines, nil
}

// ruleOf hashes a plain path, and leaves other rules as they are.
func ruleOf(item string) (string, error) {
	if err := new(deny.List).Add(item); err != nil {
		return "", err
	}
	if !strings.HasPrefix(item, "/ipfs/") || strings.ContainsAny(item, "*\n") {
		if strings.ContainsAny(item, " \t\n\r") {
			return "", fmt.Errorf("%.80q holds white space: %w", item, deny.ErrRule)
		}
		return item, nil
	}
	c, path, err := deny.ParseItem(item)
	return deny.Line(c, path), err
}

// partsOf denies a dataset: its roots and every piece of it, since pieces can be
// asked for by themselves.
func partsOf(ctx context.Context, lib *library.Library, ref library.Ref, res *api.DenyResult) (lines []string, err error) {
	if ref.Path != "" {
		return nil, fmt.Errorf("%s is a part of a dataset: deny all of it, or a CID: %w", ref, deny.ErrRule)
	}
	err = lib.EachPart(ctx, ref, func(c cid.Cid) error {
		if len(lines) == deny.MaxRules/2 {
			return fmt.Errorf("%s has more than %d parts", ref, len(lines))
		}
		lines = append(lines, deny.Line(c, ""))
		return nil
	})
	if errors.Is(err, library.ErrNotHeld) && !ref.Dataset.IsZero() {
		res.Warnings = append(res.Warnings, fmt.Sprintf("%s: its pieces are not known here; only its root is on the list", ref))
		return append(lines, deny.Line(ref.Root(), "")), nil
	}
	return lines, err
}

// denyCall is the daemon's side of staddle deny.
func (n *Node) denyCall(ctx context.Context, q api.DenyRequest, _ *api.Out) (*api.DenyResult, error) {
	return n.deny.Change(ctx, n.lib, q)
}
