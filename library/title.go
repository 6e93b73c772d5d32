package library

import (
	"fmt"
	"strings"
	"time"

	"github.com/staddle/staddle/types"
)

// Title is a name on a community's chain (kind 28), as a reference spells it:
// staddle:COMMUNITY[/ACCOUNT]/NAME[@DATE].
type Title struct {
	Community string
	Owner     types.Account // zero: whoever took the name first
	Name      string
	At        types.Millis // the version of this time; 0: the newest
}

// parseTitle reads what follows the scheme: a title and the rest, a path.
func parseTitle(s string) (Title, string, error) {
	community, rest, _ := strings.Cut(s, "/")
	head, tail, _ := strings.Cut(rest, "/")
	t := Title{Community: community}
	if owner, err := types.ParseAccount(head); err == nil && len(head) == 2*types.HashSize {
		t.Owner = owner
		head, tail, _ = strings.Cut(tail, "/")
	}
	name, at, dated := strings.Cut(head, "@")
	t.Name = name
	if community == "" || len(community) > types.MaxCommunity {
		return t, "", fmt.Errorf("want the root of a dataset or COMMUNITY/NAME after %s", Scheme)
	}
	if err := types.CheckTitle(name); err != nil {
		return t, "", err
	}
	if !dated {
		return t, tail, nil
	}
	end, err := parseDate(at)
	t.At = end
	return t, tail, err
}

// parseDate reads 2026-11-20, which means the end of that day (UTC), or a time
// such as 2026-11-20T08:00:00Z.
func parseDate(s string) (types.Millis, error) {
	end, err := time.Parse(time.DateOnly, s)
	if err == nil {
		end = end.AddDate(0, 0, 1).Add(-time.Millisecond)
	} else if end, err = time.Parse(time.RFC3339, s); err != nil {
		return 0, fmt.Errorf("date %q: want 2026-11-20 or 2026-11-20T08:00:00Z", clip(s))
	}
	ms := end.UnixMilli()
	if ms <= 0 {
		return 0, fmt.Errorf("date %q is before 1970", clip(s))
	}
	return types.Millis(ms), nil
}

// String spells the title without the scheme.
func (t Title) String() string {
	s := t.Community + "/"
	if t.Owner != (types.Account{}) {
		s += t.Owner.String() + "/"
	}
	s += t.Name
	if t.At > 0 {
		s += "@" + time.UnixMilli(int64(t.At)).UTC().Format("2006-01-02T15:04:05.999Z07:00")
	}
	return s
}
