package store

import (
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/staddle/staddle/types"
)

const vectorFile = "../spec/vectors/store.json"

// TestVectors holds the formats on disk to spec/vectors/store.json.
func TestVectors(t *testing.T) {
	payload := []byte("abc")
	h := header{kind: kindPiece, key: types.Digest(types.RawCID(payload)), n: 3, sum: crc(payload)}
	lot := types.LotID{1, 2, 3}
	got := map[string]string{
		"format file":                                        string(formatLine(1)),
		"segment name, number 26":                            segmentName(26),
		"segment header, number 26":                          inHex(segmentHead(26)),
		"record, piece abc":                                  inHex(append(h.encode(), payload...)),
		"replica key, lot 010203 range 4 no. 5":              replicaID(lot, 4, 5).key.String(),
		"index key, piece abc":                               inHex(id{kindPiece, h.key}.row()),
		"index row, segment 26 at 16, 3 bytes, 2 owners":     inHex(entry{place{26, 16, 3}, 2}.encode()),
		"owner key, pieces of job/7, piece abc":              inHex(owner{kindPiece, "job/7"}.row(h.key)),
		"releasing key, pieces of job/7":                     inHex(owner{kindPiece, "job/7"}.releasing()),
		"segment key, number 26":                             inHex(segmentKey(26)),
		"segment row, end 1000, live 200 in 3 records":       inHex(segmentRow{end: 1000, live: 200, count: 3}.encode()),
		"index row, lost, 2 owners":                          inHex(entry{refs: 2}.encode()),
		"segment row, the same on disk 3":                    inHex(segmentRow{end: 1000, live: 200, count: 3, disk: 3}.encode()),
		"disk key, number 3":                                 inHex(diskKey(3)),
		"disk row, retiring, id 0102, /mnt/b":                inHex(diskRow{diskRetiring, [16]byte{1, 2}, "/mnt/b"}.encode()),
		"disk file, id 0102":                                 string(diskRow{id: [16]byte{1, 2}}.marker()),
		"row key, table tip, key x":                          inHex(rowKey("tip", "x")),
		"file key, lot 010203, name modulus":                 inHex(fileKey(lot, "modulus")),
		"block key, dag-cbor " + types.NodeCID(nil).String(): must(t)(nodeKey(types.NodeCID(nil))),
	}
	if os.Getenv("UPDATE_VECTORS") != "" {
		out, _ := json.MarshalIndent(got, "", "  ") // sorts the names
		if err := os.WriteFile(vectorFile, append(out, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]string
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatal(d)
	}
}

func inHex(b []byte) string { return fmt.Sprintf("%x", b) }

func must(t *testing.T) func([]byte, error) string {
	return func(b []byte, err error) string {
		if err != nil {
			t.Fatal(err)
		}
		return inHex(b)
	}
}
