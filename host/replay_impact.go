package host

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/journal"
	"github.com/hexdag/hexdag/host/journal/driver"
	"github.com/hexdag/hexdag/host/kernel"
)

// ReplayImpact is what would have been otherwise in a number of recorded runs.
type ReplayImpact struct {
	Runs       int            `json:"runs"`
	Same       int            `json:"same"`
	Endings    []ReplayChange `json:"endings"`   // runs that would have ended otherwise
	Decisions  []ReplayChange `json:"decisions"` // that governance would have made otherwise, by operation
	Steps      []ReplayChange `json:"steps"`     // the first of each run that was otherwise, of what was to be as it was
	Nodes      []ReplayChange `json:"nodes"`     // that would have answered otherwise
	Unrecorded []ReplayChange `json:"unrecorded"`
	Unreplayed []ReplayChange `json:"unreplayed"` // runs that could not be done again, and why
}

// ReplayChange is one kind of what is otherwise.
type ReplayChange struct {
	What    string `json:"what"`
	Was     string `json:"was,omitempty"`
	Is      string `json:"is,omitempty"`
	Count   int    `json:"count"`
	Example string `json:"example"` // a run
}

// Impact does runs again, and sums up what is other than it was. each, if not nil, is told of every run.
func (r *Replayer) Impact(ctx context.Context, runs []*driver.Run, each func(*Replayed, error)) (*ReplayImpact, error) {
	s := summary{endings: changes{}, decisions: changes{}, steps: changes{}, nodes: changes{}, unrecorded: changes{}, unreplayed: changes{}}
	for _, run := range runs {
		if ctx.Err() != nil {
			return nil, kernel.ContextError(ctx)
		}
		replayed, err := r.Run(ctx, run.ID)
		if each != nil {
			each(replayed, err)
		}
		s.add(run.ID, replayed, err)
	}
	return s.impact(), nil
}

type changeKey struct{ what, was, is string }

// changes count what is otherwise, with an example of each.
type changes map[changeKey]*ReplayChange

func (c changes) add(run, what, was, is string) {
	key := changeKey{what, was, is}
	if c[key] == nil {
		c[key] = &ReplayChange{What: what, Was: was, Is: is, Example: run}
	}
	c[key].Count++
}

func (c changes) list() []ReplayChange {
	list := make([]ReplayChange, 0, len(c))
	for _, one := range c {
		list = append(list, *one)
	}
	slices.SortFunc(list, func(a, b ReplayChange) int {
		return cmp.Or(b.Count-a.Count, cmp.Compare(a.What, b.What), cmp.Compare(a.Was, b.Was), cmp.Compare(a.Is, b.Is))
	})
	return list
}

type summary struct {
	runs, same                                               int
	endings, decisions, steps, nodes, unrecorded, unreplayed changes
}

func (s *summary) add(run string, r *Replayed, err error) {
	s.runs++
	if err != nil {
		why := err.Error()
		var e *kernel.Error
		if errors.As(err, &e) {
			why = e.What
		}
		s.unreplayed.add(run, why, "", "")
		return
	}
	if r.Was == r.Is && len(r.Nodes)+len(r.Differences) == 0 {
		s.same++
		return
	}
	if r.Was != r.Is {
		s.endings.add(run, "run of "+kernel.Quote(r.Pipeline), string(r.Was), string(r.Is))
	}
	for _, n := range r.Nodes {
		if n.Was != n.Is {
			s.nodes.add(run, "node "+kernel.Quote(n.Node), endingOf(n.Was), endingOf(n.Is))
		}
	}
	stepped := false
	for _, d := range r.Differences {
		switch {
		case d.Unrecorded:
			s.unrecorded.add(run, d.Is, "", "")
		case d.Decision:
			s.decisions.add(run, d.What, d.Was, d.Is)
		case !stepped:
			s.steps.add(run, d.What, d.Was, d.Is)
			stepped = true
		}
	}
}

// endingOf is how a node ended, without what it answered, which is another in every run.
func endingOf(text string) string {
	for _, state := range []journal.State{journal.Finished, journal.Skipped, journal.Failed, journal.Waiting} {
		if len(text) >= len(state) && text[:len(state)] == string(state) {
			return string(state)
		}
	}
	return text
}

func (s *summary) impact() *ReplayImpact {
	return &ReplayImpact{Runs: s.runs, Same: s.same, Endings: s.endings.list(), Decisions: s.decisions.list(), Steps: s.steps.list(), Nodes: s.nodes.list(), Unrecorded: s.unrecorded.list(), Unreplayed: s.unreplayed.list()}
}

// Denied returns how many runs would have been denied that were not.
func (i *ReplayImpact) Denied() int {
	n := 0
	for _, c := range i.Endings {
		if c.Is == string(engine.Denied) {
			n += c.Count
		}
	}
	return n
}
