package chaintest

import (
	"fmt"

	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/types"
)

// Do puts a transaction of member i into the next block and gives its id.
func (w *World) Do(i int, kind types.Kind, body types.Body) types.TxID {
	w.t.Helper()
	n := w.Node(i)
	name := fmt.Sprintf("do/%s/%d", kind, w.Tip().Header.Height)
	if err := n.Submit(kind, body, name); err != nil {
		w.t.Fatalf("member %d: %v", i, err)
	}
	n.w.mu.Lock()
	x := n.find(name)
	n.w.mu.Unlock()
	w.Mine()
	select {
	case <-x.done:
	default:
		w.t.Fatalf("member %d: %s is not in block %d", i, kind, w.Tip().Header.Height)
	}
	return x.tx
}

// Register gives member i roles, with 8 GiB and the encodings plain and
// rsa-chain.
func (w *World) Register(i int, roles types.Roles) {
	w.t.Helper()
	a := Account(i)
	w.Do(i, types.KindRegister, &types.Register{
		Device: Device(i), Roles: roles, FreeGiB: 8, Encodings: 3,
		TargetStorage: types.Wei(0), TargetBandwidth: types.Wei(0), Payout: a,
	})
}

// Device is the one device of member i in a Mesh.
func Device(i int) types.Device {
	return types.Device(types.H("staddle/chaintest/device", types.Be32(uint32(i))))
}

// Bond locks coins of member i for a role.
func (w *World) Bond(i int, role types.Roles, coins types.Amount) {
	w.t.Helper()
	w.Do(i, types.KindDeposit, &types.Deposit{Role: role, Amount: coins})
}

// Dataset is a published dataset with its pieces.
type Dataset struct {
	ID     types.DatasetID
	Pieces [][]byte
	Ranges []types.Range
}

// Digests are the piece digests of range r.
func (d *Dataset) Digests(r types.Range) []types.Hash {
	out := make([]types.Hash, r.Count)
	for i := range out {
		out[i] = types.Digest(types.RawCID(d.Pieces[int(r.First)-1+i]))
	}
	return out
}

// Publish puts a dataset of so many bytes into the next block, by member i, in
// ranges of so many pieces. name makes its bytes.
func (w *World) Publish(i int, name string, size, perRange int) *Dataset {
	w.t.Helper()
	d := &Dataset{Pieces: Bytes(name, size)}
	var index types.Encoder
	index.Array(len(d.Pieces))
	for k := range d.Pieces {
		index.Link(types.RawCID(d.Pieces[k]))
	}
	for first := 0; first < len(d.Pieces); first += perRange {
		r := types.Range{First: uint32(first + 1), Count: uint32(min(perRange, len(d.Pieces)-first))}
		r.ID = types.RangeOf(d.Digests(r))
		d.Ranges = append(d.Ranges, r)
	}
	head, nodes := types.RangeBlocks(d.Ranges)
	w.Add(nodes...)
	root := types.NewNode(index.Data())
	w.publish(i, d, root.CID, head)
	return d
}

func (w *World) publish(i int, d *Dataset, index, ranges cid.Cid) {
	w.t.Helper()
	a := &types.Attachment{
		Index: index, UnixFS: index, Pieces: uint32(len(d.Pieces)), Size: size(d.Pieces),
		Ranges: ranges, RangeCount: uint32(len(d.Ranges)), Name: "dataset", Visibility: types.VisibilityPublic,
	}
	d.ID = a.Dataset()
	w.Do(i, types.KindMessage, &types.Message{Attachment: a})
}

func size(pieces [][]byte) (n uint64) {
	for _, p := range pieces {
		n += uint64(len(p))
	}
	return n
}

// Bytes makes the pieces of a dataset out of a name.
func Bytes(name string, size int) (pieces [][]byte) {
	var block types.Hash
	for at := 0; at < size; at += types.PieceSize {
		p := make([]byte, 0, types.PieceSize)
		for len(p) < min(types.PieceSize, size-at) {
			block = types.H("staddle/chaintest/bytes", []byte(name), block[:])
			p = append(p, block[:]...)
		}
		pieces = append(pieces, p[:min(types.PieceSize, size-at)])
	}
	return pieces
}

// Plan puts a plan of member i for a whole dataset into the next block and gives
// its lots, copy by copy.
func (w *World) Plan(i int, d *Dataset, copies, encoding uint32) []types.LotID {
	w.t.Helper()
	v := w.View()
	p := &types.Plan{
		Dataset: d.ID, Count: uint32(len(d.Ranges)), Copies: copies, Encoding: encoding,
		Until: v.Epochal() + 100, MaxPrice: w.gen.Rules.StorageCost, Assurance: 0,
	}
	cost, err := v.PlanCost(p, d.Ranges)
	if err != nil {
		w.t.Fatal(err)
	}
	p.Lock = cost + types.Coin
	id := w.Do(i, types.KindPlan, p)
	rec, err := w.View().Plan(id)
	if err != nil || rec == nil {
		w.t.Fatalf("plan is not there: %v", err)
	}
	var lots []types.LotID
	for c := range copies {
		for k := range rec.Lots {
			lots = append(lots, types.LotOf(id, c, k))
		}
	}
	return lots
}

// Lot reads a lot of the newest state.
func (w *World) Lot(id types.LotID) *types.LotRecord {
	w.t.Helper()
	l, err := w.View().Lot(id)
	if err != nil || l == nil {
		w.t.Fatalf("lot %s is not there: %v", id.Short(), err)
	}
	return l
}

// Number is the member with that account; the test fails for a stranger.
func (w *World) Number(a types.Account) int {
	w.t.Helper()
	for i := range w.who {
		if w.who[i].Account() == a {
			return i
		}
	}
	w.t.Fatalf("account %s is no member", a.Short())
	return -1
}

// Attest lets every validator of a committed lot attest in the next block.
func (w *World) Attest(id types.LotID) {
	w.t.Helper()
	l := w.Lot(id)
	var names []string
	for _, a := range l.Attestors {
		name := "attest/" + id.Short()
		n := w.Node(w.Number(a))
		body := &types.Attestations{List: []types.Attestation{{Lot: id, Attempt: l.Attempt, Root: l.Root}}}
		if err := n.Submit(types.KindAttest, body, name); err != nil {
			w.t.Fatalf("attest: %v", err)
		}
		names = append(names, name)
	}
	w.Mine()
	if now := w.Lot(id); now.Status != types.LotActive {
		w.t.Fatalf("lot %s is %s after %d attestations", id.Short(), now.Status, len(names))
	}
}

// Validators gives members from first on n deposits in the genesis.
func Validators(g *types.Genesis, first, n int, coins types.Amount) {
	for i := first; i < first+n; i++ {
		g.Deposits = append(g.Deposits, types.Credit{Account: Account(i), Amount: coins})
	}
	sortCredits(g.Deposits)
}
