package validate

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/staddle/staddle/keys"
	"github.com/staddle/staddle/lines"
	"github.com/staddle/staddle/market"
	"github.com/staddle/staddle/settle"
	"github.com/staddle/staddle/types"
)

// Limits of an account's log of an epoch.
const (
	MaxLogBytes    = 256 << 20 // encoded
	maxBandwidth   = 64 << 20  // bytes of lines
	maxLogReceipts = 1 << 19
	logVersion     = 1
)

// ErrLog marks a log that is not what its account committed.
var ErrLog = errors.New("log is not what was committed")

// EncodeTo appends [version, headers, exceptions, bandwidth, [receipt, ...]].
func (l *Log) EncodeTo(e *types.Encoder) {
	e.Array(5)
	e.Uint(logVersion)
	l.Headers.EncodeTo(e)
	e.Bytes(l.Exceptions)
	e.Bytes(l.Bandwidth)
	e.Array(len(l.Receipts))
	for _, r := range l.Receipts {
		e.Bytes(r)
	}
}

// DecodeFrom reads the tuple; what it says is checked by evidence.
func (l *Log) DecodeFrom(d *types.Decoder) {
	d.Tuple(5)
	if v := d.Uint(); d.Err() == nil && v != logVersion {
		d.Fail("log of version %d, want %d", v, logVersion)
	}
	l.Headers.DecodeFrom(d)
	l.Exceptions = d.Bytes(lines.MaxExceptionsBytes)
	l.Bandwidth = d.Bytes(maxBandwidth)
	l.Receipts = nil
	for range d.Array(maxLogReceipts) {
		l.Receipts = append(l.Receipts, d.Bytes(market.MaxReceipt))
	}
}

// evidence is what a checked log adds to the derived lines.
type evidence struct {
	exceptions *lines.Exceptions // nil: none
	traffic    []lines.Traffic
}

// owner says whose log of which epoch is read.
type owner struct {
	chain   types.ChainID
	account types.Account
	claim   *types.LogCommitment
}

// evidence checks a log against its commitment. It is whole or it is nothing:
// every line of the bandwidthlog has its receipt, so that all who hold a log
// with one root get the same traffic. Error: ErrLog.
func (l *Log) evidence(of owner) (*evidence, error) {
	if err := l.Headers.Committed(of.claim); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrLog, err)
	}
	x, err := lines.ParseExceptions(of.claim.Exceptions, l.Exceptions)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrLog, err)
	}
	ev := &evidence{exceptions: x}
	for _, raw := range x.Of(types.LogBandwidth, lines.OpReceipt) {
		t, err := readReceipt(raw, of)
		if err != nil {
			continue // worth nothing, to everybody alike
		}
		ev.traffic = append(ev.traffic, t)
	}
	wanted, err := l.receiptsWanted(of, ev.traffic)
	if err != nil {
		return nil, err
	}
	for _, raw := range l.Receipts {
		t, err := readReceipt(raw, of)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrLog, err)
		}
		if !wanted[t.Receipt] {
			return nil, fmt.Errorf("%w: receipt %s stands in no line, or twice", ErrLog, t.Receipt.Short())
		}
		delete(wanted, t.Receipt)
		ev.traffic = append(ev.traffic, t)
	}
	if len(wanted) > 0 {
		return nil, fmt.Errorf("%w: %d lines of the bandwidthlog without a receipt", ErrLog, len(wanted))
	}
	return ev, nil
}

// receiptsWanted reads the bandwidthlog and lists the receipts behind its lines
// that are not known yet.
func (l *Log) receiptsWanted(of owner, traffic []lines.Traffic) (map[types.Hash]bool, error) {
	wanted, known := map[types.Hash]bool{}, map[types.Hash]bool{}
	for i := range traffic {
		known[traffic[i].Receipt] = true
	}
	h := l.Headers.Find(types.LogBandwidth)
	if h == nil {
		if len(l.Bandwidth) > 0 {
			return nil, fmt.Errorf("%w: lines of a bandwidthlog without a header", ErrLog)
		}
		return wanted, nil
	}
	if len(l.Bandwidth) == 0 {
		return wanted, follows(of.account, h, traffic)
	}
	id := of.account.Address()
	err := lines.Check(bytes.NewReader(l.Bandwidth), h, func(line []byte) error {
		b, err := settle.ParseBandwidth(line, settle.Grammar{})
		if err != nil || b.ID != id {
			return fmt.Errorf("%w: line of another node: %w", ErrLog, err)
		}
		r, err := types.ParseHash(b.Receipt)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrLog, err)
		}
		if !known[r] {
			wanted[r] = true
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrLog, err)
	}
	return wanted, nil
}

// follows reports whether a bandwidthlog is no more than its receipts say.
func follows(a types.Account, h *types.LogHeader, traffic []lines.Traffic) error {
	var t lines.Tally
	if err := lines.Bandwidth(a, traffic, t.Add); err != nil {
		return fmt.Errorf("%w: %w", ErrLog, err)
	}
	if have := t.Header(h.Device, h.Role, h.Epoch); have.Lines != h.Lines || have.Root != h.Root {
		return fmt.Errorf("%w: %d lines follow from the receipts, the bandwidthlog has %d", ErrLog, have.Lines, h.Lines)
	}
	return nil
}

// readReceipt checks a receipt that an account shows: signed by its payer, of
// this chain and epoch, and the account is one of its sides.
func readReceipt(raw []byte, of owner) (lines.Traffic, error) {
	var r market.Receipt
	if err := types.Unmarshal(raw, &r); err != nil {
		return lines.Traffic{}, fmt.Errorf("receipt: %w", err)
	}
	switch {
	case r.Chain != of.chain || r.Epoch != of.claim.Epoch:
		return lines.Traffic{}, fmt.Errorf("receipt %s is of epoch %d of chain %s", r.Hash().Short(), r.Epoch, r.Chain.Short())
	case r.Payee != of.account && r.Payer != of.account:
		return lines.Traffic{}, fmt.Errorf("receipt %s is not of account %s", r.Hash().Short(), of.account.Short())
	case r.Payee == r.Payer:
		return lines.Traffic{}, fmt.Errorf("receipt %s is to oneself", r.Hash().Short())
	}
	if err := r.Check(keys.Verify); err != nil {
		return lines.Traffic{}, err
	}
	return lines.Traffic{Payee: r.Payee, Payer: r.Payer, Device: r.Device, Units: r.Units, Receipt: r.Hash()}, nil
}
