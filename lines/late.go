package lines

import (
	"slices"

	"github.com/staddle/staddle/types"
)

// Late gives the lines of the late logs of the epoch (ST1): both sides of what
// their receipts prove beyond those that the epoch's result counted, so that no
// unit is paid twice. counted is the traffic of all logs that the result read,
// late that of the late ones. Each payer pays at most what the counted receipts
// leave of its lock; what is short is shared in proportion, rounded down (ST8.2).
// A line names the newest receipt and has the units that it adds. Lines ascend.
func (s *Source) Late(counted, late []Traffic, emit Emit) error {
	counted = Newest(counted)
	cut := func(more []Traffic) ([]Traffic, error) {
		before, err := s.covered(ofPayer(counted, more[0].Payer))
		if err != nil {
			return nil, err
		}
		return s.within(more, before)
	}
	return s.pairs(beyond(counted, Newest(late)), cut, emit)
}

// beyond is what late receipts add to those that were counted: of the same payer,
// payee and device only the units above. Both lists are as Newest gives them.
func beyond(counted, late []Traffic) (out []Traffic) {
	for _, t := range late {
		if i, found := slices.BinarySearchFunc(counted, t, compareDeal); found {
			t.Units -= min(t.Units, counted[i].Units)
		}
		if t.Units > 0 {
			out = append(out, t)
		}
	}
	return out
}

// ofPayer is the part of a list, as Newest gives it, that one payer signed.
func ofPayer(list []Traffic, payer types.Account) []Traffic {
	for len(list) > 0 && list[0].Payer != payer {
		list = list[payerEnd(list):]
	}
	if len(list) == 0 {
		return nil
	}
	return list[:payerEnd(list)]
}
