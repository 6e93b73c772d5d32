package host

import (
	"fmt"
	"slices"
	"strings"

	"github.com/staddle/staddle/types"
)

// Reason is why an account refuses a draw or drops a lot. It goes on chain as
// the policy of a kind 10; numbers do not change.
type Reason uint8

// Reasons.
const (
	Welcome        Reason = iota // none
	TooLarge                     // the lot is above the size that is taken
	NoRoom                       // no space for it, on the disk or under the quota
	UnwantedBuyer                // the sponsor or the publisher is on the deny list
	UnwantedMedia                // a media type is
	UnwantedBytes                // the dataset or one of its ranges is
	UnknownScheme                // encoding that this program does not know
	Unreadable                   // the dataset's description cannot be read here
	DamagedReplica               // drop only: bytes are lost
	reasonEnd
)

// String says the reason.
func (r Reason) String() string {
	return [...]string{
		"welcome", "lot too large", "no room", "sponsor not wanted", "media type not wanted",
		"bytes not wanted", "unknown encoding", "dataset not readable", "replica damaged", "unknown",
	}[min(r, reasonEnd)]
}

// Policy says what the account takes (H7). The zero value takes everything.
type Policy struct {
	MaxLot   uint64          // bytes; 0: any
	Accounts []types.Account // sponsors and publishers that are not served
	Media    []string        // media types, or their beginnings: "video/"
	// Denied reports whether a hashed deny list names a dataset or a range; nil:
	// there is none. It gets Hashed ids, so that the list itself tells nothing.
	Denied func(hashed types.Hash) bool
}

// Hashed is the form in which deny lists name datasets and ranges.
func Hashed(id types.Hash) types.Hash { return types.H("staddle/deny/1", id[:]) }

// terms is a lot's contract, as far as it never changes.
type terms struct {
	lot     types.LotID
	plan    *types.PlanRecord
	dataset *types.DatasetRecord
	ranges  []types.Range
	leaves  uint64
	copy    uint32
}

// bytes is the room that the replica takes.
func (t *terms) bytes() uint64 { return t.leaves * leafSize }

// Judge gives the first reason against a lot, before anything is transferred.
func (p *Policy) judge(t *terms) Reason {
	a := &t.dataset.Attachment
	switch {
	case p.MaxLot > 0 && t.bytes() > p.MaxLot:
		return TooLarge
	case slices.Contains(p.Accounts, t.plan.Sponsor), slices.Contains(p.Accounts, t.dataset.Publisher):
		return UnwantedBuyer
	case slices.ContainsFunc(a.MediaTypes, p.unwanted):
		return UnwantedMedia
	case p.denies(t):
		return UnwantedBytes
	}
	return Welcome
}

func (p *Policy) unwanted(media string) bool {
	return slices.ContainsFunc(p.Media, func(m string) bool { return strings.HasPrefix(media, m) })
}

func (p *Policy) denies(t *terms) bool {
	if p.Denied == nil {
		return false
	}
	return p.Denied(Hashed(t.dataset.Attachment.Dataset())) ||
		slices.ContainsFunc(t.ranges, func(r types.Range) bool { return p.Denied(Hashed(r.ID)) })
}

// check makes sure that a policy can be applied.
func (p *Policy) check() error {
	if slices.Contains(p.Media, "") {
		return fmt.Errorf("policy: an empty media type would refuse everything")
	}
	return nil
}
