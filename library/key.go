package library

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Key opens one private dataset (K0). It prints as what it is, never as its
// bytes; Ref.Link is the one place that writes it. The zero value is no key.
type Key [32]byte

// Format hides the secret from every verb of package fmt.
func (Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "key (secret)") }

// IsZero reports whether there is no key.
func (k Key) IsZero() bool { return k == Key{} }

// keyMark comes between a reference and the key in a link.
const keyMark = "#k="

// cutKey takes the key off a link. What is left may be shown. Errors do not quote
// what came after the mark.
func cutKey(s string) (rest string, k Key, err error) {
	at := strings.LastIndex(s, keyMark)
	if at < 0 {
		return s, k, nil
	}
	rest, text := s[:at], s[at+len(keyMark):]
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) != len(k) {
		return rest, k, fmt.Errorf("what follows %s is no key of 43 characters (it has %d)", keyMark, len(text))
	}
	if k = Key(b); k.IsZero() {
		return rest, k, errors.New("a key of zeros")
	}
	return rest, k, nil
}

// Link is the full reference with its key, for whoever shall be able to read.
// It is a secret as a whole; without a key it is String.
func (r Ref) Link() string {
	if r.Key.IsZero() {
		return r.String()
	}
	return r.String() + keyMark + base64.RawURLEncoding.EncodeToString(r.Key[:])
}
