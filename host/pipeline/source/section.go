package source

import (
	"encoding/json"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
)

// Problems collects a file's errors, so that a user sees all of them at once.
type Problems struct {
	list []error
	Code kernel.Code // of what breaks the format: a pipeline's, or the configuration's
}

// Add notes a problem.
func (p *Problems) Add(err *kernel.Error) { p.list = append(p.list, err) }

// List returns what was collected.
func (p *Problems) List() []error { return p.list }

// Join adds what another has collected.
func (p *Problems) Join(other *Problems) { p.list = append(p.list, other.list...) }

// Err joins what was collected; nil if nothing was.
func (p *Problems) Err() error { return errors.Join(p.list...) }

// Section reads the members of a mapping and knows which were asked for, so that
// a misspelt one does not go unseen.
type Section struct {
	*Problems
	At    *Value
	M     *Mapping
	What  string // how errors call it
	asked []string
}

// Open returns the members of v; it complains and answers nil if v is no mapping.
func (p *Problems) Open(v *Value, what string) *Section {
	m, ok := v.V.(*Mapping)
	if !ok {
		p.Add(v.Errorf(p.Code, "write name: value lines", "%s must be a mapping, this is %s", what, v.TypeName()))
		return nil
	}
	return &Section{Problems: p, At: v, M: m, What: what}
}

// Get returns a member; nil where it is absent or null.
func (s *Section) Get(name string) *Value {
	s.asked = append(s.asked, name)
	v, ok := s.M.Members[name]
	if !ok || v.V == nil {
		return nil
	}
	return v
}

// Member opens a member that is a mapping; nil where it is absent.
func (s *Section) Member(name string) *Section {
	v := s.Get(name)
	if v == nil {
		return nil
	}
	return s.Open(v, name)
}

// Text reads a string; "" where it is absent.
func (s *Section) Text(name string) string {
	v := s.Get(name)
	if v == nil {
		return ""
	}
	text, ok := v.V.(string)
	if !ok {
		s.Add(v.Errorf(s.Code, "put it in quotes", "%s must be a string, this is %s", name, v.TypeName()))
	}
	return text
}

// Required is Text for a member that has to be there.
func (s *Section) Required(name string) string {
	text := s.Text(name)
	if text == "" && s.Get(name) == nil {
		s.Add(s.At.Errorf(s.Code, "add it", "%s needs %s", s.What, name))
	}
	return text
}

// Flag reads a boolean; false where it is absent.
func (s *Section) Flag(name string) bool {
	v := s.Get(name)
	if v == nil {
		return false
	}
	on, ok := v.V.(bool)
	if !ok {
		s.Add(v.Errorf(s.Code, "write true or false", "%s must be a boolean, this is %s", name, v.TypeName()))
	}
	return on
}

// Positive reads a number above zero; zero where it is absent.
func (s *Section) Positive(name string) float64 {
	v := s.Get(name)
	if v == nil {
		return 0
	}
	n, ok := v.V.(json.Number)
	f, err := n.Float64()
	if !ok || err != nil || f <= 0 {
		s.Add(v.Errorf(s.Code, "give a number above zero", "%s must be a positive number", name))
		return 0
	}
	return f
}

// Seconds reads a time in seconds, as hexDAG writes it, or with a unit ("200ms").
func (s *Section) Seconds(name string) time.Duration {
	v := s.Get(name)
	if v == nil {
		return 0
	}
	if text, ok := v.V.(string); ok {
		d, err := time.ParseDuration(text)
		if err == nil && d > 0 {
			return d
		}
		s.Add(v.Errorf(s.Code, `write seconds, or a unit as in "200ms"`, "%s is no duration", name))
		return 0
	}
	return time.Duration(s.Positive(name) * float64(time.Second))
}

// Texts reads a list of strings; a bare string is a list of one.
func (s *Section) Texts(name string) []string {
	v := s.Get(name)
	if v == nil {
		return nil
	}
	if text, ok := v.V.(string); ok {
		return []string{text}
	}
	items, ok := v.V.([]*Value)
	if !ok {
		s.Add(v.Errorf(s.Code, "write a list", "%s must be a list of strings, this is %s", name, v.TypeName()))
		return nil
	}
	list := make([]string, 0, len(items))
	for _, item := range items {
		text, ok := item.V.(string)
		if !ok {
			s.Add(item.Errorf(s.Code, "put it in quotes", "an item of %s must be a string, this is %s", name, item.TypeName()))
			continue
		}
		list = append(list, text)
	}
	return list
}

// Items returns the values of a list.
func (s *Section) Items(name string) []*Value {
	v := s.Get(name)
	if v == nil {
		return nil
	}
	items, ok := v.V.([]*Value)
	if !ok {
		s.Add(v.Errorf(s.Code, "write a list", "%s must be a list, this is %s", name, v.TypeName()))
	}
	return items
}

// Amount reads a whole number above zero; zero where it is absent.
func (s *Section) Amount(name string) int {
	n := s.Positive(name)
	if n != 0 && (n < 1 || n > math.MaxInt64/2 || n != math.Trunc(n)) {
		s.Add(s.Get(name).Errorf(s.Code, "give a whole number above zero", "%s is no amount", name))
		return 0
	}
	return int(n)
}

// Bound reads a number of at least zero; nil where it is absent.
func (s *Section) Bound(name string) *float64 {
	v := s.Get(name)
	if v == nil {
		return nil
	}
	n, ok := v.V.(json.Number)
	f, err := n.Float64()
	if !ok || err != nil || f < 0 {
		s.Add(v.Errorf(s.Code, "give a number from zero", "%s must be a number of at least zero", name))
		return nil
	}
	return &f
}

// Asked returns the names of the members that were asked for.
func (s *Section) Asked() []string { return s.asked }

// Unasked returns the names of the members that nobody asked for.
func (s *Section) Unasked() []string {
	return slices.DeleteFunc(slices.Clone(s.M.Names), func(name string) bool { return slices.Contains(s.asked, name) })
}

// Rest complains about the members that nobody asked for: those that hexDAG has
// and this version does not run, and those that nobody knows.
func (s *Section) Rest(notYet ...string) {
	for _, name := range s.M.Names {
		if slices.Contains(s.asked, name) {
			continue
		}
		at := s.M.Keys[name]
		if at == nil {
			at = s.At
		}
		if slices.Contains(notYet, name) {
			s.Add(at.Errorf(kernel.CodeNotYet, "remove it; README lists under 'Not yet' what is still to come", "%s of %s is part of hexDAG and not built yet", name, s.What))
			continue
		}
		s.Add(at.Errorf(s.Code, kernel.DidYouMean(name, s.asked), "%s has no member %s", s.What, kernel.Quote(name)))
	}
}
