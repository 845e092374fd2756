//go:build !linux

package sandbox

// Without memfd and MAP_PRIVATE an image is copied back, whatever its size.

func reserve(size uint64) ([]byte, error) { return make([]byte, size), nil }

func release([]byte) {}

func discard(b []byte) error {
	clear(b)
	return nil
}

// pageScanner and pageRegion are for a system that can tell which pages were written.
type pageScanner struct{}

func (*pageScanner) close() error { return nil }

type pageRegion struct{}

func (m *linearMemory) revert(*image) error { return nil } // nothing is mapped

type imageFile struct{}

func newImageFile([]byte, *pageScanner) (*imageFile, error) { return nil, nil }

func (*imageFile) close() {}

func (*imageFile) mapOnto(*linearMemory, uint64) error { return nil }
