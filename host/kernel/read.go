package kernel

import (
	"maps"
	"slices"
	"sync"
)

// maxRead is how many artifacts of one node are remembered as what it makes others from.
const maxRead = 256

// reads are the artifacts that nodes have read, by node.
type reads struct {
	mu     sync.Mutex
	byNode map[string][]string
}

// ReadArtifact notes that a node has read an artifact: what it stores from now on comes from
// that, too. Beyond 256 of one node, the first are forgotten.
func (r *RunContext) ReadArtifact(node, id string) {
	r.reads.mu.Lock()
	defer r.reads.mu.Unlock()
	if r.reads.byNode == nil {
		r.reads.byNode = map[string][]string{}
	}
	read := r.reads.byNode[node]
	if slices.Contains(read, id) {
		return
	}
	if len(read) == maxRead {
		read = read[1:]
	}
	r.reads.byNode[node] = append(slices.Clip(read), id) // not in place: Reads has returned it
}

// ArtifactsRead returns the artifacts that a node has read, sorted.
func (r *RunContext) ArtifactsRead(node string) []string {
	r.reads.mu.Lock()
	defer r.reads.mu.Unlock()
	return slices.Sorted(slices.Values(r.reads.byNode[node]))
}

// Reads returns the artifacts that nodes have read, by node.
func (r *RunContext) Reads() map[string][]string {
	r.reads.mu.Lock()
	defer r.reads.mu.Unlock()
	return maps.Clone(r.reads.byNode)
}

// Recall notes what Reads returned, of a run that goes on.
func (r *RunContext) Recall(reads map[string][]string) {
	for node, ids := range reads {
		for _, id := range ids {
			r.ReadArtifact(node, id)
		}
	}
}
