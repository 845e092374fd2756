package policy

import "github.com/tetratelabs/wazero/experimental"

// memory backs an instance's memory. It has room to grow: each time the module asks for
// a page more, all that it has would else be copied.
type memory struct {
	room   uint64 // to begin with
	buffer []byte
	most   uint64
}

// Allocate implements experimental.MemoryAllocator, once.
func (m *memory) Allocate(least, most uint64) experimental.LinearMemory {
	m.most = most
	m.buffer = make([]byte, 0, min(max(least, m.room), most))
	return m
}

// Reallocate implements experimental.LinearMemory. It gives at most what the module's
// memory may have, as wazero has checked.
func (m *memory) Reallocate(size uint64) []byte {
	if size > uint64(cap(m.buffer)) {
		grown := make([]byte, len(m.buffer), max(size, min(2*uint64(cap(m.buffer)), m.most)))
		copy(grown, m.buffer)
		m.buffer = grown
	}
	m.buffer = m.buffer[:size]
	return m.buffer
}

// Free implements experimental.LinearMemory: the garbage collector takes it.
func (m *memory) Free() { m.buffer = nil }
