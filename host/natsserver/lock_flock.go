//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd

package natsserver

import (
	"errors"
	"os"
	"syscall"
)

var errLocked = errors.New("another process has the folder")

// lockFile takes a file for this process. The system gives it back if the process dies.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errLocked
		}
		return nil, err
	}
	return f, nil
}
