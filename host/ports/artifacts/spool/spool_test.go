package spool_test

import (
	"bytes"
	"io"
	"os"
	"testing"

	"github.com/hexdag/hexdag/host/ports/artifacts/spool"
)

func TestSpool(t *testing.T) {
	for _, size := range []int{0, 1, 1 << 20, 1<<20 + 1, 3 << 20} {
		dir := t.TempDir()
		s := spool.New(dir)
		data := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
		for rest := data; len(rest) > 0; {
			n, err := s.Write(rest[:min(len(rest), 100_000)])
			if err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		for range 2 {
			r, err := s.Reader()
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data) || s.Size() != int64(size) {
				t.Errorf("%d bytes of %d, size %d, %v", len(got), size, s.Size(), err)
			}
		}
		files := func() int {
			entries, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			return len(entries)
		}
		if got, want := files(), map[bool]int{true: 1}[size > 1<<20]; got != want {
			t.Errorf("%d bytes: %d files", size, got)
		}
		s.Close()
		s.Close()
		if files() != 0 {
			t.Errorf("%d bytes: files left", size)
		}
	}
}

func TestSpoolWithoutFolder(t *testing.T) {
	s := spool.New(t.TempDir() + "/none")
	defer s.Close()
	if _, err := s.Write(make([]byte, 2<<20)); !os.IsNotExist(err) {
		t.Error(err)
	}
}
