package validate

import (
	"fmt"

	"github.com/staddle/staddle/types"
)

// Rows of this package.
const (
	table = "validate"

	rowCursor    = "cursor"
	keyLots      = "lot/"    // lot: height at which it last concerned us
	keyBundles   = "bundle/" // epoch host beacon: signature and bundle that we hold
	keyJudged    = "judged/" // epoch host root: a posted bundle that we looked into
	keyStated    = "stated/" // epoch host validator: statement on service
	keyResult    = "result/" // epoch: the result that we signed
	keyLate      = "late/"   // epoch: the result of its late logs that we signed
	keyAnswer    = "answer/" // epoch host chunk: a host's wrong answer to a SMASH
	keySent      = "sent/"   // epoch: feedback was given
	keepEpochs   = 12        // how long rows of an epoch are kept after it
	keepLots     = 512       // blocks for which a lot is looked at after the last event
	updatesATime = 256       // blocks read in one step
)

func epochKey(prefix string, e types.Epoch, parts ...types.Hash) string {
	b := append([]byte(prefix), types.Be64(uint64(e))...)
	for i := range parts {
		b = append(b, parts[i][:]...)
	}
	return string(b)
}

func (v *Validator) save(rows ...types.Row) error {
	for i := range rows {
		rows[i].Table = table
	}
	if err := v.cfg.Store.Save(nil, rows); err != nil {
		return fmt.Errorf("save: %w", err)
	}
	return nil
}

// load decodes a row; false when there is none.
func (v *Validator) load(key string, into types.Decodable) (bool, error) {
	b, ok, err := v.cfg.Store.Get(table, key)
	if err != nil || !ok {
		return false, err
	}
	if err := types.Unmarshal(b, into); err != nil {
		return false, fmt.Errorf("stored row %.8q: %w", key, err)
	}
	return true, nil
}

// forget deletes rows of epochs that are long over.
func (v *Validator) forget(now types.Epoch) error {
	if now <= keepEpochs {
		return nil
	}
	var old []types.Row
	for _, prefix := range []string{keyBundles, keyJudged, keyStated, keyResult, keyLate, keyAnswer, keySent} {
		end := epochKey(prefix, now-keepEpochs)
		err := v.cfg.Store.Scan(table, prefix, "", func(key string, _ []byte) error {
			if key < end {
				old = append(old, types.Row{Key: key})
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if len(old) == 0 {
		return nil
	}
	return v.save(old...)
}
