package lines

import (
	"errors"
	"strings"
	"testing"

	"github.com/staddle/staddle/internal/chaintest"
	"github.com/staddle/staddle/settle"
	"github.com/staddle/staddle/types"
)

// notices is one of each kind.
func notices() []Notice {
	chunk, proof := types.H("staddle/test/chunk"), types.H("staddle/test/proof")
	list := []Notice{
		{Feedback: settle.Feedback{Kind: settle.RejectedSmash, Chunk: chunk}, Proof: proof},
		{Feedback: settle.Feedback{Kind: settle.FailedChunkClaim, Chunk: chunk}},
		{Feedback: settle.Feedback{Kind: settle.OverReplication, Chunk: chunk, Rep: 3, Farmers: 6}},
		{Feedback: settle.Feedback{Kind: settle.UnderReplication, Chunk: chunk, Farmers: 0}},
		{Feedback: settle.Feedback{Kind: settle.FailedBandwidthLog, Peer: chaintest.Account(2).Address(), Receipt: proof.String()}},
	}
	for i := range list {
		list[i].Epoch, list[i].Validator, list[i].Node = 7, chaintest.Account(validator), chaintest.Account(hostA).Address()
		digest := list[i].Digest(types.ChainID{1})
		list[i].Signature = chaintest.Signer(validator).Sign(digest[:])
	}
	return list
}

func TestNoticePath(t *testing.T) {
	digests := map[types.Hash]bool{}
	for _, n := range notices() {
		t.Run(n.Kind.String(), func(t *testing.T) {
			have, err := ParseNotice(n.Path())
			if err != nil {
				t.Fatal(err)
			}
			have.Epoch, have.Validator, have.Node = n.Epoch, n.Validator, n.Node
			if *have != n {
				t.Fatalf("%+v, want %+v", have, n)
			}
			other := n
			other.Node = types.Address{}
			digests[n.Digest(types.ChainID{})], digests[n.Digest(types.ChainID{1})], digests[other.Digest(types.ChainID{})] = true, true, true
		})
	}
	if len(digests) != 15 {
		t.Fatalf("%d digests of 15 different notices", len(digests))
	}
}

func TestNoticeRefused(t *testing.T) {
	good := notices()
	chunk := good[0].Chunk.String()
	sig := "/" + strings.Repeat("0", 128)
	for name, path := range map[string]string{
		"empty":            "",
		"no slash":         "failedchunkclaim/" + chunk + sig,
		"unknown":          "/failedclaim/" + chunk + sig,
		"no signature":     "/failedchunkclaim/" + chunk,
		"short signature":  "/failedchunkclaim/" + chunk + sig[:127],
		"upper case":       "/failedchunkclaim/" + strings.ToUpper(chunk) + sig,
		"one value more":   "/failedchunkclaim/" + chunk + "/1" + sig,
		"slash at the end": good[1].Path() + "/",
		"two slashes":      "/" + good[1].Path(),
		"not too many":     "/overreplication/" + chunk + "/3/5" + sig,
		"rep 0":            "/overreplication/" + chunk + "/0/5" + sig,
		"rep 256":          "/overreplication/" + chunk + "/256/999" + sig,
		"plus sign":        "/overreplication/" + chunk + "/+3/6" + sig,
		"leading zero":     "/overreplication/" + chunk + "/03/6" + sig,
		"negative":         "/underreplication/" + chunk + "/-1" + sig,
		"enough":           "/underreplication/" + chunk + "/4" + sig,
		"address bare":     "/failedbandwidthlog/" + good[4].Peer.String()[2:] + "/r" + sig,
		"receipt escape":   "/failedbandwidthlog/" + good[4].Peer.String() + "/%2e" + sig,
		"receipt empty":    "/failedbandwidthlog/" + good[4].Peer.String() + "/" + sig,
		"receipt long":     "/failedbandwidthlog/" + good[4].Peer.String() + "/" + strings.Repeat("r", 129) + sig,
		"dots":             "/failedchunkclaim/../" + chunk + sig,
	} {
		t.Run(name, func(t *testing.T) {
			if n, err := ParseNotice(path); !errors.Is(err, ErrNotice) {
				t.Fatalf("%+v, error %v", n, err)
			}
		})
	}
}

func FuzzNotice(f *testing.F) {
	for _, n := range notices() {
		f.Add(n.Path())
	}
	f.Fuzz(func(t *testing.T, path string) {
		if n, err := ParseNotice(path); err == nil && n.Path() != path {
			t.Fatalf("%q is written as %q", path, n.Path())
		}
	})
}
