package sandbox

import "encoding/binary"

// memory is a guest's linear memory as it is while one import runs. Addresses
// and lengths are the guest's: nothing is read or written outside of it.
type memory []byte

// read returns a view of n bytes from ptr on.
func (m memory) read(ptr, n uint32) ([]byte, bool) {
	if uint64(ptr)+uint64(n) > uint64(len(m)) {
		return nil, false
	}
	return m[ptr : uint64(ptr)+uint64(n) : uint64(ptr)+uint64(n)], true
}

func (m memory) write(ptr uint32, p []byte) bool {
	if uint64(ptr)+uint64(len(p)) > uint64(len(m)) {
		return false
	}
	copy(m[ptr:], p)
	return true
}

func (m memory) putU32(ptr uint32, v uint32) bool {
	p, ok := m.read(ptr, 4)
	if ok {
		binary.LittleEndian.PutUint32(p, v)
	}
	return ok
}

func (m memory) putU64(ptr uint32, v uint64) bool {
	p, ok := m.read(ptr, 8)
	if ok {
		binary.LittleEndian.PutUint64(p, v)
	}
	return ok
}
