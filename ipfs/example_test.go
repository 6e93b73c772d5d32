package ipfs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing/fstest"

	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/archive"
	"github.com/staddle/staddle/ipfs"
	"github.com/staddle/staddle/store"
	"github.com/staddle/staddle/types"
)

// held is a node's store as ipfs.Blocks: pieces are raw blocks, all others are
// nodes. The store keys nodes by CIDv1 with the codecs raw, dag-cbor and dag-pb,
// so that blocks of other codecs, and raw ones longer than a piece, are nodes of
// codec raw.
type held struct{ *store.Store }

func key(c cid.Cid) cid.Cid {
	if codec := c.Prefix().Codec; codec == cid.DagProtobuf || codec == cid.DagCBOR {
		return cid.NewCidV1(codec, c.Hash())
	}
	return cid.NewCidV1(cid.Raw, c.Hash())
}

func (h held) Get(_ context.Context, c cid.Cid) ([]byte, error) {
	k := key(c)
	if k.Prefix().Codec == cid.Raw {
		if piece, err := h.Pieces().Get(types.Digest(k)); !ipfs.IsNotHeld(err) {
			return piece, err
		}
	}
	return h.Node(k)
}

func (h held) Has(_ context.Context, c cid.Cid) (bool, error) {
	k := key(c)
	if k.Prefix().Codec == cid.Raw {
		if ok, err := h.Pieces().Has(types.Digest(k)); ok || err != nil {
			return ok, err
		}
	}
	return h.HasNode(k)
}

// Size is what the store knows without reading; only for pieces.
func (h held) Size(ctx context.Context, c cid.Cid) (int, error) {
	if n, err := h.Pieces().Size(types.Digest(c)); n > 0 || err != nil {
		return int(n), err
	}
	block, err := h.Get(ctx, c)
	return len(block), err
}

// Put keeps an imported block under the owner that the reservation is for.
func (h held) into(room *store.Reservation) ipfs.Put {
	return func(_ context.Context, c cid.Cid, block []byte) error {
		if k := key(c); k.Prefix().Codec != cid.Raw || len(block) > types.PieceSize || len(block) == 0 {
			return h.Save([]types.Node{{CID: k, Bytes: block}}, nil)
		}
		_, err := room.PutLazy(block)
		return err
	}
}

// opted is a policy: the blocks of the datasets that the owner serves to anyone.
type opted map[types.Hash]bool

func (o opted) Serve(_ context.Context, c cid.Cid) bool { return o[types.Digest(c)] }

// dataset packs a folder into a store and opts it in.
type dataset struct {
	held
	opted
	room *store.Reservation
}

func (d dataset) Piece(_ uint32, digest types.Hash, data []byte) error {
	d.opted[digest] = true
	_, err := d.room.Put(data)
	return err
}

func (d dataset) Node(n types.Node) error {
	d.opted[types.Digest(n.CID)] = true
	return d.Save([]types.Node{n}, nil)
}

// A node serves a packed dataset through the gateway, and takes a CAR of it into
// another store.
func Example() {
	ctx := context.Background()
	one, err1 := store.Memory(store.Options{})
	two, err2 := store.Memory(store.Options{})
	if err := errors.Join(err1, err2); err != nil {
		fmt.Println(err)
		return
	}
	defer one.Close()
	defer two.Close()
	here, there := held{one}, held{two}

	room, err1 := one.Pieces().Reserve("dataset", 1<<20)
	d := dataset{here, opted{}, room}
	made, err2 := archive.Pack(fstest.MapFS{"hello.txt": {Data: []byte("hello")}}, archive.Options{Name: "greetings"}, d)
	if err := errors.Join(err1, err2, room.Commit()); err != nil {
		fmt.Println(err)
		return
	}

	gateway, err := ipfs.Gateway(ipfs.Public(here, d.opted), ipfs.GatewayOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	answer := httptest.NewRecorder() // a node runs ipfs.Server(gateway).Serve(listener)
	gateway.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/ipfs/"+made.UnixFS.String(), nil))
	fmt.Println(answer.Code, answer.Header().Get("Content-Type"), answer.Body.Len() == int(made.Size))

	var file bytes.Buffer
	done, err1 := ipfs.Export(ctx, &file, here, []cid.Cid{made.UnixFS, made.Index}, ipfs.ExportOptions{Version: ipfs.CARv2})
	room, err2 = two.Pieces().Reserve("import", 1<<20)
	back, err3 := ipfs.Import(ctx, &file, there.into(room))
	if err := errors.Join(err1, err2, err3, room.Commit()); err != nil {
		fmt.Println(err)
		return
	}
	whole, err := there.Has(ctx, made.UnixFS)
	fmt.Println(back.Blocks == done.Blocks, back.Roots[0] == made.UnixFS, whole, err)
	// Output:
	// 200 application/gzip true
	// true true true <nil>
}
