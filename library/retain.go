package library

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/staddle/staddle/types"
)

// Keep says which versions of a folder stay held: of each period the newest, for
// so many periods that have one. The newest of all always stays. The zero value
// keeps all.
type Keep struct{ rules []keepRule }

type keepRule struct {
	period int // of periods
	count  int
}

// periods name a stretch of time, and the moments that are of the same one.
var periods = [...]struct{ name, layout string }{
	{"hourly", "2006-01-02 15"}, {"daily", "2006-01-02"}, {"weekly", ""}, {"monthly", "2006-01"}, {"yearly", "2006"},
}

// maxKeep is the highest count of a rule.
const maxKeep = 10_000

// ParseKeep reads a list such as daily:7,weekly:5. Periods: hourly, daily, weekly,
// monthly, yearly, each at most once; counts 1 to 10,000. "" keeps all.
func ParseKeep(s string) (k Keep, err error) {
	if s == "" {
		return k, nil
	}
	for rule := range strings.SplitSeq(s, ",") {
		r, err := parseKeepRule(rule)
		if err != nil {
			return Keep{}, err
		}
		for _, other := range k.rules {
			if other.period == r.period {
				return Keep{}, fmt.Errorf("%q: %s stands twice", clip(s), periods[r.period].name)
			}
		}
		k.rules = append(k.rules, r)
	}
	return k, nil
}

func parseKeepRule(s string) (keepRule, error) {
	name, count, _ := strings.Cut(strings.TrimSpace(s), ":")
	n, err := strconv.Atoi(count)
	for i := range periods {
		if periods[i].name == name && err == nil && n >= 1 && n <= maxKeep {
			return keepRule{i, n}, nil
		}
	}
	return keepRule{}, fmt.Errorf("%q: want hourly, daily, weekly, monthly or yearly, a colon, and 1 to %d", clip(s), maxKeep)
}

// slot names the period in which a moment lies.
func (r keepRule) slot(t time.Time) string {
	if layout := periods[r.period].layout; layout != "" {
		return t.Format(layout)
	}
	year, week := t.ISOWeek()
	return fmt.Sprintf("%d-%d", year, week)
}

// stays says which of versions, the oldest first, are kept. Days begin where zone
// says.
func (k Keep) stays(versions []Version, zone *time.Location) []bool {
	out := make([]bool, len(versions))
	for _, r := range k.rules {
		last, left := "", r.count
		for i := len(versions) - 1; i >= 0 && left > 0; i-- {
			slot := r.slot(time.UnixMilli(int64(versions[i].Added)).In(zone))
			if slot != last {
				out[i], last, left = true, slot, left-1
			}
		}
	}
	for i := range out {
		out[i] = out[i] || len(k.rules) == 0 || i == len(out)-1
	}
	return out
}

// Retaining says what Retain may let go.
type Retaining struct {
	Folder string         // or file
	Name   string         // of the dataset
	Keep   Keep           //
	Zone   *time.Location // where days begin
	Bound  func(types.DatasetID) (bool, error)
}

// Retain removes versions of a folder that its Keep does not keep, as Remove does,
// and gives them. A version stays while Bound says so, or while it is a version of
// another folder or name, too.
func (l *Library) Retain(r Retaining) (gone []Version, err error) {
	if r.Folder, err = filepath.Abs(r.Folder); err != nil {
		return nil, err
	}
	list, err := l.heldVersions(r.Folder, r.Name)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	needed := map[types.DatasetID]bool{}
	stays := r.Keep.stays(list, r.Zone)
	for i, v := range list {
		needed[v.Dataset] = needed[v.Dataset] || stays[i]
	}
	if err := l.elsewhere(r, needed); err != nil {
		return nil, err
	}
	for _, v := range list {
		if needed[v.Dataset] {
			continue
		}
		bound, err := r.Bound(v.Dataset)
		if err != nil {
			return gone, err
		}
		if bound {
			continue
		}
		if err := l.Remove(Ref{Dataset: v.Dataset}); err != nil && !errors.Is(err, ErrNotHeld) {
			return gone, err
		}
		if err := l.State.Save(nil, []types.Row{{Table: tableVersions, Key: v.key()}}); err != nil {
			return gone, err
		}
		gone = append(gone, v)
	}
	return gone, nil
}

// heldVersions lists versions of which the dataset is held, and forgets others.
func (l *Library) heldVersions(folder, name string) (out []Version, err error) {
	list, err := l.Versions(folder, name)
	var rows []types.Row
	for i, v := range list {
		_, err := l.Held(v.Dataset)
		switch {
		case err == nil:
			out = append(out, v)
		case errors.Is(err, ErrNotHeld):
			rows = append(rows, types.Row{Table: tableVersions, Key: list[i].key()})
		default:
			return nil, err
		}
	}
	if err == nil && len(rows) > 0 {
		err = l.State.Save(nil, rows)
	}
	return out, err
}

// elsewhere adds to needed what is a version of another folder or name.
func (l *Library) elsewhere(r Retaining, needed map[types.DatasetID]bool) error {
	return l.State.Scan(tableVersions, "", "", func(key string, value []byte) error {
		var v Version
		if err := types.Unmarshal(value, &v); err != nil {
			return &BadError{fmt.Sprintf("row %q of %s", key, tableVersions), err}
		}
		if v.Folder != r.Folder || v.Name != r.Name {
			needed[v.Dataset] = true
		}
		return nil
	})
}
