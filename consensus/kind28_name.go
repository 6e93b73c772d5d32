package consensus

import (
	"sort"

	"github.com/staddle/staddle/types"
)

const (
	maxNames  = 1024 // of an account
	maxTakers = 64   // accounts that a name alone may mean
)

// name is the rule of kind 28: a name of the sender's stands for a dataset that
// is published here. Each change is a version, and all versions stay readable.
func (s *state) name(r *request, b *types.NameUpdate) (effect, error) {
	if err := types.CheckTitle(b.Name); err != nil {
		return nil, &Invalid{err}
	}
	rec, err := loadOr[types.NameRecord](&s.View, keyName(r.Sender, b.Name))
	if err != nil {
		return nil, err
	}
	if rec.Dataset == b.Dataset {
		return nil, refuse("name %q stands for dataset %s already", b.Name, b.Dataset.Short())
	}
	var data *types.DatasetRecord
	if !b.Dataset.IsZero() {
		if data, err = s.Dataset(b.Dataset); err != nil {
			return nil, err
		}
		if data == nil {
			return nil, refuse("dataset %s is not published here", b.Dataset.Short())
		}
	}
	n, err := s.count(listNames(r.Sender))
	if err != nil {
		return nil, err
	}
	if rec.Version == 0 && n >= maxNames {
		return nil, refuse("account %s has %d names, at most %d", r.Sender.Short(), n, maxNames)
	}
	return func() error { return s.rename(r.Sender, b, rec, data) }, nil
}

func (s *state) rename(owner types.Account, b *types.NameUpdate, rec *types.NameRecord, data *types.DatasetRecord) error {
	id := types.NameID(owner, b.Name)
	if rec.Version == 0 {
		rec.Owner, rec.Name, rec.Since = owner, b.Name, s.head.Height
		if err := s.enter(owner, b.Name, id); err != nil {
			return err
		}
	}
	rec.Version++
	rec.NameVersion = types.NameVersion{Dataset: b.Dataset, Height: s.head.Height, Time: s.head.Time}
	if err := s.put(keyName(owner, b.Name), rec); err != nil {
		return err
	}
	if err := s.put(keyVersion(owner, b.Name, rec.Version), &rec.NameVersion); err != nil {
		return err
	}
	if data == nil || data.Publisher != owner {
		return nil // only who published a dataset says what is newer
	}
	return s.put(keyNamed(b.Dataset), &types.NameUpdate{Name: b.Name, Dataset: b.Dataset})
}

// enter lists a name that is new.
func (s *state) enter(owner types.Account, name string, id types.Hash) error {
	if err := s.listAdd(listNames(owner), id); err != nil {
		return err
	}
	if err := s.put(keyNameByID(id), &types.NameRecord{Owner: owner, Name: name, Since: s.head.Height}); err != nil {
		return err
	}
	takers := listTakers(name)
	n, err := s.count(takers)
	if err != nil || n >= maxTakers {
		return err
	}
	return s.listAdd(takers, types.Hash(owner))
}

// NameOf is the newest version of an account's name; nil when it has none.
func (v *View) NameOf(owner types.Account, name string) (*types.NameRecord, error) {
	return load[types.NameRecord](v, keyName(owner, name))
}

// Named finds what a name alone means: the one of who took it first and has not
// given it up; nil when there is none.
func (v *View) Named(name string) (*types.NameRecord, error) {
	takers, err := v.accounts(listTakers(name))
	if err != nil {
		return nil, err
	}
	var first *types.NameRecord
	for _, a := range takers {
		rec, err := v.NameOf(a, name)
		if err != nil || rec == nil {
			return nil, orMalformed(err, "name %q of %s is listed and not there", name, a.Short())
		}
		if !rec.Dataset.IsZero() && (first == nil || rec.Since < first.Since) {
			first = rec
		}
	}
	return first, nil
}

// Names lists an account's names, those that it gave up included, in byte order.
func (v *View) Names(owner types.Account) ([]*types.NameRecord, error) {
	ids, err := v.list(listNames(owner))
	if err != nil {
		return nil, err
	}
	out := make([]*types.NameRecord, 0, len(ids))
	for _, id := range ids {
		entry, err := load[types.NameRecord](v, keyNameByID(id))
		if err != nil || entry == nil {
			return nil, orMalformed(err, "name %s is listed and not there", id.Short())
		}
		rec, err := v.NameOf(owner, entry.Name)
		if err != nil || rec == nil {
			return nil, orMalformed(err, "name %q is listed and not there", entry.Name)
		}
		out = append(out, rec)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out, nil
}

// NameVersion is a version of a name, from 1; nil when there is none.
func (v *View) NameVersion(owner types.Account, name string, version uint64) (*types.NameVersion, error) {
	return load[types.NameVersion](v, keyVersion(owner, name, version))
}

// NameAt is what a name stood for at a time: the newest version whose block is
// not later; nil when it did not exist yet.
func (v *View) NameAt(owner types.Account, name string, at types.Millis) (*types.NameVersion, error) {
	rec, err := v.NameOf(owner, name)
	if err != nil || rec == nil {
		return nil, err
	}
	var fault error
	later := sort.Search(int(rec.Version), func(i int) bool {
		n, err := v.NameVersion(owner, name, uint64(i)+1)
		if err != nil || n == nil {
			fault = orMalformed(err, "version %d of name %q is not there", i+1, name)
			return true
		}
		return n.Time > at
	})
	if fault != nil || later == 0 {
		return nil, fault
	}
	return v.NameVersion(owner, name, uint64(later))
}

// NamedAs is the name under which a dataset's publisher named it last; "" when
// never.
func (v *View) NamedAs(d types.DatasetID) (string, error) {
	n, err := load[types.NameUpdate](v, keyNamed(d))
	if err != nil || n == nil {
		return "", err
	}
	return n.Name, nil
}
