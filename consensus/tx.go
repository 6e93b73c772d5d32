package consensus

import (
	"github.com/staddle/staddle/keys"
	"github.com/staddle/staddle/types"
)

// effect is what an accepted transaction does. It is made by a rule that has
// checked everything; its only errors are those of the state's source.
type effect func() error

// request is a transaction that a rule looks at.
type request struct {
	*types.Tx
	id  types.TxID
	acc *types.AccountRecord // of the sender, before the fee
	out types.Amount         // that leaves the sender by it: the fee and what the kind takes (K3)
}

// spendable is what the sender has left for the kind itself.
func (r *request) spendable() types.Amount { return r.acc.Balance - r.Fee }

// rule maps a kind to its rule: one file a kind. Before it comes the sender's own
// limit.
func (s *state) rule(r *request, body types.Body) (effect, error) {
	r.out = r.Fee + s.outlay(body)
	if err := s.checkLimit(r); err != nil {
		return nil, err
	}
	switch b := body.(type) {
	case *types.Wire:
		return s.wire(r, b)
	case *types.Message:
		return s.message(r, b)
	case *types.Register:
		return s.register(r, b)
	case *types.Plan:
		return s.plan(r, b)
	case *types.Commitments:
		return s.commit(r, b)
	case *types.Attestations:
		return s.attest(r, b)
	case *types.BundlePost:
		return s.bundle(r, b)
	case *types.Dispute:
		return s.dispute(r, b)
	case *types.Duty:
		return s.duty(r, b)
	case *types.LogCommitment:
		return s.log(r, b)
	case *types.Collation:
		return s.collate(b)
	case *types.Deposit:
		return s.deposit(r, b)
	case *types.Lock:
		return s.lock(r, b)
	case *types.NameUpdate:
		return s.name(r, b)
	}
	return nil, refuse("a %s transaction: not yet", r.Kind)
}

// transact checks one transaction and applies it.
func (s *state) transact(t *types.Tx) error {
	do, err := s.judge(t)
	if err != nil {
		return err
	}
	return do()
}

// judge checks a transaction and changes nothing: its error is *Invalid, or
// *types.Missing when what the transaction names is not held here. The effect
// that it gives has no way to fail but the state's source.
func (s *state) judge(t *types.Tx) (effect, error) {
	r, size, err := s.admit(t)
	if err != nil {
		return nil, err
	}
	body, err := types.ParseBody(t)
	if err != nil {
		return nil, &Invalid{err}
	}
	apply, err := s.rule(r, body)
	if err != nil {
		return nil, err
	}
	return func() error {
		s.bytes += size
		s.emit(types.Applied{Tx: r.id, Kind: t.Kind, Sender: t.Sender})
		if err := s.charge(r, size, amountOf(body)); err != nil {
			return err
		}
		return apply()
	}, nil
}

func amountOf(b types.Body) types.Amount {
	if w, ok := b.(*types.Wire); ok {
		return w.Amount
	}
	return 0
}

// admit holds the rules of the envelope. Signatures are checked for the whole
// block at once, or at the door of the pool.
func (s *state) admit(t *types.Tx) (*request, uint64, error) {
	r := &request{Tx: t, id: t.ID()}
	size := uint64(len(types.Marshal(t)))
	if err := s.checkEnvelope(t); err != nil {
		return nil, 0, err
	}
	acc, err := s.Account(t.Sender)
	if err != nil {
		return nil, 0, err
	}
	r.acc = acc
	if t.Nonce != acc.Nonce+1 {
		return nil, 0, refuse("nonce %d, the next is %d", t.Nonce, acc.Nonce+1)
	}
	if old, ok, err := s.ByAddress(t.Sender.Address()); err != nil {
		return nil, 0, err
	} else if ok && old != t.Sender {
		return nil, 0, refuse("address %s belongs to account %s already", t.Sender.Address(), old.Short())
	}
	return r, size, s.checkFee(t, size, acc.Balance)
}

func (s *state) checkEnvelope(t *types.Tx) error {
	switch {
	case t.Version != types.TxVersion:
		return refuse("transaction version %d, want %d", t.Version, types.TxVersion)
	case t.Chain != s.Chain:
		return refuse("transaction of chain %s on chain %s", t.Chain.Short(), s.Chain.Short())
	case !t.Kind.Known() || t.Kind == types.KindCoinbase:
		return refuse("a %s transaction cannot be sent", t.Kind)
	case !s.g.Active.Has(t.Kind):
		return refuse("kind %d (%s) is not active in this community", uint8(t.Kind), t.Kind)
	case t.Expiry <= t.Time || t.Expiry-t.Time > types.Millis(s.Rules.ExpiryMillis):
		return refuse("transaction lives %d ms, want 1 to %d", t.Expiry-t.Time, s.Rules.ExpiryMillis)
	case t.Expiry < s.head.Time:
		return refuse("transaction expired at %d, the block is of %d", t.Expiry, s.head.Time)
	}
	return s.checkRecent(t)
}

func (s *state) checkRecent(t *types.Tx) error {
	if !t.Recent.Root.Defined() {
		return nil
	}
	if t.Recent.Height >= s.head.Height || s.head.Height-t.Recent.Height > types.Height(s.Rules.MutableRange) {
		return refuse("recent block %d is not in the range below %d", t.Recent.Height, s.head.Height)
	}
	name, err := s.Name(t.Recent.Height)
	if err != nil {
		return err
	}
	if name != t.Recent.Root {
		return refuse("transaction is bound to another fork: block %d is %s, not %s", t.Recent.Height, name, t.Recent.Root)
	}
	return nil
}

// charge takes the fee, raises the nonce, counts towards power and notes the
// output of document 000.
func (s *state) charge(r *request, size uint64, amount types.Amount) error {
	if err := s.claimAddress(r.Sender); err != nil {
		return err
	}
	r.acc.Nonce++
	if !r.Profile.IsZero() {
		r.acc.Profile = r.Profile
	}
	if !free(r.Kind) {
		base := BaseFee(s.g.FeeFactor, size)
		r.acc.Balance -= r.Fee
		s.burn(base)
		s.tips += r.Fee - base
		if err := s.touch(r.acc); err != nil {
			return err
		}
	}
	s.countSpent(r.acc, r.out)
	if err := s.setAccount(r.Sender, r.acc); err != nil {
		return err
	}
	return s.put(keyOut(r.Sender, r.Nonce), &types.OutRecord{Kind: r.Kind, Tx: r.id, Amount: amount})
}

// CheckSignature is the part of a transaction's check that needs no state.
func CheckSignature(t *types.Tx) error {
	id := t.ID()
	if !keys.Verify(t.Sender, id[:], t.Signature) {
		return refuse("transaction %s has a wrong signature", id.Short())
	}
	return nil
}

// MinFee is the base fee that a transaction of that size needs in the block
// after v.
func (v *View) MinFee(size int) (types.Amount, error) {
	g, err := v.Globals()
	if err != nil {
		return 0, err
	}
	return BaseFee(g.FeeFactor, uint64(size)), nil
}

// Check tells whether a transaction could enter the block after v, made at a
// time: the door of the pool. It does not verify the signature.
func (v *View) Check(t *types.Tx, at types.Millis) error {
	s, err := follow(v)
	if err != nil {
		return err
	}
	s.head.Time = at
	r, _, err := s.admitLater(t)
	if err != nil {
		return err
	}
	body, err := types.ParseBody(t)
	if err != nil {
		return &Invalid{err}
	}
	if t.Nonce != r.acc.Nonce+1 {
		return nil // its rule is judged when the ones before it are in
	}
	_, err = s.rule(r, body)
	return err
}

// admitLater is admit for a nonce that may still be some steps ahead.
func (s *state) admitLater(t *types.Tx) (*request, uint64, error) {
	acc, err := s.Account(t.Sender)
	if err != nil {
		return nil, 0, err
	}
	const ahead = 64
	if t.Nonce <= acc.Nonce || t.Nonce > acc.Nonce+ahead {
		return nil, 0, refuse("nonce %d, the next is %d", t.Nonce, acc.Nonce+1)
	}
	if err := s.checkEnvelope(t); err != nil {
		return nil, 0, err
	}
	size := uint64(len(types.Marshal(t)))
	return &request{Tx: t, id: t.ID(), acc: acc}, size, s.checkFee(t, size, acc.Balance)
}
