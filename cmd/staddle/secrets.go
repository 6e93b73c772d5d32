package main

import (
	"strings"
	"unsafe"
)

// hideKeys takes the keys of links out of what other users of this machine see in
// a list of processes. On Linux the strings of args lie where the kernel looks, so
// the key is copied first and written over then; elsewhere only the copy changes.
func hideKeys(args []string) {
	for i, a := range args {
		at := strings.LastIndex(a, "#k=")
		if at < 0 {
			continue
		}
		args[i] = strings.Clone(a)
		seen := unsafe.Slice(unsafe.StringData(a), len(a))
		for j := at + len("#k="); j < len(seen); j++ {
			seen[j] = '*'
		}
	}
}
