//go:build !linux

package host

// yieldToOthers does nothing where threads have no priority of their own.
func yieldToOthers() {}
