package entitystate

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
)

// Machine says which states the entities of a type have, and how they change.
type Machine struct {
	Entity      string // the type
	Initial     string
	States      []string          // if any, all that there are; else those that the rest names
	Transitions map[string][]Edge // by the state that they lead from
}

// Edge is a transition that a machine allows.
type Edge struct {
	To    string
	Guard string // what must hold, in whatever language Options.Guard reads; "" always does
}

// typeName is how the name of an entity's type is written; a key begins with it.
var typeName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,63}$`)

// Check returns CodeConfig errors for all that is wrong with the machine.
func (m *Machine) Check() error {
	var problems []error
	problem := func(format string, args ...any) {
		problems = append(problems, &kernel.Error{Code: kernel.CodeConfig, What: "state machine " + quote(m.Entity) + ": " + fmt.Sprintf(format, args...), Fix: "its states are " + strings.Join(m.States, ", ")})
	}
	if !typeName.MatchString(m.Entity) {
		problem("the name is 1 to 64 letters, digits, _, - and ., the first a letter or _")
	}
	if m.Initial == "" {
		problem("it has no initial state")
	} else if len(m.States) > 0 && !slices.Contains(m.States, m.Initial) {
		problem("the initial state %s is not one of its states", quote(m.Initial))
	}
	for _, from := range slices.Sorted(maps.Keys(m.Transitions)) {
		seen := map[string]bool{}
		for _, edge := range m.Transitions[from] {
			for _, state := range []string{from, edge.To} {
				if checkState(state) != nil || len(m.States) > 0 && !slices.Contains(m.States, state) {
					problem("the transition from %s to %s names the state %s, which is not one of its states", quote(from), quote(edge.To), quote(state))
				}
			}
			if seen[edge.To] {
				problem("there are two transitions from %s to %s", quote(from), quote(edge.To))
			}
			seen[edge.To] = true
		}
	}
	return errors.Join(problems...)
}

// states returns all states of the machine.
func (m *Machine) states() []string {
	if len(m.States) > 0 {
		return m.States
	}
	named := []string{m.Initial}
	for from, edges := range m.Transitions {
		named = append(named, from)
		for _, edge := range edges {
			named = append(named, edge.To)
		}
	}
	slices.Sort(named)
	return slices.Compact(named)
}

// edge returns the transition between two states, or an error that lists those there are.
func (m *Machine) edge(c *Change) (*Edge, error) {
	var allowed []string
	for _, edge := range m.Transitions[c.From] {
		if edge.To == c.To {
			return &edge, nil
		}
		allowed = append(allowed, quote(edge.To))
	}
	why := "from " + quote(c.From) + " it can go to " + strings.Join(allowed, ", ")
	if len(allowed) == 0 {
		why = "no transition leads from " + quote(c.From)
	}
	return nil, cannot(c, why)
}

func quote(text string) string { return "'" + kernel.Quote(text) + "'" }
