//go:build !(darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd)

package auditlog

import (
	"errors"
	"io/fs"
	"os"
)

// lock takes the log for this process by making its lock file. A process that
// dies leaves the file behind, to be removed by hand.
func (d folder) lock() (*os.File, error) {
	f, err := d.root.OpenFile(lockFile, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, d.locked(err)
	}
	if err != nil {
		return nil, unusable(d.name, err)
	}
	return f, nil
}

func unlock(f *os.File) error {
	return errors.Join(f.Close(), os.Remove(f.Name()))
}
