package gateway

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/staddle/staddle/keys"
)

func key25519(d keys.Device) ed25519.PrivateKey {
	seed := d.Seed()
	return ed25519.NewKeyFromSeed(seed[:])
}

// signedBy makes a certificate of one key, signed by another.
func signedBy(t *testing.T, of, by any, public any) tls.Certificate {
	t.Helper()
	plan := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0)}
	der, err := x509.CreateCertificate(rand.Reader, plan, plan, public, by)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: of}
}

// attempt shakes hands with the gateway and asks for something; nil: an answer
// came.
func attempt(t *testing.T, addr string, c *tls.Config) error {
	t.Helper()
	conn, err := tls.Dial("tcp", addr, c)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "GET /bandwidthlog HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 1)) // in TLS 1.3 the server's refusal comes after the handshake
	return err
}

// Certificates of another device, of another kind and of nobody get no answer.
func TestForeignClients(t *testing.T) {
	s := newTown(t, nil)
	good, err := certificate(device(validator))
	if err != nil {
		t.Fatal(err)
	}
	other, err := certificate(device(99))
	if err != nil {
		t.Fatal(err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	mine, theirs := key25519(device(validator)), key25519(device(99))
	stolen := tls.Certificate{Certificate: good.Certificate, PrivateKey: theirs}
	chain := tls.Certificate{Certificate: [][]byte{good.Certificate[0], other.Certificate[0]}, PrivateKey: mine}
	cases := map[string]struct {
		certs []tls.Certificate
		most  uint16
		ok    bool
	}{
		"a validator":                    {[]tls.Certificate{good}, tls.VersionTLS13, true},
		"an unknown device":              {[]tls.Certificate{other}, tls.VersionTLS13, false},
		"a registered one, no validator": {[]tls.Certificate{must(certificate(device(host)))}, tls.VersionTLS13, false},
		"another's certificate":          {[]tls.Certificate{stolen}, tls.VersionTLS13, false},
		"signed by another":              {[]tls.Certificate{signedBy(t, mine, theirs, mine.Public())}, tls.VersionTLS13, false},
		"another kind of key":            {[]tls.Certificate{signedBy(t, curve, curve, curve.Public())}, tls.VersionTLS13, false},
		"two certificates":               {[]tls.Certificate{chain}, tls.VersionTLS13, false},
		"none":                           {nil, tls.VersionTLS13, false},
		"TLS 1.2":                        {[]tls.Certificate{good}, tls.VersionTLS12, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			//nolint:gosec // the server is not what is tested here
			err := attempt(t, s.addr, &tls.Config{Certificates: c.certs, MaxVersion: c.most, InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
			if c.ok != (err == nil) {
				t.Fatalf("error %v", err)
			}
		})
	}
}

func must(c tls.Certificate, err error) tls.Certificate {
	if err != nil {
		panic(err)
	}
	return c
}

// A client talks to the device of the registry or not at all.
func TestForeignServers(t *testing.T) {
	s := newTown(t, nil)
	c := Client{Device: device(validator)}
	if _, err := c.Get(t.Context(), s.addr, device(second).ID(), "/bandwidthlog"); !errors.Is(err, ErrDevice) {
		t.Fatalf("another device than wanted: %v", err)
	}
	impostor := New(Config{Device: device(99), Owner: s.gate.cfg.Owner, Chain: s.Node(owner), Logs: s.logs, Pieces: s.pieces})
	if _, err := c.Get(t.Context(), serve(t, impostor), device(owner).ID(), "/bandwidthlog"); !errors.Is(err, ErrDevice) {
		t.Fatalf("an impostor: %v", err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	mine, theirs := key25519(device(owner)), key25519(device(99))
	for name, cert := range map[string]tls.Certificate{
		"another kind of key": signedBy(t, curve, curve, curve.Public()),
		"signed by another":   signedBy(t, mine, theirs, mine.Public()),
	} {
		t.Run(name, func(t *testing.T) {
			addr := silent(t, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}})
			if _, err := c.Get(t.Context(), addr, device(owner).ID(), "/bandwidthlog"); !errors.Is(err, ErrCertificate) {
				t.Fatalf("error %v", err)
			}
		})
	}
	r, err := c.Get(t.Context(), s.addr, device(owner).ID(), "/bandwidthlog")
	if err != nil || r.StatusCode != 200 {
		t.Fatalf("the right one: %v", err)
	}
	if err := r.Body.Close(); err != nil {
		t.Fatal(err)
	}
}

// silent is a server that shakes hands and says nothing.
func silent(t *testing.T, c *tls.Config) string {
	t.Helper()
	ln, err := tls.Listen("tcp", "127.0.0.1:0", c)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 1))
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = ln.Close()
		<-done
	})
	return ln.Addr().String()
}

// A call ends with its context, also when the other end is silent.
func TestCallEndsWithContext(t *testing.T) {
	addr := silent(t, &tls.Config{Certificates: []tls.Certificate{must(certificate(device(owner)))}})
	ln, err := net.Listen("tcp", "127.0.0.1:0") // not even a handshake
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for _, at := range []string{addr, ln.Addr().String()} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		c := Client{Device: device(validator)}
		if _, err := c.Get(ctx, at, device(owner).ID(), "/bandwidthlog"); err == nil {
			t.Fatal("an answer of nobody")
		}
		cancel()
	}
}

func TestCertificateIsTheDevice(t *testing.T) {
	c := must(certificate(device(3)))
	x, err := x509.ParseCertificate(c.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	d, err := deviceOf(&tls.ConnectionState{Version: tls.VersionTLS13, PeerCertificates: []*x509.Certificate{x}})
	if err != nil || d != device(3).ID() {
		t.Fatalf("%s: %v", d, err)
	}
	if s := fmt.Sprint(d); x.Subject.CommonName != s {
		t.Fatalf("name %s, want %s", x.Subject.CommonName, s)
	}
}
