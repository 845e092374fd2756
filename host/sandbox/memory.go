package sandbox

import "github.com/tetratelabs/wazero/experimental"

// linearMemory is a guest's memory. It refuses to grow past its limit, which the
// guest sees as memory.grow answering -1, and can be put back to an image.
type linearMemory struct {
	limit   uint64       // bytes
	region  []byte       // reserved: limit bytes of address space, zero where nothing was written
	length  uint64       // bytes in use
	refused bool         // it was asked for more than its limit
	shrink  uint64       // where not 0, what the next Reallocate answers instead of growing
	foreign bool         // the region is the engine's own
	regions []pageRegion // where the kernel tells what was written
	mapped  bool         // the image is mapped: dropping private pages brings it back
}

// Allocate makes the instance's one memory.
func (m *linearMemory) Allocate(_, _ uint64) experimental.LinearMemory { return m }

// Reallocate grows the memory, or returns nil past the limit.
func (m *linearMemory) Reallocate(size uint64) []byte {
	if m.shrink > 0 {
		m.length, m.shrink = m.shrink, 0
		return m.region[:m.length:m.length]
	}
	if size > m.limit {
		m.refused = true
		return nil
	}
	if m.region == nil {
		region, err := reserve(m.limit)
		if err != nil {
			m.refused = true
			return nil
		}
		m.region = region
	}
	m.length = size
	return m.region[:size:size]
}

// bytes returns what is in use.
func (m *linearMemory) bytes() memory { return memory(m.region[:m.length:m.length]) }

// Free gives the address space back. The length stays known.
func (m *linearMemory) Free() {
	if !m.foreign {
		release(m.region)
	}
	m.region = nil
}

// copyThreshold is the size of an image up to which copying it back is cheaper
// than dropping and faulting private pages: see BenchmarkReset. Where the system
// tells which pages were written, every image is mapped.
const copyThreshold = 256 << 10

// restore puts the content back to the image. The length is the caller's to
// shrink, through the engine.
func (m *linearMemory) restore(img *image) error {
	if m.mapped {
		return m.revert(img)
	}
	copy(m.region, img.memory)
	if m.length > img.size {
		return zero(m.region[img.size:m.length])
	}
	return nil
}

// zero clears grown memory: by dropping its pages where there are many.
func zero(b []byte) error {
	if len(b) > copyThreshold {
		return discard(b)
	}
	clear(b)
	return nil
}
