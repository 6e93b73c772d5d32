package transport

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/staddle/staddle/types"
)

var update = flag.Bool("update", false, "write the golden vectors anew")

// vectors fix what crosses the wire above libp2p.
type vectors struct {
	Device   string            `json:"device"`
	Peer     string            `json:"peer"`
	Address  string            `json:"address"`
	Opening  string            `json:"opening"` // first bytes of each direction of a stream
	Frames   []frameVector     `json:"frames"`
	Codes    map[string]uint32 `json:"reset_codes"` // reason: code on the wire
	Protocol string            `json:"hello"`
}

type frameVector struct {
	Content string `json:"content"`
	Wire    string `json:"wire"`
}

func madeVectors(t *testing.T) (v vectors) {
	t.Helper()
	c := person(1)
	device := c.Device.ID()
	id, err := peerOf(device)
	if err != nil {
		t.Fatal(err)
	}
	address, err := Address("/ip4/127.0.0.1/udp/4001/quic-v1", device)
	if err != nil {
		t.Fatal(err)
	}
	wire := func(content []byte) string {
		var b bytes.Buffer
		if err := writeFrame(&b, content); err != nil {
			t.Fatal(err)
		}
		return hex.EncodeToString(b.Bytes())
	}
	v = vectors{
		Device: device.String(), Peer: id.String(), Address: address, Protocol: helloProtocol,
		Opening: wire(types.Marshal(c.Certificate)),
		Codes: map[string]uint32{
			"none": uint32(codeOf(ReasonNone)), "certificate": uint32(codeOf(ReasonCertificate)),
			"expired": uint32(codeOf(ReasonExpired)), "banned": uint32(codeOf(ReasonBanned)),
			"busy": uint32(codeOf(ReasonBusy)), "too long": uint32(codeOf(ReasonTooLong)),
			"timeout": uint32(codeOf(ReasonTimeout)), "cancelled": uint32(codeOf(ReasonCancelled)),
			"failed": uint32(codeOf(ReasonFailed)), "64": uint32(codeOf(64)), "65535": uint32(codeOf(65535)),
		},
	}
	for _, content := range []string{"", "a", "hello"} {
		v.Frames = append(v.Frames, frameVector{hex.EncodeToString([]byte(content)), wire([]byte(content))})
	}
	return v
}

func TestVectors(t *testing.T) {
	path := filepath.Join("..", "spec", "vectors", "transport.json")
	made := madeVectors(t)
	if *update {
		b, err := json.MarshalIndent(made, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, append(b, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var kept vectors
	if err := json.Unmarshal(b, &kept); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(kept, made); diff != "" {
		t.Fatalf("spec/vectors/transport.json (-) and the code (+) differ:\n%s", diff)
	}
	opening, err := hex.DecodeString(kept.Opening)
	if err != nil {
		t.Fatal(err)
	}
	frame, err := readFrame(bytes.NewReader(opening), 160)
	if err != nil {
		t.Fatal(err)
	}
	if have, err := newCards().verify(frame, person(1).Device.ID(), start); err != nil || have != person(1).Certificate {
		t.Fatalf("the opening reads as %+v, error %v", have, err)
	}
}
