// Package chain is clean.
package chain

import _ "example.org/planted/trie"
