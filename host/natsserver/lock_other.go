//go:build !(darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd)

package natsserver

import (
	"errors"
	"os"
)

var errLocked = errors.New("another process has the folder")

// lockFile has nothing to lock with: the socket alone tells one process of another.
func lockFile(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
}
