package gateway

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/staddle/staddle/keys"
	"github.com/staddle/staddle/types"
)

// Errors of a handshake.
var (
	ErrCertificate = errors.New("not a certificate of a device")
	ErrDevice      = errors.New("certificate of another device")
	ErrStranger    = errors.New("device is not in the registry")
)

// certificate makes the device's self-signed certificate. Its dates and names say
// nothing: what counts is the key, which TLS proves.
func certificate(d keys.Device) (tls.Certificate, error) {
	seed := d.Seed()
	key := ed25519.NewKeyFromSeed(seed[:])
	plan := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: d.ID().String()},
		NotBefore:    time.Unix(0, 0), NotAfter: time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, plan, plan, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("certificate of device %s: %w", d.ID(), err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// deviceOf is the device that the other end proved to be: its handshake is
// signed by the key of its only certificate, which must be self-signed ed25519.
func deviceOf(s *tls.ConnectionState) (d types.Device, err error) {
	if s.Version != tls.VersionTLS13 || len(s.PeerCertificates) != 1 {
		return d, fmt.Errorf("%w: TLS %#x with %d certificates", ErrCertificate, s.Version, len(s.PeerCertificates))
	}
	c := s.PeerCertificates[0]
	key, ok := c.PublicKey.(ed25519.PublicKey)
	if !ok || len(key) != len(d) {
		return d, fmt.Errorf("%w: key is %s", ErrCertificate, c.PublicKeyAlgorithm)
	}
	if err := c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature); err != nil {
		return d, fmt.Errorf("%w: not self-signed: %w", ErrCertificate, err)
	}
	copy(d[:], key)
	return d, nil
}

// settings are what both ends share. check decides about the other device; there
// is no resumption, so it is asked on every connection.
func settings(own keys.Device, check func(types.Device) error) (*tls.Config, error) {
	c, err := certificate(own)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{"http/1.1"}, SessionTicketsDisabled: true,
		Certificates: []tls.Certificate{c}, ClientAuth: tls.RequireAnyClientCert,
		VerifyConnection: func(s tls.ConnectionState) error {
			d, err := deviceOf(&s)
			if err != nil {
				return err
			}
			return check(d)
		},
	}, nil
}

// expecting is the client's side: only this one device will do. Go's own check
// asks certificate authorities about names, of which there are none here;
// VerifyConnection takes its place and is the stricter of the two.
func expecting(own keys.Device, want types.Device) (*tls.Config, error) {
	c, err := settings(own, func(d types.Device) error {
		if d != want {
			return fmt.Errorf("%w: %s, want %s", ErrDevice, d, want)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	c.InsecureSkipVerify = true
	return c, nil
}
