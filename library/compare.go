package library

import (
	"errors"

	"github.com/staddle/staddle/types"
)

// compare finds the version before. When its pieces are kept as this put is to
// keep them, it is read along: as long as every piece is the same and whole, there
// is nothing to write.
func (p *putting) compare() (err error) {
	if p.before, p.when, err = p.l.previous(p.folder.path, p.opts.Name); err != nil || p.before == nil {
		return err
	}
	if p.before.InPlace() != p.opts.InPlace {
		return nil
	}
	d, err := p.l.here(p.ctx, p.before)
	if _, missing := isMissing(err); missing || errors.Is(err, ErrNotHeld) {
		return nil // damage is healed by putting everything again
	}
	if err == nil {
		p.along = d
	}
	return err
}

// equal reports whether a piece is that of the version before, and whole here.
func (p *putting) equal(number uint32, digest types.Hash) bool {
	if number > p.before.Attachment.Pieces {
		return false
	}
	if len(p.ahead) == 0 {
		var err error
		n := min(window, p.before.Attachment.Pieces-number+1)
		if p.ahead, err = p.along.digests(number, n); err != nil {
			return false
		}
	}
	if p.ahead[0] != digest {
		return false
	}
	if _, err := p.l.Pieces.Get(digest); err != nil {
		return false
	}
	p.ahead, p.same = p.ahead[1:], number
	if p.trace != nil {
		p.trace.drop(int64(number) * types.PieceSize)
	}
	return true
}

// begin notes the job and sets room aside.
func (p *putting) begin() (err error) {
	kind := copied
	if p.opts.InPlace {
		kind = inPlace
	}
	if p.job, err = p.l.begin(p.folder.path, kind); err != nil {
		return err
	}
	p.room, err = openRoom(p.l.Reserve, p.job.owner, max(p.estimate-int64(p.same)*types.PieceSize, types.PieceSize))
	return err
}

func (p *putting) end() {
	if p.job != nil {
		p.l.end(p.job)
	}
}

// differ begins to write: something is not as it was in the version before. What
// was equal until now gains this job as an owner.
func (p *putting) differ() error {
	along := p.along
	p.along = nil
	if err := p.begin(); err != nil {
		return err
	}
	return along.each([]span{{1, p.same}}, func(_ uint32, digests []types.Hash) error {
		for _, digest := range digests {
			if err := p.adopt(digest); err != nil {
				return err
			}
		}
		return nil
	})
}

// adopt makes the job an owner of a piece that was found whole a moment ago.
func (p *putting) adopt(digest types.Hash) error {
	if ok, err := p.room.now.Adopt(digest); err != nil || ok {
		return err
	}
	list, err := p.l.placed.recipes(digest)
	if err != nil {
		return err
	}
	for i := range list {
		if p.opts.InPlace && list[i].folder == p.folder.base {
			p.place += list[i].size()
			return p.keep(p.l.placed.rows(digest, p.job.owner, &list[i].recipe))
		}
	}
	b, err := p.l.Pieces.Get(digest)
	if err != nil {
		return err
	}
	return p.room.putKnown(digest, b)
}

// members ends keeping in place: the table of contents must be readable also when
// the last file is not.
func (p *putting) members() { p.trace = nil }
