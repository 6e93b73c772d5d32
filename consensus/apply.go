package consensus

import (
	"errors"
	"fmt"

	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/draw"
	"github.com/staddle/staddle/keys"
	"github.com/staddle/staddle/trie"
	"github.com/staddle/staddle/types"
)

// Applied is the outcome of a block.
type Applied struct {
	Block  types.Block
	Nodes  []types.Node // new blocks of state, the transaction list among them; children first
	Events []types.Event
}

// Apply checks b against the rules on top of its parent's state. Errors:
// *types.Missing (fetch and call again), *Invalid (never valid), others are
// faults of the source.
func Apply(src trie.Source, b *types.Block) (Applied, error) {
	parent, err := Open(src, b.Header.Previous)
	if err != nil {
		return Applied{}, err
	}
	out, err := parent.next(b.Txs, func(s *state) error { return s.checkHeader(parent, &b.Header) })
	if err != nil {
		return Applied{}, fmt.Errorf("block %d: %w", b.Header.Height, err)
	}
	want := &out.Block.Header
	switch {
	case b.Header.Txs != want.Txs:
		return Applied{}, refuse("block %d: transaction list %s, header says %s", b.Header.Height, want.Txs, b.Header.Txs)
	case b.Header.State != want.State:
		return Applied{}, refuse("block %d: state %s, header says %s", b.Header.Height, want.State, b.Header.State)
	case b.Name != out.Block.Name:
		return Applied{}, refuse("block %d: name %s, announced as %s", b.Header.Height, out.Block.Name, b.Name)
	}
	return out, nil
}

// Predict makes the block that the miner would publish at a time (process A of
// document 000). Transactions that cannot be applied are left out; Left tells why.
func Predict(src trie.Source, parent cid.Cid, pool []types.Tx, miner keys.Signer, at types.Millis) (Applied, []Left, error) {
	v, err := Open(src, parent)
	if err != nil {
		return Applied{}, nil, err
	}
	s, err := follow(v)
	if err != nil {
		return Applied{}, nil, err
	}
	if err := s.draft(v, miner, at); err != nil {
		return Applied{}, nil, err
	}
	txs, left, err := s.choose(pool)
	if err != nil {
		return Applied{}, nil, err
	}
	out, err := s.finish(v, txs, func(h *types.Header) {
		d := h.Digest()
		h.Signature = miner.Sign(d[:])
	})
	return out, left, err
}

// Left is a transaction that a prediction left out.
type Left struct {
	Tx  types.TxID
	Why error
}

// draft fills the header of a block by the miner; State, Txs and the signature
// come at the end.
func (s *state) draft(parent *View, miner keys.Signer, at types.Millis) error {
	var err error
	s.head = s.expected(parent)
	s.head.Time = at
	s.head.Miner = miner.Account()
	s.head.Gensig = draw.NextGensig(parent.Head.Gensig, miner.Account(), s.g.Vrf)
	s.head.Proof = draw.Prove(miner.Seed(), draw.Alpha(s.g.R, s.head.Height))
	s.drafting = true
	if s.head.Skip, err = s.skip(parent); err != nil {
		return err
	}
	return s.openBlock(parent)
}

// choose applies transactions of the pool in order until the block is full.
func (s *state) choose(pool []types.Tx) (txs []types.Tx, left []Left, err error) {
	for i := range pool {
		t := &pool[i]
		if s.bytes+uint64(len(types.Marshal(t))) > types.MaxBlockBytes || len(txs) == types.MaxBlockTxs {
			left = append(left, Left{t.ID(), fmt.Errorf("block is full")})
			continue
		}
		do, err := s.judge(t)
		if err != nil {
			if !leavesOut(err) {
				return nil, nil, err
			}
			left = append(left, Left{t.ID(), err})
			continue
		}
		if err := do(); err != nil {
			return nil, nil, err
		}
		txs = append(txs, *t)
	}
	return txs, left, nil
}

// leavesOut reports whether a transaction alone is at fault: the rules refuse it,
// or what it names is not held here.
func leavesOut(err error) bool {
	var inv *Invalid
	var missing *types.Missing
	return errors.As(err, &inv) || errors.As(err, &missing)
}

// next runs a block whose header is known and checked by check.
func (v *View) next(txs []types.Tx, check func(*state) error) (Applied, error) {
	s, err := follow(v)
	if err != nil {
		return Applied{}, err
	}
	if err := check(s); err != nil {
		return Applied{}, err
	}
	if err := checkSignatures(txs); err != nil {
		return Applied{}, err
	}
	if err := s.openBlock(v); err != nil {
		return Applied{}, err
	}
	for i := range txs {
		if err := s.transact(&txs[i]); err != nil {
			return Applied{}, fmt.Errorf("transaction %d: %w", i, err)
		}
	}
	if s.bytes > types.MaxBlockBytes {
		return Applied{}, refuse("transactions of %d bytes above the limit %d", s.bytes, types.MaxBlockBytes)
	}
	signed := s.head.Signature
	return s.finish(v, txs, func(h *types.Header) { h.Signature = signed })
}

func checkSignatures(txs []types.Tx) error {
	var b keys.Batch
	for i := range txs {
		id := txs[i].ID()
		b.Add(txs[i].Sender, id[:], txs[i].Signature)
	}
	if bad := b.Verify(); len(bad) > 0 {
		return refuse("transaction %d of %d has a wrong signature", bad[0], len(txs))
	}
	return nil
}

// finish does what follows the transactions and seals the block.
func (s *state) finish(parent *View, txs []types.Tx, sign func(*types.Header)) (Applied, error) {
	steps := []func() error{
		s.coinbase, func() error { return s.mix(parent) }, s.runDue, s.transfer, s.closeEpoch,
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return Applied{}, err
		}
	}
	s.g.FeeFactor = NextFactor(s.g.FeeFactor, s.bytes)
	list := types.NewNode(types.Marshal(types.TxList{Txs: txs}))
	s.head.Txs = list.CID
	out, err := s.seal(sign)
	out.Block.Txs = txs
	out.Nodes = append(out.Nodes, list)
	return out, err
}

// seal writes the globals, fixes header.State, signs, sets the contract and
// names the block (S4).
func (s *state) seal(sign func(*types.Header)) (Applied, error) {
	if err := s.put(keyGlobals, s.g); err != nil {
		return Applied{}, err
	}
	root, nodes, err := s.m.Flush()
	if err != nil {
		return Applied{}, err
	}
	s.head.State = root
	sign(&s.head)
	if err := s.put(keyContract, &s.head); err != nil {
		return Applied{}, err
	}
	name, more, err := s.m.Flush()
	if err != nil {
		return Applied{}, err
	}
	return Applied{
		Block: types.Block{Name: name, Header: s.head}, Nodes: append(nodes, more...), Events: s.events,
	}, nil
}

// openBlock notes the parent's name for skip links and forgets what left the
// mutable range.
func (s *state) openBlock(parent *View) error {
	if parent.Head.Height == 0 {
		s.g.Genesis = s.head.Previous
	}
	var e types.Encoder
	e.Link(s.head.Previous)
	if err := s.m.Set(keySkip(parent.Head.Height), e.Data()); err != nil {
		return err
	}
	r := types.Height(s.Rules.MutableRange)
	if s.head.Height <= r+1 {
		return nil
	}
	return s.forget(s.head.Height - r - 1)
}

// forget deletes the outputs of the block at height h and its skip entry. The
// checkpoints' names stay, as anchors.
func (s *state) forget(h types.Height) error {
	old, err := s.At(h)
	if err != nil {
		return err
	}
	var list types.TxList
	if h > 0 {
		if err := s.block(old.Head.Txs, &list); err != nil {
			return err
		}
		if err := s.drop(keyOut(old.Head.Miner, old.Head.Nonce)); err != nil {
			return err
		}
	}
	for i := range list.Txs {
		if err := s.drop(keyOut(list.Txs[i].Sender, list.Txs[i].Nonce)); err != nil {
			return err
		}
	}
	if h%types.Height(s.Rules.EpochBlocks) == 0 {
		return nil
	}
	return s.drop(keySkip(h))
}

// coinbase gives the tips to the miner and raises its nonce, not its power
// (C1.6). It comes after the miner's own transactions, so the header's nonce is
// known last.
func (s *state) coinbase() error {
	if err := s.claimAddress(s.head.Miner); err != nil {
		return err
	}
	acc, err := s.Account(s.head.Miner)
	if err != nil {
		return err
	}
	acc.Nonce++
	acc.Balance += s.tips
	if s.drafting {
		s.head.Nonce = acc.Nonce
	}
	if s.head.Nonce != acc.Nonce {
		return refuse("miner's nonce %d, want %d", s.head.Nonce, acc.Nonce)
	}
	if err := s.setAccount(s.head.Miner, acc); err != nil {
		return err
	}
	return s.put(keyOut(s.head.Miner, s.head.Nonce), &types.OutRecord{Kind: types.KindCoinbase, Amount: s.tips})
}

// mix folds the block's VRF output into the beacon (C2.1) and shifts the times.
func (s *state) mix(*View) error {
	out, err := draw.ProofToHash(s.head.Proof)
	if err != nil {
		return refuse("VRF proof: %w", err)
	}
	s.g.R, s.g.Vrf = draw.Mix(s.g.R, out), out
	copy(s.g.Times[1:], s.g.Times[:3])
	s.g.Times[0] = s.head.Time
	return nil
}
