//go:build !linux && !darwin

package sandbox

import "runtime/debug"

// limitMemory makes the collector work hard from there on; this system has no
// harder limit that a process can set itself.
func limitMemory(bytes uint64) error {
	debug.SetMemoryLimit(int64(bytes))
	return nil
}
