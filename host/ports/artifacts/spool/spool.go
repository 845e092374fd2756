// Package spool holds an object until its key is known, for backends that want the key
// first: in memory while it is small, then in a file.
package spool

import (
	"bytes"
	"io"
	"os"
)

// maxMemory is up to how many bytes an object waits in memory.
const maxMemory = 1 << 20

// Spool takes an object's bytes. It is used by one goroutine.
type Spool struct {
	dir   string
	small bytes.Buffer
	large *os.File // what small was, and the rest
	size  int64
}

// New returns a spool whose files are in dir; "" means the system's folder for such.
func New(dir string) *Spool { return &Spool{dir: dir} }

func (s *Spool) Write(p []byte) (n int, err error) {
	if s.large == nil && s.small.Len()+len(p) > maxMemory {
		if err := s.spill(); err != nil {
			return 0, err
		}
	}
	if s.large != nil {
		n, err = s.large.Write(p)
	} else {
		n, err = s.small.Write(p)
	}
	s.size += int64(n)
	return n, err
}

func (s *Spool) spill() error {
	f, err := os.CreateTemp(s.dir, "hexdag-artifact-*")
	if err != nil {
		return err
	}
	if _, err := f.Write(s.small.Bytes()); err != nil {
		_ = f.Close()
		_ = os.Remove(f.Name())
		return err
	}
	s.large, s.small = f, bytes.Buffer{}
	return nil
}

// Size returns how many bytes were written.
func (s *Spool) Size() int64 { return s.size }

// Reader returns what was written, from the start. It is good until the next call of
// a method.
func (s *Spool) Reader() (io.ReadSeeker, error) {
	if s.large == nil {
		return bytes.NewReader(s.small.Bytes()), nil
	}
	_, err := s.large.Seek(0, io.SeekStart)
	return s.large, err
}

// Close drops what was written. It may be called twice.
func (s *Spool) Close() {
	s.small = bytes.Buffer{}
	if s.large != nil {
		_ = s.large.Close()
		_ = os.Remove(s.large.Name()) // else the system clears its folder of it
		s.large = nil
	}
}
