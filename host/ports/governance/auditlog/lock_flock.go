//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd

package auditlog

import (
	"errors"
	"os"
	"syscall"
)

// lock takes the log for this process. The system gives it back if the process dies.
func (d folder) lock() (*os.File, error) {
	f, err := d.root.OpenFile(lockFile, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, unusable(d.name, err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return f, nil
	}
	f.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, d.locked(err)
	}
	return nil, unusable(d.name, err)
}

func unlock(f *os.File) error { return f.Close() }
