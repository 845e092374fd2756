package membus

import (
	"slices"
	"time"
)

// maxParked is how many groups that nobody is in a tenant has at most.
const maxParked = 1024

// park keeps a group that its last member has left, with what is not handled, until somebody joins.
// Of too many groups the one that was left first is forgotten, before all of those that are not kept
// without end; of too many bytes the oldest events: it is as much as the tenant keeps otherwise. The
// tenant is locked.
func (t *tenant) park(q *queue) {
	t.parked = append(t.parked, q)
	t.parked = slices.DeleteFunc(t.parked, func(q *queue) bool { return q.expired() && q.discard() })
	if len(t.parked) > maxParked {
		first := max(0, slices.IndexFunc(t.parked, func(q *queue) bool { return q.keep > 0 }))
		t.parked[first].discard()
		t.parked = slices.Delete(t.parked, first, first+1)
	}
	excess := -t.log.maxBytes
	for _, left := range t.parked {
		excess += left.weight()
	}
	for _, left := range t.parked {
		if excess <= 0 {
			break
		}
		excess -= left.trim(excess)
	}
}

// unpark returns a group that nobody is in, or nil. The tenant is locked.
func (t *tenant) unpark(group string, patterns []string) *queue {
	i := slices.IndexFunc(t.parked, func(q *queue) bool { return q.group == group })
	if i < 0 {
		return nil
	}
	q := t.parked[i]
	t.parked = slices.Delete(t.parked, i, i+1)
	if q.expired() || !slices.Equal(q.patterns, patterns) { // it is another group
		q.discard()
		return nil
	}
	return q
}

func (q *queue) expired() bool { return q.keep > 0 && time.Since(q.left) > q.keep }

func (q *queue) discard() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	return true
}

func (q *queue) weight() int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.bytes
}

// trim drops the oldest events until so many bytes are free, and returns how many are. What a
// handler still has in its hands stays.
func (q *queue) trim(excess int64) int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	before := q.bytes
	for before-q.bytes < excess && len(q.ready) > 0 {
		oldest := 0
		for i := range q.ready {
			if q.head(i).Sequence < q.head(oldest).Sequence {
				oldest = i
			}
		}
		l := &q.lanes[q.ready[oldest]]
		q.pop(l)
		if l.empty() {
			l.busy = false
			q.ready = slices.Delete(q.ready, oldest, oldest+1)
		}
	}
	return before - q.bytes
}
