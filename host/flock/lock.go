// Package flock locks files among processes, where the system has flock (Linux, the BSDs, macOS, illumos);
// elsewhere it locks nothing.
package flock

import (
	"context"
	"os"
	"time"
)

// Lock waits until it has f's lock, alone or with others that share it, or the context ends. Closing f, or the
// end of the process, gives it back.
func Lock(ctx context.Context, f *os.File, exclusive bool) error {
	const longest = 20 * time.Millisecond
	for wait := time.Millisecond; ; wait = min(2*wait, longest) {
		got, err := tryLock(f, exclusive)
		if err == nil {
			err = ctx.Err()
		}
		if got || err != nil {
			return err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}
