package consensus_test

import (
	"errors"
	"testing"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/types"
)

// withRanges makes an attachment whose range list is what the test wants.
func withRanges(name string, pieces uint32, list ...types.Range) (*types.Attachment, []types.Node) {
	head, nodes := types.RangeBlocks(list)
	root := types.NodeCID([]byte(name))
	return &types.Attachment{
		Index: root, UnixFS: root, Pieces: pieces, Size: uint64(pieces) * types.PieceSize,
		Ranges: head, RangeCount: uint32(len(list)), Name: name, Visibility: types.VisibilityPublic,
	}, nodes
}

func run(first, count uint32) types.Range {
	return types.Range{ID: types.H("staddle/test/range", types.Be32(first)), First: first, Count: count}
}

// TestP1_2 and the sizes of P2: what a block may say of a private dataset.
func TestP1_2(t *testing.T) {
	l := start(t, 2, nil)
	for name, c := range map[string]struct {
		change func(*types.Attachment)
		want   string
	}{
		"name":        {func(a *types.Attachment) { a.Name = "films" }, "dataset for me shows its name"},
		"media types": {func(a *types.Attachment) { a.MediaTypes = []string{"video/mp4"} }, "dataset for me shows its name or media types"},
		"no salt":     {func(a *types.Attachment) { a.Salt = types.Hash{} }, "dataset for me without salt"},
		"15 pieces":   {func(a *types.Attachment) { a.Pieces, a.Size = 15, 15*types.PieceSize }, "in 15 pieces, want a multiple of 16"},
		"true size":   {func(a *types.Attachment) { a.Size-- }, "of 4194303 bytes in 16 pieces"},
		"all is well": {func(*types.Attachment) {}, ""},
	} {
		a, nodes := withRanges("", 16, run(1, 16))
		l.src.Put(nodes)
		a.Salt, a.Visibility = types.H("salt"), types.VisibilityMe
		c.change(a)
		t.Run(name, func(t *testing.T) {
			if l.t = t; c.want == "" {
				l.do(0, types.KindMessage, &types.Message{Attachment: a})
				return
			}
			l.refuse(0, types.KindMessage, &types.Message{Attachment: a}, c.want)
		})
	}
}

// G9: the range list follows from piece 1 without gaps to the last, none longer
// than the community's, and its count is the attachment's.
func TestG9(t *testing.T) {
	l := start(t, 2, nil) // ranges of at most 16 pieces
	for name, c := range map[string]struct {
		pieces uint32
		list   []types.Range
		change func(*types.Attachment)
		want   string
	}{
		"gap":          {20, []types.Range{run(1, 4), run(6, 15)}, nil, "range 1 has pieces 6+15, want from 5"},
		"overlap":      {20, []types.Range{run(1, 4), run(4, 16)}, nil, "range 1 has pieces 4+16"},
		"late begin":   {20, []types.Range{run(2, 4)}, nil, "range 0 has pieces 2+4, want from 1"},
		"too long":     {17, []types.Range{run(1, 17)}, nil, "at most 16 of 17"},
		"beyond":       {5, []types.Range{run(1, 6)}, nil, "range 0 has pieces 1+6"},
		"short":        {5, []types.Range{run(1, 4)}, nil, "range list has 1 ranges of 4 pieces, attachment says 1 of 5"},
		"count":        {5, []types.Range{run(1, 5)}, func(a *types.Attachment) { a.RangeCount = 2 }, "attachment says 2 of 5"},
		"no list":      {5, []types.Range{run(1, 5)}, func(a *types.Attachment) { a.Ranges = l.tip.Header.Txs }, "range list"},
		"members only": {5, []types.Range{run(1, 5)}, func(a *types.Attachment) { a.Visibility = types.VisibilityMembers }, "dataset for members without salt"},
		"public salt":  {5, []types.Range{run(1, 5)}, func(a *types.Attachment) { a.Salt[0] = 1 }, "public dataset with salt 01"},
	} {
		a, nodes := withRanges(name, c.pieces, c.list...)
		l.src.Put(nodes)
		if c.change != nil {
			c.change(a)
		}
		t.Run(name, func(t *testing.T) {
			l.t = t
			l.refuse(0, types.KindMessage, &types.Message{Attachment: a}, c.want)
		})
	}
	l.t = t
	empty := types.NewNode(types.Marshal(types.RangeList{}))
	l.src.Put([]types.Node{empty})
	a, _ := withRanges("empty", 5, run(1, 5))
	a.Ranges = empty.CID
	l.refuse(0, types.KindMessage, &types.Message{Attachment: a}, "empty block in the range list")

	good, nodes := withRanges("good", 33, run(1, 16), run(17, 16), run(33, 1))
	x := l.sign(0, types.KindMessage, &types.Message{Attachment: good})
	// A list that is not held here is no fault of the transaction: a miner leaves
	// it out, a judge asks for the block.
	_, left := l.predict(x)
	var missing *types.Missing
	if len(left) != 1 || !errors.As(left[0].Why, &missing) || missing.CID != good.Ranges {
		t.Fatalf("left out: %v, want the list missing", left)
	}
	b := l.block()
	b.Txs = []types.Tx{x}
	if _, err := consensus.Apply(l.src, &b); !errors.As(err, &missing) || missing.CID != good.Ranges {
		t.Fatalf("judged: %v, want the list missing", err)
	}
	l.src.Put(nodes)
	l.put(x)
	d := got[*types.DatasetRecord](l)(l.view().Dataset(good.Dataset()))
	want := types.DatasetRecord{Attachment: *good, Publisher: l.id(0), Height: l.height(), Time: l.tip.Header.Time, Tx: x.ID()}
	if string(types.Marshal(d)) != string(types.Marshal(&want)) {
		t.Fatalf("dataset %+v, want %+v", d, want)
	}
	// Published again, the first one stands.
	l.do(1, types.KindMessage, &types.Message{Attachment: good})
	if again := got[*types.DatasetRecord](l)(l.view().Dataset(good.Dataset())); again.Publisher != l.id(0) {
		t.Fatal("the second publisher took the dataset")
	}
	l.refuse(0, types.KindMessage, &types.Message{}, "without text and attachment")
	l.do(0, types.KindMessage, &types.Message{Text: types.H("staddle/test/text"), TextLength: 9})
}

// G10: a plan names a part of the dataset's range list.
func TestG10(t *testing.T) {
	l := town(t)
	d := l.publish(0, "data", 5)
	p := l.planFor(d, 1, 0, 4)
	for _, c := range []struct{ first, count uint32 }{{0, 6}, {5, 1}, {1, 5}, {1<<32 - 1, 1<<32 - 1}} {
		bad := *p
		bad.First, bad.Count = c.first, c.count
		l.refuse(0, types.KindPlan, &bad, "of 5")
	}
	part := *p
	part.First, part.Count = 2, 3
	id := l.do(0, types.KindPlan, &part)
	var have [][3]uint64
	for _, lot := range l.lotsOf(id) {
		rec := l.lot(lot)
		have = append(have, [3]uint64{uint64(rec.First), uint64(rec.Count), rec.Leaves})
	}
	if want := [][3]uint64{{2, 2, 512}, {4, 1, 3}}; len(have) != 2 || have[0] != want[0] || have[1] != want[1] {
		t.Fatalf("lots %v, want %v", have, want)
	}
	other := *p
	other.Dataset[0] ^= 1
	l.refuse(0, types.KindPlan, &other, "was not published here")
}

// G11: a lot is a run of at most LotRanges ranges on one host; the lists of kinds
// 5, 6, 7 and 10 have at most 1,024 entries.
func TestG11(t *testing.T) {
	l := town(t, func(g *types.Genesis) { g.Rules.LotRanges = 64; g.Rules.FreeRanges = 1000 })
	for _, c := range []struct {
		ranges int
		want   []uint32
	}{{1, []uint32{1}}, {64, []uint32{64}}, {65, []uint32{64, 1}}, {130, []uint32{64, 64, 2}}} {
		d := l.publish(0, "data"+string(rune('a'+c.ranges%26)), c.ranges)
		lots := l.plan(0, d, 2, 0)
		if len(lots) != 2*len(c.want) {
			t.Fatalf("%d lots for %d ranges, want %d", len(lots), c.ranges, 2*len(c.want))
		}
		first := uint32(0)
		for k, id := range lots {
			rec := l.lot(id)
			if k%len(c.want) == 0 {
				first = 0
			}
			if i := k % len(c.want); rec.Count != c.want[i] || rec.First != first || rec.Index != uint32(i) || rec.Copy != uint32(k/len(c.want)) {
				t.Errorf("%d ranges: lot %d is %d+%d, copy %d", c.ranges, k, rec.First, rec.Count, rec.Copy)
			}
			first += rec.Count
		}
		if c.ranges == 64 { // a whole lot through its life: one root over 64 ranges
			l.activate(lots[0])
			if rec := l.lot(lots[0]); rec.Root.IsZero() || rec.Hosted != 1<<64-1 || rec.Leaves != 63*256+3 {
				t.Errorf("lot of 64 ranges: %+v", rec)
			}
		}
	}
	h := types.H("staddle/test/h")
	lists := map[types.Kind]func(n int) types.Body{
		types.KindEncoded: func(n int) types.Body { return &types.Commitments{List: make([]types.Commitment, n)} },
		types.KindHosted:  func(n int) types.Body { return &types.Commitments{List: make([]types.Commitment, n)} },
		types.KindAttest:  func(n int) types.Body { return &types.Attestations{List: make([]types.Attestation, n)} },
		types.KindDuty: func(n int) types.Body {
			return &types.Duty{Lots: append(make([]types.LotAttempt, n-1), types.LotAttempt{Lot: h})}
		},
	}
	for k, list := range lists {
		cheap := func(t *types.Tx) { t.Fee = coins / 10 }
		l.refused(l.sign(1, k, list(types.MaxReports), cheap), "is not known")
		l.refused(l.sign(1, k, list(types.MaxReports+1), cheap), "array of 1025 above limit 1024")
	}
}
