// Package e2e tests the built program from outside: its tests run daemons as
// processes on loopback and use them as people do, through the command line and
// the socket. They take minutes, so they stand behind the build tag engine and
// `make engine` runs them.
package e2e
