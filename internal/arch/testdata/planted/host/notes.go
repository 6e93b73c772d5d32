//go:build notes

package host

import _ "example.org/planted/node"
