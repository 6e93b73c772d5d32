// Package deny reads lists of content that must not leave this machine, in the
// compact denylist format of the IPFS world (spec/deny.md), and answers whether
// something is on one.
//
// In memory a list is hashes of what is denied, not what is denied: whoever reads
// it learns nothing that was not known before. The last rule that matches
// decides.
//
// A List may be asked by many goroutines at once once it has been read.
package deny

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/staddle/staddle/types"
)

// MaxRules bounds the rules of all lists together, which take about 60 bytes of
// memory each.
const MaxRules = 8_000_000

// ErrRule marks a line that is no rule, or one that cannot be kept here.
var ErrRule = errors.New("not a rule of a deny list")

// rule says what holds for what it matches.
type rule struct {
	order uint32 // the highest wins
	allow bool
}

// under is a rule for all paths that begin with a text.
type under struct {
	rule
	prefix string
}

// List is the rules of any number of deny lists. The zero value denies nothing.
type List struct {
	exact    map[types.Hash]rule    // SHA-256 of MULTIHASH or MULTIHASH/path
	legacy   map[types.Hash]rule    // SHA-256 of CID/ or CID/path
	prefixes map[types.Hash][]under // by SHA-256 of MULTIHASH
	count    uint32
}

// Len is the number of rules.
func (l *List) Len() int { return int(l.count) }

// Denied is the one check before every way out (P3): whether a block must not be
// given. It goes by the hash in c, so that another codec or version of c is the
// same thing.
func (l *List) Denied(c cid.Cid) bool { return l.DeniedPath(c, "") }

// DeniedPath is Denied for what a path leads to, before it is looked up. path has
// no leading slash and no escapes. A path below something denied is denied.
func (l *List) DeniedPath(c cid.Cid, path string) bool {
	if l.count == 0 || !c.Defined() {
		return false
	}
	path = strings.Trim(path, "/")
	name := nameOf(c)
	digest := hash(name)
	best := rule{allow: true}
	best.take(l.exact[digest])
	if path != "" {
		best.take(l.exact[hash(name+"/"+path)])
	}
	for _, u := range l.prefixes[digest] {
		if strings.HasPrefix(path, u.prefix) {
			best.take(u.rule)
		}
	}
	if len(l.legacy) > 0 {
		old := cid.NewCidV1(c.Type(), c.Hash()).String() + "/"
		best.take(l.legacy[hash(old)])
		if path != "" {
			best.take(l.legacy[hash(old+path)])
		}
	}
	return !best.allow
}

// take keeps the later of two rules; the zero rule is none.
func (r *rule) take(other rule) {
	if other.order > r.order {
		*r = other
	}
}

// nameOf is the multihash of c in base58btc, by which rules go.
func nameOf(c cid.Cid) string { return c.Hash().B58String() }

func hash(s string) types.Hash { return sha256.Sum256([]byte(s)) }

// Line is the rule that denies c, or what path leads to from it, without naming
// either: // and the multihash of MULTIHASH[/path] in base58btc.
func Line(c cid.Cid, path string) string {
	text := nameOf(c)
	if path = strings.Trim(path, "/"); path != "" {
		text += "/" + path
	}
	digest := hash(text)
	mh, err := multihash.Encode(digest[:], multihash.SHA2_256)
	if err != nil {
		panic(err) // 32 bytes of SHA-256 always encode
	}
	return "//" + multihash.Multihash(mh).B58String()
}

// Add reads one line: a rule, a comment, or nothing. Hints after a rule are left
// out. Errors wrap ErrRule.
func (l *List) Add(line string) error {
	line = strings.TrimSpace(line)
	if line == "" || strings.HasPrefix(line, "#") {
		return nil
	}
	if l.count == MaxRules {
		return fmt.Errorf("more than %d rules: %w", MaxRules, ErrRule)
	}
	item, _, _ := strings.Cut(line, " ")
	item, _, _ = strings.Cut(item, "\t")
	item, allow := strings.CutPrefix(item, "!")
	r := rule{l.count + 1, allow}
	if err := l.add(item, r); err != nil {
		return err
	}
	l.count++
	return nil
}

func (l *List) add(item string, r rule) error {
	switch {
	case strings.HasPrefix(item, "//"):
		return l.addHashed(item[2:], r)
	case strings.HasPrefix(item, "/ipfs/"):
		c, path, err := ParseItem(item)
		if err != nil {
			return err
		}
		l.addPath(c, path, r)
		return nil
	case strings.HasPrefix(item, "/ipns/"):
		return nil // names are not resolved here; what they lead to has rules of its own
	}
	return fmt.Errorf("%.80q: %w", item, ErrRule)
}

func (l *List) addPath(c cid.Cid, path string, r rule) {
	name := nameOf(c)
	if prefix, ok := strings.CutSuffix(path, "*"); ok {
		if l.prefixes == nil {
			l.prefixes = map[types.Hash][]under{}
		}
		digest := hash(name)
		l.prefixes[digest] = append(l.prefixes[digest], under{r, strings.TrimSuffix(prefix, "/")})
		return
	}
	if path = strings.Trim(path, "/"); path != "" {
		name += "/" + path
	}
	put(&l.exact, hash(name), r)
}

func put(to *map[types.Hash]rule, at types.Hash, r rule) {
	if *to == nil {
		*to = map[types.Hash]rule{}
	}
	(*to)[at] = r
}

// addHashed takes a double hash: a multihash in base58btc, or the older form of 64
// hex digits.
func (l *List) addHashed(s string, r rule) error {
	if len(s) == 2*types.HashSize {
		b, err := hex.DecodeString(s)
		if err != nil {
			return fmt.Errorf("double hash %.80q: %w: %w", s, ErrRule, err)
		}
		put(&l.legacy, types.Hash(b), r)
		return nil
	}
	if len(s) > maxHashText {
		return fmt.Errorf("double hash of %d characters above limit %d: %w", len(s), maxHashText, ErrRule)
	}
	mh, err := multihash.FromB58String(s)
	if err != nil {
		return fmt.Errorf("double hash %.80q: %w: %w", s, ErrRule, err)
	}
	d, err := multihash.Decode(mh)
	if err != nil || d.Code != multihash.SHA2_256 || len(d.Digest) != types.HashSize {
		return fmt.Errorf("double hash %.80q is not of SHA-256: %w", s, ErrRule)
	}
	put(&l.exact, types.Hash(d.Digest), r)
	return nil
}

// Limits of an item, in bytes.
const (
	maxHashText = 128
	maxCIDText  = 256
	maxItem     = 4096
)

// ParseItem reads /ipfs/CID[/path] or CID[/path]; escapes of the path are undone.
// Errors wrap ErrRule.
func ParseItem(s string) (c cid.Cid, path string, err error) {
	if len(s) > maxItem {
		return c, "", fmt.Errorf("item of %d bytes above limit %d: %w", len(s), maxItem, ErrRule)
	}
	text, path, _ := strings.Cut(strings.TrimPrefix(s, "/ipfs/"), "/")
	if len(text) > maxCIDText {
		return c, "", fmt.Errorf("CID of %d characters above limit %d: %w", len(text), maxCIDText, ErrRule)
	}
	if c, err = cid.Decode(text); err != nil {
		return cid.Undef, "", fmt.Errorf("%.80q: %w: %w", text, ErrRule, err)
	}
	if path, err = unescape(path); err != nil {
		return cid.Undef, "", err
	}
	return c, path, nil
}

// unescape undoes %XX (RFC 3986, 2.1).
func unescape(s string) (string, error) {
	if !strings.Contains(s, "%") {
		return s, nil
	}
	var out strings.Builder
	for len(s) > 0 {
		if s[0] != '%' {
			out.WriteByte(s[0])
			s = s[1:]
			continue
		}
		if len(s) < 3 {
			return "", fmt.Errorf("escape %.3q: %w", s, ErrRule)
		}
		b, err := hex.DecodeString(s[1:3])
		if err != nil {
			return "", fmt.Errorf("escape %.3q: %w", s, ErrRule)
		}
		out.WriteByte(b[0])
		s = s[3:]
	}
	return out.String(), nil
}
