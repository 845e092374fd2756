package kernel

import (
	"fmt"
	"maps"
	"slices"
	"sync"
)

// RunMemory is what the nodes of one run keep for each other. It may be used by
// several goroutines.
type RunMemory struct {
	mu     sync.Mutex
	values map[string]Value
	labels map[string]*Labels
	hidden map[string]bool // what no journal is to have
	size   int
}

// maxRunMemory is how many bytes of JSON a run may keep.
const maxRunMemory = 8 << 20

// Get returns a value and its labels.
func (m *RunMemory) Get(key string) (Value, *Labels, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.values[key]
	return v, m.labels[key], ok
}

// Set keeps values and the labels of those that have any; either all of them or, with
// CodeLimit, none.
func (m *RunMemory) Set(values map[string]Value, labels map[string]*Labels) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	size := m.size
	for key, v := range values {
		text, err := EncodeJSON(v)
		if err != nil {
			return &Error{Code: CodeArguments, What: "pipeline_memory cannot keep " + Quote(key), Why: err.Error()}
		}
		size += len(key) + len(text)
		if old, there := m.values[key]; there {
			text, _ := EncodeJSON(old) // it was encoded when it was kept
			size -= len(key) + len(text)
		}
	}
	if size > maxRunMemory {
		return &Error{Code: CodeLimit, What: "pipeline_memory of the run is full", Why: fmt.Sprintf("it would hold %d bytes, the limit is %d", size, maxRunMemory), Fix: "keep artifacts instead"}
	}
	if m.values == nil {
		m.values = map[string]Value{}
	}
	maps.Copy(m.values, values)
	for key := range values {
		delete(m.labels, key)
		delete(m.hidden, key)
	}
	for key, l := range labels {
		if _, kept := values[key]; kept && l != nil {
			if m.labels == nil {
				m.labels = map[string]*Labels{}
			}
			m.labels[key] = l
		}
	}
	m.size = size
	return nil
}

// Hide says of what was kept under keys that governance lets no record have it.
func (m *RunMemory) Hide(keys ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.hidden == nil {
		m.hidden = map[string]bool{}
	}
	for _, key := range keys {
		m.hidden[key] = true
	}
}

// Hidden returns the keys of what no record may have, in their order.
func (m *RunMemory) Hidden() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.hidden))
}

// Snapshot returns all that is kept, and the labels of what has any.
func (m *RunMemory) Snapshot() (map[string]Value, map[string]*Labels) {
	m.mu.Lock()
	defer m.mu.Unlock()
	snapshot := make(map[string]Value, len(m.values))
	maps.Copy(snapshot, m.values)
	return snapshot, maps.Clone(m.labels)
}
