// Package gateway is the door for validators: the HTTP endpoints of document 003
// over HTTPS, and the same handlers over a stream for nodes behind a router. It
// gives an epoch's logs and SMASH answers to that epoch's validators and to the
// owner only (ST4), and takes signed feedback.
//
// Both ends of a connection are devices of the registry: TLS 1.3 with a
// self-signed certificate of the device key each, checked against the chain and
// not against a certificate authority.
//
// A Gateway may be used from many goroutines at once. Serve starts a goroutine a
// connection and waits for all of them.
package gateway
