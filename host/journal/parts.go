package journal

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
)

// Part is what a run did from its beginning, or since it was suspended, to its end, or until it was suspended again.
type Part struct {
	Head    *Head
	Began   time.Time
	Last    time.Time // of its last entry
	Entries []*Entry  // after the head
	End     *Entry    // nil where there is none
	// Recovered says that its host died and another went on.
	Recovered bool
}

// Parts returns the parts of a run.
func Parts(entries []*Entry) []*Part {
	var parts []*Part
	for _, e := range entries {
		if e.Kind == Begin {
			parts = append(parts, &Part{Head: e.Head, Began: e.Time, Last: e.Time})
			continue
		}
		if len(parts) == 0 {
			continue
		}
		p := parts[len(parts)-1]
		p.Entries = append(p.Entries, e)
		switch p.Last = e.Time; e.Kind {
		case End:
			p.End = e
		case Recover:
			p.Recovered = true
		}
	}
	return parts
}

// Comparable returns the entries that a faithful repetition has, too. Where the host died, who was told of what, and in
// which order, was not as in a run from one piece.
func (p *Part) Comparable() []*Entry {
	return slices.DeleteFunc(slices.Clone(p.Entries), func(e *Entry) bool {
		return e.Kind == Told && (p.Recovered || p.Stopped() && e.Event.Type == kernel.PipelineCompleted)
	})
}

// Stopped reports whether the run was stopped from outside: by its deadline, or by whoever ran it.
func (p *Part) Stopped() bool { return p.End != nil && p.End.Status == "cancelled" }

// Taken keeps entries in memory. It is a Sink.
type Taken struct {
	mu      sync.Mutex
	entries []*Entry
}

// Append keeps an entry.
func (t *Taken) Append(e Entry) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	e.Seq = uint64(len(t.entries)) + 1
	t.entries = append(t.entries, &e)
	return e.Seq
}

// AppendRan keeps the entry of a module's call.
func (t *Taken) AppendRan(r Return) uint64 { return t.Append(r.entry()) }

// Sync does nothing: there is nothing that could be lost.
func (t *Taken) Sync(context.Context) error { return nil }

// SyncTo does nothing, either.
func (t *Taken) SyncTo(context.Context, uint64) error { return nil }

// Entries returns what was kept.
func (t *Taken) Entries() []*Entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.entries)
}

// Endings are what became of the nodes at the top of a pipeline, and the fuel of the modules that were called for them; for
// what is of no node, under "".
type Endings struct {
	Nodes map[string]*Entry
	Fuel  map[string]int64
}

// Ends sums up entries.
func Ends(entries []*Entry) Endings {
	ends := Endings{Nodes: map[string]*Entry{}, Fuel: map[string]int64{}}
	for _, e := range entries {
		node, _, isInner := strings.Cut(e.Lane, "/")
		switch {
		case e.Kind == Done && !isInner:
			ends.Nodes[node] = e
		case e.Kind == Leave || e.Kind == Ran:
			ends.Fuel[node] += e.Fuel
		}
	}
	return ends
}

// Same reports whether a node ended alike.
func (e *Entry) Same(other *Entry) bool { return same(e, other) }

// Seed is what the randomness of a run that is done again follows from, where the recording has none.
func Seed(run string) [32]byte { return sha256.Sum256([]byte(run)) }

// Short is a name of a few digits for a text.
func Short(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:8])
}
