package pipeline

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
)

// problems collects a file's errors, so that a user sees all of them at once.
type problems struct {
	list []error
	code kernel.Code // of what breaks the format: a pipeline's, or the configuration's
}

func (p *problems) add(err *kernel.Error) { p.list = append(p.list, err) }

func (p *problems) err() error { return errors.Join(p.list...) }

// section reads the members of a mapping and knows which were asked for, so that
// a misspelt one does not go unseen.
type section struct {
	*problems
	at    *value
	m     *mapping
	what  string // how errors call it
	asked []string
}

// open returns the members of v; it complains and answers nil if v is no mapping.
func (p *problems) open(v *value, what string) *section {
	m, ok := v.v.(*mapping)
	if !ok {
		p.add(v.errorf(p.code, "write name: value lines", "%s must be a mapping, this is %s", what, v.typeName()))
		return nil
	}
	return &section{problems: p, at: v, m: m, what: what}
}

// get returns a member; nil where it is absent or null.
func (s *section) get(name string) *value {
	s.asked = append(s.asked, name)
	v, ok := s.m.members[name]
	if !ok || v.v == nil {
		return nil
	}
	return v
}

// member opens a member that is a mapping; nil where it is absent.
func (s *section) member(name string) *section {
	v := s.get(name)
	if v == nil {
		return nil
	}
	return s.open(v, name)
}

func (s *section) text(name string) string {
	v := s.get(name)
	if v == nil {
		return ""
	}
	text, ok := v.v.(string)
	if !ok {
		s.add(v.errorf(s.code, "put it in quotes", "%s must be a string, this is %s", name, v.typeName()))
	}
	return text
}

func (s *section) required(name string) string {
	text := s.text(name)
	if text == "" && s.get(name) == nil {
		s.add(s.at.errorf(s.code, "add it", "%s needs %s", s.what, name))
	}
	return text
}

func (s *section) flag(name string) bool {
	v := s.get(name)
	if v == nil {
		return false
	}
	on, ok := v.v.(bool)
	if !ok {
		s.add(v.errorf(s.code, "write true or false", "%s must be a boolean, this is %s", name, v.typeName()))
	}
	return on
}

// positive reads a number above zero; zero where it is absent.
func (s *section) positive(name string) float64 {
	v := s.get(name)
	if v == nil {
		return 0
	}
	n, ok := v.v.(json.Number)
	f, err := n.Float64()
	if !ok || err != nil || f <= 0 {
		s.add(v.errorf(s.code, "give a number above zero", "%s must be a positive number", name))
		return 0
	}
	return f
}

// seconds reads a time in seconds, as hexDAG writes it, or with a unit ("200ms").
func (s *section) seconds(name string) time.Duration {
	v := s.get(name)
	if v == nil {
		return 0
	}
	if text, ok := v.v.(string); ok {
		d, err := time.ParseDuration(text)
		if err == nil && d > 0 {
			return d
		}
		s.add(v.errorf(s.code, `write seconds, or a unit as in "200ms"`, "%s is no duration", name))
		return 0
	}
	return time.Duration(s.positive(name) * float64(time.Second))
}

// texts reads a list of strings; a bare string is a list of one.
func (s *section) texts(name string) []string {
	v := s.get(name)
	if v == nil {
		return nil
	}
	if text, ok := v.v.(string); ok {
		return []string{text}
	}
	items, ok := v.v.([]*value)
	if !ok {
		s.add(v.errorf(s.code, "write a list", "%s must be a list of strings, this is %s", name, v.typeName()))
		return nil
	}
	list := make([]string, 0, len(items))
	for _, item := range items {
		text, ok := item.v.(string)
		if !ok {
			s.add(item.errorf(s.code, "put it in quotes", "an item of %s must be a string, this is %s", name, item.typeName()))
			continue
		}
		list = append(list, text)
	}
	return list
}

// items returns the values of a list.
func (s *section) items(name string) []*value {
	v := s.get(name)
	if v == nil {
		return nil
	}
	items, ok := v.v.([]*value)
	if !ok {
		s.add(v.errorf(s.code, "write a list", "%s must be a list, this is %s", name, v.typeName()))
	}
	return items
}

// rest complains about the members that nobody asked for: those that hexDAG has
// and this version does not run, and those that nobody knows.
func (s *section) rest(notYet ...string) {
	for _, name := range s.m.names {
		if slices.Contains(s.asked, name) {
			continue
		}
		at := s.m.keys[name]
		if at == nil {
			at = s.at
		}
		if slices.Contains(notYet, name) {
			s.add(at.errorf(kernel.CodeNotYet, "remove it; README lists under 'Not yet' what is still to come", "%s of %s is part of hexDAG and not built yet", name, s.what))
			continue
		}
		s.add(at.errorf(s.code, didYouMean(name, s.asked), "%s has no member %s", s.what, kernel.Quote(name)))
	}
}

// didYouMean suggests the nearest of the known names, or lists them.
func didYouMean(name string, known []string) string {
	best, distance := "", len(name)/2+1
	for _, k := range known {
		if d := editDistance(strings.ToLower(name), strings.ToLower(k)); d < distance {
			best, distance = k, d
		}
	}
	if best != "" {
		return "did you mean " + best + "?"
	}
	sorted := slices.Clone(known)
	slices.Sort(sorted)
	return "known are " + strings.Join(slices.Compact(sorted), ", ")
}

// editDistance is Levenshtein's, in one row.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			substitute := diagonal
			if a[i] != b[j] {
				substitute++
			}
			diagonal = row[j+1]
			row[j+1] = min(substitute, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
