package validate

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sync/errgroup"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/types"
)

// Logs that accounts committed are fetched once the time to commit is over and
// kept as files `held/<E>/<account>`: what is held counts as available
// (ST3) and is given to other validators.

// epochDir holds the literal logs of an epoch whose result is on chain.
func (v *Validator) epochDir(r round) string { return filepath.Join(v.cfg.Dir, r.String()) }

func (v *Validator) heldPath(e types.Epoch, a types.Account) string {
	return filepath.Join(v.cfg.Dir, "held", strconv.FormatUint(uint64(e), 10), a.String())
}

// roles are whose accounts may commit logs.
var roles = []types.Roles{types.RoleHost, types.RoleEncoder, types.RoleValidator, types.RoleSponsor, types.RoleRelay}

// committed lists the logs of an epoch that may hold more than what is derived,
// ascending by account.
func committed(now *consensus.View, e types.Epoch) (list []Used, err error) {
	for _, r := range roles {
		accounts, err := now.Role(r)
		if err != nil {
			return nil, err
		}
		for _, a := range accounts {
			claim, err := now.Claim(e, a)
			if err != nil {
				return nil, err
			}
			if claim != nil && claim.Log.Headers > 0 {
				list = append(list, Used{a, claim.Log.Root})
			}
		}
	}
	slices.SortFunc(list, compareUsed)
	return slices.Compact(list), nil
}

func compareUsed(a, b Used) int {
	return cmp.Or(bytes.Compare(a.Account[:], b.Account[:]), compareHashes(a.Root, b.Root))
}

// collect fetches the committed logs that are not held yet.
func (v *Validator) collect(ctx context.Context, now *consensus.View) error {
	if ok, err := v.deposited(now); err != nil || !ok {
		return err
	}
	first, last, err := recent(now)
	var errs []error
	for e := first; e <= last && err == nil; e++ {
		rec, err := now.Epoch(e)
		if err != nil {
			return err
		}
		wanted := rec.Collation == nil && now.Height() > now.Rules.LogsDue(e)
		if rec.Collation != nil {
			if wanted, err = lateWanted(now, e); err != nil {
				return err
			}
		}
		if wanted {
			errs = append(errs, v.collectEpoch(ctx, now, e))
		}
	}
	return errors.Join(append(errs, err)...)
}

func (v *Validator) collectEpoch(ctx context.Context, now *consensus.View, e types.Epoch) error {
	list, err := committed(now, e)
	if err != nil {
		return err
	}
	r, err := roundOf(now, e)
	if err != nil {
		return err
	}
	var g errgroup.Group
	g.SetLimit(atOnce)
	for _, u := range list {
		claim, err := now.Claim(e, u.Account)
		if err != nil {
			return err
		}
		if v.holds(e, u) || r.late && !r.takes(now, claim) {
			continue
		}
		of := owner{now.Chain, u.Account, &claim.Log}
		g.Go(func() error {
			if err := v.collectLog(ctx, of); err != nil && ctx.Err() == nil {
				v.cfg.Report("logs: account %s in epoch %d: %v", of.account.Short(), e, err)
			}
			return nil
		})
	}
	return g.Wait()
}

// holds tells whether a log is there, also from before a restart.
func (v *Validator) holds(e types.Epoch, u Used) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.held[e][u.Account] == u
}

// heldLogs lists the logs that are held for an epoch, ascending.
func (v *Validator) heldLogs(e types.Epoch) []Used {
	v.mu.Lock()
	defer v.mu.Unlock()
	list := make([]Used, 0, len(v.held[e]))
	for _, u := range v.held[e] {
		list = append(list, u)
	}
	slices.SortFunc(list, compareUsed)
	return list
}

// collectLog takes a log from the disk, or else from its account.
func (v *Validator) collectLog(ctx context.Context, of owner) error {
	if l, err := v.readLog(of.claim.Epoch, of.account); err == nil {
		if _, err := l.evidence(of); err == nil {
			v.noteHeld(of)
			return nil
		}
	}
	ctx, cancel := context.WithTimeout(ctx, v.cfg.Patience)
	defer cancel()
	l, err := v.cfg.Peers.Log(ctx, of.account, of.claim.Epoch)
	if err != nil {
		return err
	}
	return v.keepLog(of, l)
}

// keepLog checks a log and writes it down.
func (v *Validator) keepLog(of owner, l *Log) error {
	if _, err := l.evidence(of); err != nil {
		return err
	}
	path := v.heldPath(of.claim.Epoch, of.account)
	if err := writeFile(path, types.Marshal(l)); err != nil {
		return err
	}
	v.noteHeld(of)
	return nil
}

func (v *Validator) noteHeld(of owner) {
	v.mu.Lock()
	defer v.mu.Unlock()
	e := of.claim.Epoch
	if v.held[e] == nil {
		v.held[e] = map[types.Account]Used{}
	}
	v.held[e][of.account] = Used{of.account, of.claim.Root}
	for old := range v.held {
		if old+keepEpochs < e {
			delete(v.held, old)
		}
	}
}

func (v *Validator) readLog(e types.Epoch, a types.Account) (*Log, error) {
	raw, err := os.ReadFile(v.heldPath(e, a))
	if err != nil {
		return nil, err
	}
	if len(raw) > MaxLogBytes {
		return nil, fmt.Errorf("%w: %d bytes above %d", ErrLog, len(raw), MaxLogBytes)
	}
	l := new(Log)
	return l, types.Unmarshal(raw, l)
}

// evidenceOf reads a held log with the root that is wanted.
func (v *Validator) evidenceOf(now *consensus.View, e types.Epoch, u Used) (*evidence, error) {
	claim, err := now.Claim(e, u.Account)
	if err != nil {
		return nil, err
	}
	if claim == nil || claim.Log.Root != u.Root {
		return nil, fmt.Errorf("%w: account %s did not commit %s in epoch %d", ErrLog, u.Account.Short(), u.Root.Short(), e)
	}
	l, err := v.readLog(e, u.Account)
	if err != nil {
		return nil, fmt.Errorf("log of %s: %w", u.Account.Short(), err)
	}
	return l.evidence(owner{now.Chain, u.Account, &claim.Log})
}

// fetchLog gets a log from another validator, part by part.
func (v *Validator) fetchLog(ctx context.Context, from types.Account, of owner) error {
	var raw []byte
	for {
		q := &request{Op: opLog, Epoch: of.claim.Epoch, Account: of.account, Offset: uint64(len(raw))}
		b, err := v.ask(ctx, v.cfg.Patience, from, call{Protocol, q, maxPart + 64})
		if err != nil {
			return err
		}
		var p part
		if err := types.Unmarshal(b, &p); err != nil {
			return err
		}
		if raw = append(raw, p.Bytes...); uint64(len(raw)) >= p.Total {
			break
		}
		if len(p.Bytes) == 0 {
			return fmt.Errorf("%w: %d bytes of %d", ErrLog, len(raw), p.Total)
		}
	}
	l := new(Log)
	if err := types.Unmarshal(raw, l); err != nil {
		return fmt.Errorf("%w: %w", ErrLog, err)
	}
	return v.keepLog(of, l)
}

// giveLog answers opLog.
func (v *Validator) giveLog(q *request) ([]byte, error) {
	f, err := os.Open(v.heldPath(q.Epoch, q.Account))
	if err != nil {
		return nil, fmt.Errorf("log of %s for epoch %d is not held here: %w", q.Account.Short(), q.Epoch, err)
	}
	defer f.Close() // only read
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	size := uint64(info.Size())
	if q.Offset > size {
		return nil, fmt.Errorf("log of %d bytes, asked from %d on", size, q.Offset)
	}
	b := make([]byte, min(size-q.Offset, maxPart))
	if _, err := f.ReadAt(b, int64(q.Offset)); err != nil {
		return nil, err
	}
	return types.Marshal(&part{size, b}), nil
}

// writeFile replaces a file by whole contents, durable.
func writeFile(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(f.Name()))
	}
	return nil
}
