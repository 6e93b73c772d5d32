package swarm

import (
	"errors"
	"fmt"

	"github.com/staddle/staddle/market"
	"github.com/staddle/staddle/types"
)

// Rows of the ledger. Epochs are 16 hex digits, so that they sort.
func purseKey(e types.Epoch) string { return fmt.Sprintf("purse/%016x", uint64(e)) }

func receiptPrefix(e types.Epoch) string { return fmt.Sprintf("receipt/%016x/", uint64(e)) }

func receiptKey(e types.Epoch, payer types.Account) string { return receiptPrefix(e) + payer.String() }

func tillKey(payer types.Account) string { return "till/" + payer.String() }

func dealingKey(p party) string { return "dealing/" + p.account.String() + p.device.String() }

const (
	budgetKey    = "budget"
	allowanceKey = "allowance"
	dealings     = "dealing/"
)

func row(key string, v types.Encodable) types.Row {
	return types.Row{Table: table, Key: key, Value: types.Marshal(v)}
}

// fill reads v from a row and reports whether there is one.
func fill(l Ledger, key string, v types.Decodable) (bool, error) {
	b, ok, err := l.Get(table, key)
	if err == nil && ok {
		err = types.Unmarshal(b, v)
	}
	if err != nil {
		return false, fmt.Errorf("ledger row %s: %w", key, err)
	}
	return ok, nil
}

// party is one device of an account.
type party struct {
	account types.Account
	device  types.Device
}

// parseParty reads the end of a dealing's key.
func parseParty(s string) (p party, err error) {
	if len(s) != 128 {
		return p, fmt.Errorf("party of %d characters, want 128", len(s))
	}
	account, errA := types.ParseAccount(s[:64])
	device, errD := types.ParseAccount(s[64:])
	return party{account, types.Device(device)}, errors.Join(errA, errD)
}

// Traffic is one line of a bandwidth log: what a receipt says.
type Traffic struct {
	Peer    types.Account
	Units   int64      // sent to the peer and earned: positive; had from it: negative
	Receipt types.Hash // market.Receipt.Hash, the same on both sides (ST2.3)
}

// Settled lists what the newest receipts of an epoch say, from the ledger alone:
// what peers signed for this device, then what this account signed for theirs,
// each ascending by peer. Two nodes that served each other have two lines, so
// that each matches one of the other's.
func Settled(l Ledger, e types.Epoch) ([]Traffic, error) {
	earned, signed, err := Receipts(l, e)
	if err != nil {
		return nil, err
	}
	all := make([]Traffic, 0, len(earned)+len(signed))
	for _, r := range earned {
		all = append(all, Traffic{Peer: r.Payer, Units: int64(r.Units), Receipt: r.Hash()})
	}
	for _, r := range signed {
		all = append(all, Traffic{Peer: r.Payee, Units: -int64(r.Units), Receipt: r.Hash()})
	}
	return all, nil
}

// Receipts lists the receipts of an epoch that the ledger holds: evidence for
// who has to prove a line.
func Receipts(l Ledger, e types.Epoch) (earned, signed []market.Receipt, err error) {
	prefix := receiptPrefix(e)
	err = l.Scan(table, prefix, prefix, func(key string, value []byte) error {
		var r market.Receipt
		if err := types.Unmarshal(value, &r); err != nil {
			return fmt.Errorf("ledger row %s: %w", key, err)
		}
		earned = append(earned, r)
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	var p market.Purse
	if ok, err := fill(l, purseKey(e), &p); err != nil || !ok {
		return earned, nil, err
	}
	return earned, p.Receipts(), nil
}

// Forget deletes the receipts of all epochs before e, when nobody can ask for
// them any more: until the logs of the fourth epoch after theirs are due, they
// may be committed (ST1).
func Forget(l Ledger, e types.Epoch) error {
	var rows []types.Row
	for _, kind := range []string{"purse/", "receipt/"} {
		end := kind + receiptPrefix(e)[len("receipt/"):]
		err := l.Scan(table, kind, kind, func(key string, _ []byte) error {
			if key >= end[:len(end)-1] {
				return errEnough
			}
			rows = append(rows, types.Row{Table: table, Key: key})
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			return err
		}
	}
	if len(rows) == 0 {
		return nil
	}
	return l.Save(nil, rows)
}

var errEnough = errors.New("enough")
