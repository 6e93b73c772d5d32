package lines

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/staddle/staddle/settle"
	"github.com/staddle/staddle/types"
)

// ErrNotice marks the path of a feedback that is not in its one form.
var ErrNotice = errors.New("malformed feedback")

// Notice is what a validator tells a node about an epoch (document 003, section
// "Validator Signatures"): a finding of the stages, signed.
type Notice struct {
	settle.Feedback            // Node is who is told
	Proof           types.Hash // RejectedSmash: the answer that was refused
	Epoch           types.Epoch
	Validator       types.Account
	Signature       types.Signature // of Validator over Digest
}

// maxPath is longer than any feedback's path.
const maxPath = 512

// Values is the path of the endpoint without the signature, such as
// "/overreplication/<chunk>/5/12".
func (n *Notice) Values() string {
	switch n.Kind {
	case settle.RejectedSmash:
		return fmt.Sprintf("/%s/%s/%s", n.Kind, n.Chunk, n.Proof)
	case settle.FailedChunkClaim:
		return fmt.Sprintf("/%s/%s", n.Kind, n.Chunk)
	case settle.OverReplication:
		return fmt.Sprintf("/%s/%s/%d/%d", n.Kind, n.Chunk, n.Rep, n.Farmers)
	case settle.UnderReplication:
		return fmt.Sprintf("/%s/%s/%d", n.Kind, n.Chunk, n.Farmers)
	}
	return fmt.Sprintf("/%s/%s/%s", n.Kind, n.Peer, n.Receipt)
}

// Path is the whole path: the values, then the signature as 128 hex digits.
func (n *Notice) Path() string { return n.Values() + "/" + hex.EncodeToString(n.Signature[:]) }

// Digest is what the validator signs: H("staddle/feedback/1", chain, be64 epoch,
// validator, address of the node, values). A notice to one node means nothing
// to another.
func (n *Notice) Digest(chain types.ChainID) types.Hash {
	return types.H("staddle/feedback/1", chain[:], types.Be64(uint64(n.Epoch)), n.Validator[:], n.Node[:], types.Sized([]byte(n.Values())))
}

// ParseNotice reads a Path in its one spelling; Node, Epoch and Validator are
// not in it. Error: ErrNotice, also when the numbers are no reason for the
// feedback (ST11).
func ParseNotice(path string) (*Notice, error) {
	if len(path) > maxPath {
		return nil, fmt.Errorf("%w: path of %d bytes above %d", ErrNotice, len(path), maxPath)
	}
	parts := strings.Split(path, "/")
	n := new(Notice)
	if len(parts) < 2 || !n.named(parts[1]) {
		return nil, fmt.Errorf("%w: %.60q is no endpoint", ErrNotice, path)
	}
	if err := n.read(parts[2:]); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrNotice, n.Kind, err)
	}
	if n.Path() != path {
		return nil, fmt.Errorf("%w: %.60q is not in its one form", ErrNotice, path)
	}
	return n, nil
}

func (n *Notice) named(word string) bool {
	for k := settle.RejectedSmash; k <= settle.FailedBandwidthLog; k++ {
		if k.String() == word {
			n.Kind = k
			return true
		}
	}
	return false
}

// read takes the elements behind the endpoint's name.
func (n *Notice) read(parts []string) error {
	want := [...]int{settle.RejectedSmash: 3, settle.FailedChunkClaim: 2, settle.OverReplication: 4, settle.UnderReplication: 3, settle.FailedBandwidthLog: 3}[n.Kind]
	if len(parts) != want {
		return fmt.Errorf("%d values, want %d", len(parts), want)
	}
	sig, err := hex.DecodeString(parts[want-1])
	if err != nil || copy(n.Signature[:], sig) != len(n.Signature) || len(sig) != len(n.Signature) {
		return errors.New("signature is not 128 hex digits")
	}
	if n.Kind == settle.FailedBandwidthLog {
		n.Receipt = parts[1]
		n.Peer, err = types.ParseAddress(parts[0])
		return errors.Join(err, receiptText(n.Receipt))
	}
	if n.Chunk, err = types.ParseHash(parts[0]); err != nil {
		return err
	}
	switch n.Kind {
	case settle.RejectedSmash:
		n.Proof, err = types.ParseHash(parts[1])
	case settle.OverReplication:
		return n.over(parts[1], parts[2])
	case settle.UnderReplication:
		n.Farmers, err = count(parts[1], settle.DefaultMinRep-1)
	}
	return err
}

func (n *Notice) over(rep, farmers string) (err error) {
	if n.Rep, err = count(rep, settle.MaxRep); err != nil {
		return err
	}
	if n.Farmers, err = count(farmers, settle.MaxParties); err != nil {
		return err
	}
	if n.Rep == 0 || n.Farmers < 2*n.Rep {
		return fmt.Errorf("%d replicas of %d are not too many", n.Farmers, n.Rep)
	}
	return nil
}

func count(text string, limit int) (int, error) {
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil || n > uint64(limit) {
		return 0, fmt.Errorf("number %.20q is not between 0 and %d", text, limit)
	}
	return int(n), nil
}

// receiptText holds a receipt's name to the grammar of the lines.
func receiptText(text string) error {
	if len(text) == 0 || len(text) > settle.MaxReceipt {
		return fmt.Errorf("receipt of %d characters", len(text))
	}
	for _, c := range []byte(text) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_', c == '-':
		default:
			return fmt.Errorf("receipt %.40q has byte %#x", text, c)
		}
	}
	return nil
}
