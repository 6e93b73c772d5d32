package keys

import (
	"errors"
	"fmt"
	"math"

	"github.com/staddle/staddle/types"
)

const (
	// CertificateVersion is the only version so far.
	CertificateVersion = 1
	// MaxCertificate bounds the canonical form, in bytes.
	MaxCertificate = 160

	domCertificate = "staddle/certificate/1"
)

// Roles are flags of what a device may do for its account. Flags without a
// name here are kept and mean nothing, so that a later one does not part old
// nodes from new ones.
type Roles uint32

// The flags (K1, K2). Their bits are never reused.
const (
	RoleMine     Roles = 1 << iota // signs blocks
	RoleHost                       // keeps replicas
	RoleEncode                     // encodes replicas for others
	RoleValidate                   // attests, audits, settles, votes
	RoleRelay                      // forwards streams for pay
	RoleLog                        // signs the headers of the account's logs
)

// Has reports whether all the flags of want are set.
func (r Roles) Has(want Roles) bool { return r&want == want }

// Certificate is an account's word that a device is its own (K1). It is the
// first message on every stream and part of the endpoint item.
type Certificate struct {
	Account   types.Account
	Device    types.Device
	Serial    uint64 // rises with each certificate that the account issues
	Roles     Roles
	Expiry    types.Millis // first moment at which it is void; positive
	Signature types.Signature
}

// Errors of Certificate.Verify, wrapped with the numbers.
var (
	ErrExpired   = errors.New("certificate expired")
	ErrSignature = errors.New("wrong signature")
)

// Issue fills in the account and the signature of c.
func Issue(by Signer, c Certificate) Certificate {
	c.Account = by.Account()
	digest := c.digest()
	c.Signature = by.Sign(digest[:])
	return c
}

// Verify tells why c does not hold at now: ErrExpired or ErrSignature. The
// cheap check comes first.
func (c Certificate) Verify(now types.Millis) error {
	if now >= c.Expiry {
		return fmt.Errorf("device %.8s: %w at %d, now %d", c.Device, ErrExpired, c.Expiry, now)
	}
	digest := c.digest()
	if !Verify(c.Account, digest[:], c.Signature) {
		return fmt.Errorf("certificate of device %.8s by account %s: %w", c.Device, c.Account.Short(), ErrSignature)
	}
	return nil
}

// digest is what the account signs. All parts have a fixed width (D1); the
// version is that of the domain.
func (c Certificate) digest() types.Hash {
	return types.H(domCertificate, c.Account[:], c.Device[:],
		types.Be64(c.Serial), types.Be32(uint32(c.Roles)), types.Be64(uint64(c.Expiry)))
}

// EncodeTo appends [version, account, device, serial, roles, expiry, signature].
func (c Certificate) EncodeTo(e *types.Encoder) {
	e.Array(7)
	e.Uint(CertificateVersion)
	e.Bytes(c.Account[:])
	e.Bytes(c.Device[:])
	e.Uint(c.Serial)
	e.Uint(uint64(c.Roles))
	e.Uint(uint64(c.Expiry))
	e.Bytes(c.Signature[:])
}

// DecodeFrom reads the tuple; another version or an expiry of 0 is refused.
// It does not check the signature.
func (c *Certificate) DecodeFrom(d *types.Decoder) {
	d.Tuple(7)
	if v := d.Uint(); d.Err() == nil && v != CertificateVersion {
		d.Fail("certificate of version %d, want %d", v, CertificateVersion)
	}
	d.Fixed(c.Account[:])
	d.Fixed(c.Device[:])
	c.Serial = d.Uint()
	c.Roles = Roles(d.Uint32())
	c.Expiry = types.Millis(d.Limit(math.MaxInt64))
	d.Fixed(c.Signature[:])
	if d.Err() == nil && c.Expiry == 0 {
		d.Fail("certificate with expiry 0")
	}
}
