package pipeline

import (
	"slices"
	"strings"

	"github.com/hexdag/hexdag/host/expr"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline/source"
)

// Machine is the states of one type of entity, and how one follows another.
type Machine struct {
	Entity  string
	Initial string
	States  []string // sorted
	Edges   map[string][]Edge
	// Requires are the fields of a transition's payload that must not be null for
	// an entity to enter a state.
	Requires map[string][]string
	Terminal []string  // states whose entities are forgotten
	OnChange *Function // is told of every transition; may be nil
	Where    kernel.Where
}

// Edge is a transition, under a guard where it has one.
type Edge struct {
	To    string
	Guard *Condition
}

// readMachines reads {entity: {initial, transitions: {FROM: [TO, {to, guard}]}}}.
func (r *reader) readMachines(s *source.Section) []*Machine {
	if s == nil {
		return nil
	}
	var machines []*Machine
	for _, name := range s.M.Names {
		if item := s.Member(name); item != nil {
			item.What = "state machine " + kernel.Quote(name)
			machines = append(machines, r.readMachine(name, item))
		}
	}
	return machines
}

func (r *reader) readMachine(name string, s *source.Section) *Machine {
	m := &Machine{Entity: name, Initial: textOf(first(s, "initial", "initial_state")), States: s.Texts("states"), Edges: map[string][]Edge{}, Requires: map[string][]string{}, Where: s.At.Where()}
	if m.Initial == "" {
		r.Add(s.At.Errorf(r.Code, "add initial: STATE", "%s needs initial", s.What))
	}
	declared := slices.Clone(m.States)
	mention := func(state string, at *source.Value) {
		if len(declared) > 0 && !slices.Contains(declared, state) {
			r.Add(at.Errorf(r.Code, kernel.DidYouMean(state, declared), "%s has no state %s", s.What, kernel.Quote(state)))
		}
		m.States = append(m.States, state)
	}
	mention(m.Initial, s.At)
	if transitions := s.Member("transitions"); transitions != nil {
		for _, from := range transitions.M.Names {
			mention(from, transitions.At)
			for _, item := range listOf(transitions.M.Members[from]) {
				if edge, ok := r.readEdge(item); ok {
					mention(edge.To, item)
					m.Edges[from] = append(m.Edges[from], edge)
				}
			}
		}
	}
	if handlers := s.Member("handlers"); handlers != nil {
		m.OnChange = r.function(handlers.Get("on_transition"), "on_transition")
		handlers.Rest()
	}
	slices.Sort(m.States)
	m.States = slices.Compact(m.States)
	s.Rest()
	return m
}

// listOf returns the items of a list; any other value is a list of one.
func listOf(v *source.Value) []*source.Value {
	if items, ok := v.V.([]*source.Value); ok {
		return items
	}
	return []*source.Value{v}
}

// readEdge reads a state, or {to: state, guard: expression}.
func (r *reader) readEdge(v *source.Value) (Edge, bool) {
	if to, ok := v.Text(); ok {
		return Edge{To: to}, true
	}
	s := r.Open(v, "a transition")
	if s == nil {
		return Edge{}, false
	}
	e := Edge{To: s.Required("to")}
	if g := s.Get("guard"); g != nil {
		e.Guard = r.condition(g, "guard")
	}
	s.Rest()
	return e, e.To != ""
}

// System is several pipelines: run one after the other, with pipes between them,
// or as the states of entities ask for them.
type System struct {
	File        string
	Name        string
	Description string
	Where       kernel.Where
	Processes   []*Process // of a graph, in the order in which they run
	Machines    []*Machine // not empty: the system follows entities
	OnEnter     map[string]string
	OnEdge      map[string]string // "A -> B" to a process; both maps also by "TYPE.A"
	Ports       map[string]PortSpec
	Services    map[string]ServiceSpec
	Warnings    []*kernel.Error
}

// Process is a pipeline of a system.
type Process struct {
	Name     string
	Pipeline *Pipeline
	Pipes    []*Pipe // into it
}

// Pipe hands results of one process to the input of another.
type Pipe struct {
	From    string
	Mapping []PipeField
}

// PipeField is one field of an input: "{{ process.node }}", which keeps its type
// where it stands alone.
type PipeField struct {
	Name     string
	Template *Template
	literal  kernel.Value
	isText   bool
}

// Value resolves the field; results answers for a node of a process.
func (f *PipeField) Value(results func(process, node string) kernel.Value) kernel.Value {
	if !f.isText {
		return f.literal
	}
	if ref, ok := f.Template.only(); ok && len(ref.Path) == 2 {
		return results(ref.Path[0], ref.Path[1])
	}
	var b strings.Builder
	for i, ref := range f.Template.refs {
		b.WriteString(f.Template.literals[i])
		if v := results(ref.Path[0], ref.Path[len(ref.Path)-1]); v != nil {
			b.WriteString(expr.Str(v))
		}
	}
	b.WriteString(f.Template.literals[len(f.Template.refs)])
	return b.String()
}
