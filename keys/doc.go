// Package keys holds a person's secrets: the 24 words and what grows from them
// (account, recovery and dataset keys), the key of each device, the certificate
// that ties a device to its account, and the one rule by which signatures are
// accepted.
//
// It reads no clock and no randomness of its own: time and entropy are handed
// in. All functions may be called at once from many goroutines; a Batch belongs
// to one. Secrets print as names of what they are, never as their bytes.
package keys
