package entitystate

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
)

// MaxHistory is how many changes of an entity are kept: the latest.
const MaxHistory = 100

// maxReason bounds the reason of a change, in bytes.
const maxReason = 512

// Entry is a change of an entity's state.
type Entry struct {
	From   string    `json:"from,omitempty"` // "" is nowhere: the entity was registered
	To     string    `json:"to"`
	At     time.Time `json:"at"`
	Reason string    `json:"reason,omitempty"`
}

// record is what is kept of an entity, as one value: state and history change
// at once or not at all.
type record struct {
	State       string    `json:"state"`
	Created     time.Time `json:"created"`
	Transitions int64     `json:"transitions"`
	History     []Entry   `json:"history"`
	Claim       *claim    `json:"claim,omitempty"`
	// Fences are the largest tokens of locks that the entity was changed under within fenceTime, at most maxFences.
	Fences []fence `json:"fences,omitempty"`
	// Removed says that there is no such entity: what is left is what was seen of locks, for a while.
	Removed bool `json:"removed,omitempty"`
}

// fence is a lock's token.
type fence struct {
	Lock  string    `json:"lock"`
	Token uint64    `json:"token"`
	At    time.Time `json:"at"` // when it was last used
}

// A token is kept for fenceTime, however many other locks there are: who holds enough of them would else have
// one forgotten that an entity is guarded by. With maxFences an entity is changed under no further one.
const (
	fenceTime = 24 * time.Hour
	maxFences = 128
)

// under returns the record with the tokens of the locks that ctx's run holds, or why it may not be changed.
func (r *record) under(ctx context.Context, now time.Time) (*record, error) {
	held, err := kernel.FencesFrom(ctx)
	if err != nil || len(held) == 0 {
		return r, err
	}
	now = now.UTC()
	fences := slices.DeleteFunc(slices.Clone(r.Fences), func(f fence) bool { return f.At.Add(fenceTime).Before(now) })
	for _, f := range held {
		if i := slices.IndexFunc(fences, func(known fence) bool { return known.Lock == f.Lock }); i >= 0 {
			if seen := fences[i].Token; seen > f.Token {
				return nil, kernel.Stale(f, seen)
			}
			fences = slices.Delete(fences, i, i+1)
		}
		fences = append(fences, fence{Lock: f.Lock, Token: f.Token, At: now})
	}
	if len(fences) > maxFences {
		return nil, &kernel.Error{Code: kernel.CodeLimit, What: "the entity is changed under too many locks", Why: fmt.Sprintf("there were %d within %s, and it remembers %d", len(fences), fenceTime, maxFences), Fix: "guard an entity by one lock, named after it"}
	}
	copied := *r
	copied.Fences = fences
	return &copied, nil
}

// claim says that a transition is under way.
type claim struct {
	Owner string    `json:"owner"` // random, so that no two claims are the same
	Until time.Time `json:"until"`
}

func newRecord(initial string, now time.Time) *record {
	now = now.UTC()
	return &record{State: initial, Created: now, History: []Entry{{To: initial, At: now}}}
}

// changed returns the record after a change.
func (r *record) changed(c *Change, now time.Time) *record {
	history := slices.Concat(r.History, []Entry{{From: c.From, To: c.To, At: now.UTC(), Reason: c.Reason}})
	return &record{State: c.To, Created: r.Created, Transitions: r.Transitions + 1, Fences: r.Fences, History: history[max(0, len(history)-MaxHistory):]}
}

// claimed returns the record with a claim in place of the one that it may have.
func (r *record) claimed(owner string, until time.Time) *record {
	copied := *r
	copied.Claim = &claim{Owner: owner, Until: until.UTC()}
	return &copied
}

// released returns the record without a claim.
func (r *record) released() *record {
	copied := *r
	copied.Claim = nil
	return &copied
}

// removed returns the record of an entity that there is no more, and how long it is kept.
func (r *record) removed() (*record, time.Duration) {
	if len(r.Fences) == 0 {
		return &record{Removed: true}, time.Second
	}
	return &record{Removed: true, Fences: r.Fences}, fenceTime
}

func (r *record) value() kernel.Value {
	v, err := kernel.ToValue(r)
	if err != nil {
		panic(err) // a record is made of texts, numbers and times of this century
	}
	return v
}

func parseRecord(v kernel.Value) (*record, error) {
	var r record
	return &r, kernel.FromValue(v, &r)
}
