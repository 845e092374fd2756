package executor

import (
	"slices"
	"strings"

	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/kernel"
)

// Schedule says which nodes of a graph may work, as the engine does for a run in one process: in the order in which
// they become ready, none after one has failed, and so many at once. It is deterministic, does nothing itself, and
// is for one goroutine.
type Schedule struct {
	graph    *Graph
	state    []engine.NodeState // "" until there is one
	outcome  []Ref
	next     [][]int
	missing  []int
	ready    []int
	bounds   []int // bytes that the answers of the nodes under way may have inline
	running  int
	done     int
	inline   int // bytes of all outcomes
	failed   bool
	rounds   []int
	waits    []engine.Wait
	spent    kernel.Spent
	kept     []Ref
	arrived  map[int][]Event // for nodes that go on
	byName   map[string]int
	reserved int
	order    []int // of the nodes that ended, as they did
}

// NewSchedule returns the schedule of a run that begins.
func NewSchedule(g *Graph) *Schedule {
	n := len(g.Nodes)
	s := &Schedule{
		graph: g, state: make([]engine.NodeState, n), outcome: make([]Ref, n), next: make([][]int, n), missing: make([]int, n), bounds: make([]int, n), rounds: make([]int, n),
		arrived: map[int][]Event{}, byName: make(map[string]int, n),
	}
	for i, node := range g.Nodes {
		s.byName[node.Name] = i
		if s.missing[i] = len(node.After); s.missing[i] == 0 {
			s.ready = append(s.ready, i)
		}
		for _, d := range node.After {
			s.next[d] = append(s.next[d], i)
		}
	}
	return s
}

// Next returns the task of the next node that may work, with its index; false, where none may now.
func (s *Schedule) Next() (int, Task, bool) {
	if len(s.ready) == 0 || s.failed || s.running >= s.graph.Concurrency {
		return 0, Task{}, false
	}
	i := s.ready[0]
	s.ready = s.ready[1:]
	s.running++
	s.bounds[i] = s.bound()
	s.reserved += s.bounds[i]
	node := &s.graph.Nodes[i]
	t := Task{Node: node.Name, Round: s.rounds[i], Spent: s.spent, Kept: slices.Clone(s.kept), Bound: s.bounds[i], Events: s.arrived[i]}
	for _, d := range node.Reads {
		if s.state[d] == engine.NodeFinished || s.state[d] == engine.NodeSkipped {
			t.Reads = append(t.Reads, s.result(d))
		}
	}
	if s.state[i] == engine.NodeWaiting { // it goes on
		before := s.outcome[i]
		t.Before = &before
		s.state[i] = ""
		delete(s.arrived, i)
	}
	return i, t, true
}

// bound is how many bytes one more outcome may have inline: less, the more there are.
func (s *Schedule) bound() int {
	left := InlineRun - s.inline - s.reserved
	if b := min(InlineValue, left/16); b >= 256 {
		return b
	}
	return 0
}

// Ended notes what came of a node's task.
func (s *Schedule) Ended(i int, d *Done) {
	s.running--
	s.reserved -= s.bounds[i]
	s.spent = s.spent.Add(d.Spent)
	if d.Kept != nil {
		s.kept = append(s.kept, *d.Kept)
		s.inline += len(d.Kept.Inline)
	}
	s.settle(i, d)
}

func (s *Schedule) settle(i int, d *Done) {
	s.inline += len(d.Outcome.Inline) - len(s.outcome[i].Inline)
	s.state[i], s.outcome[i] = d.State, d.Outcome
	s.order = append(s.order, i)
	switch d.State {
	case engine.NodeFinished, engine.NodeSkipped:
		s.done++
		for _, next := range s.next[i] {
			if s.missing[next]--; s.missing[next] == 0 {
				s.ready = append(s.ready, next)
			}
		}
	case engine.NodeWaiting:
		s.waits = append(s.waits, d.Waits...)
	default:
		s.failed = true
	}
}

// Spoil notes that a node failed without an outcome.
func (s *Schedule) Spoil(i int) {
	s.running--
	s.reserved -= s.bounds[i]
	s.failed = true
}

// Idle reports whether nothing is under way and nothing can begin.
func (s *Schedule) Idle() bool { return s.running == 0 && (len(s.ready) == 0 || s.failed) }

// Running returns how many nodes are under way.
func (s *Schedule) Running() int { return s.running }

// Suspended reports whether the run waits for events alone.
func (s *Schedule) Suspended() bool { return s.Idle() && !s.failed && len(s.waits) > 0 }

// Failed reports whether a node failed that has no handler.
func (s *Schedule) Failed() bool { return s.failed }

// Waits returns what nodes wait for.
func (s *Schedule) Waits() []engine.Wait { return s.waits }

// Done returns how many nodes are done.
func (s *Schedule) Done() int { return s.done }

// Spent returns what was spent.
func (s *Schedule) Spent() kernel.Spent { return s.spent }

// Spend notes what was spent beside nodes.
func (s *Schedule) Spend(by kernel.Spent) { s.spent = s.spent.Add(by) }

// Results returns what came of nodes, in their order.
func (s *Schedule) Results() []Result {
	var all []Result
	for i := range s.graph.Nodes {
		if s.state[i] != "" {
			all = append(all, s.result(i))
		}
	}
	return all
}

// After returns what came of nodes, as they ended, without the first so many.
func (s *Schedule) After(ends int) []Result {
	var later []Result
	for _, i := range s.order[min(max(ends, 0), len(s.order)):] {
		later = append(later, s.result(i))
	}
	return later
}

func (s *Schedule) result(i int) Result {
	return Result{Node: s.graph.Nodes[i].Name, State: s.state[i], Outcome: s.outcome[i]}
}

// Take gives an event to the nodes that wait for it. Those that wait for something inside go on, and are ready;
// of the others the waits are to be settled. came is whether anything waited for it.
func (s *Schedule) Take(e *Event) (settling []Settling, came bool) {
	var goOn []int
	for _, w := range slices.Clone(s.waits) {
		if e.Key != "" && w.EventKey != e.Key {
			continue
		}
		i := s.byName[w.Node]
		came = true
		if approval := strings.HasPrefix(w.EventKey, kernel.ApprovalKey); approval || len(w.Path) > 0 {
			inside := *e
			if inside.Path = w.Path; approval {
				inside.Path = nil // governance says whether it may
			}
			s.arrived[i] = append(s.arrived[i], inside)
			if !slices.Contains(goOn, i) {
				goOn = append(goOn, i)
			}
			continue
		}
		settling = append(settling, s.end(i, w, e))
	}
	for _, i := range goOn { // what else they wait for they will say again
		s.drop(s.graph.Nodes[i].Name)
		s.rounds[i]++
		s.ready = append(s.ready, i)
	}
	return settling, came
}

// Expire is Take for a wait whose time is up; false, where nothing waits for it any more.
func (s *Schedule) Expire(w engine.Wait) (Settling, bool) {
	if !slices.ContainsFunc(s.waits, func(o engine.Wait) bool { return same(o, w) }) {
		return Settling{}, false
	}
	return s.end(s.byName[w.Node], w, nil), true
}

func same(a, b engine.Wait) bool {
	return a.Node == b.Node && a.EventKey == b.EventKey && slices.Equal(a.Path, b.Path)
}

func (s *Schedule) end(i int, w engine.Wait, e *Event) Settling {
	s.drop(w.Node)
	s.running++ // until it is settled
	s.bounds[i] = s.bound()
	s.reserved += s.bounds[i]
	return Settling{Wait: w, Before: s.outcome[i], Event: e, Bound: s.bounds[i]}
}

func (s *Schedule) drop(node string) {
	s.waits = slices.DeleteFunc(s.waits, func(w engine.Wait) bool { return w.Node == node })
}

// Settled notes what came of the end of a wait.
func (s *Schedule) Settled(node string, d *Done) { s.Ended(s.byName[node], d) }
