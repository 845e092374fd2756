// Package source reads hexDAG's YAML into values that know where they stand, with
// its includes and environment variables in place. Nothing of what a file says runs.
package source

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/hexdag/hexdag/host/kernel"
)

// Value is a YAML value that knows where it stands.
type Value struct {
	File         string
	Line, Column int
	V            any // nil, bool, json.Number, string, []*Value or *Mapping
}

// Mapping keeps its members' order and the places of their names.
type Mapping struct {
	Names   []string
	Members map[string]*Value
	Keys    map[string]*Value // the names, for their places
}

// Where returns the value's place.
func (v *Value) Where() kernel.Where {
	return kernel.Where{File: v.File, Line: v.Line, Column: v.Column}
}

// Errorf returns an error at the value's place.
func (v *Value) Errorf(code kernel.Code, fix, format string, args ...any) *kernel.Error {
	return &kernel.Error{Code: code, What: fmt.Sprintf(format, args...), Where: v.Where(), Fix: fix}
}

// With returns a value in v's place.
func (v *Value) With(inner any) *Value {
	return &Value{File: v.File, Line: v.Line, Column: v.Column, V: inner}
}

// Text returns a string; "" and false for anything else.
func (v *Value) Text() (string, bool) {
	text, ok := v.V.(string)
	return text, ok
}

// Member returns a member of a mapping; nil where v is none, or has none of that name.
func (v *Value) Member(name string) *Value {
	if m, ok := v.V.(*Mapping); ok {
		return m.Members[name]
	}
	return nil
}

// Plain returns the value without its places.
func (v *Value) Plain() kernel.Value {
	switch t := v.V.(type) {
	case []*Value:
		list := make([]any, len(t))
		for i, item := range t {
			list[i] = item.Plain()
		}
		return list
	case *Mapping:
		m := make(map[string]any, len(t.Members))
		for name, item := range t.Members {
			m[name] = item.Plain()
		}
		return m
	}
	return v.V
}

// TypeName names the value's type for an error.
func (v *Value) TypeName() string {
	switch v.V.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case json.Number:
		return "a number"
	case string:
		return "a string"
	case []*Value:
		return "a list"
	}
	return "a mapping"
}

// NewMapping returns a mapping without members.
func NewMapping() *Mapping {
	return &Mapping{Members: map[string]*Value{}, Keys: map[string]*Value{}}
}

// Clone returns a mapping with the same members.
func (m *Mapping) Clone() *Mapping {
	c := NewMapping()
	for _, name := range m.Names {
		c.Put(name, m.Keys[name], m.Members[name])
	}
	return c
}

// Merge takes over members of another mapping that are not there yet.
func (m *Mapping) Merge(other *Value) {
	source, ok := other.V.(*Mapping)
	if !ok {
		return
	}
	for _, name := range source.Names {
		if _, there := m.Members[name]; !there {
			m.Put(name, nil, source.Members[name])
		}
	}
}

// Put adds a member, or puts another in its place; key may be nil.
func (m *Mapping) Put(name string, key, item *Value) {
	if !slices.Contains(m.Names, name) {
		m.Names = append(m.Names, name)
	}
	m.Members[name] = item
	if key != nil {
		m.Keys[name] = key
	}
}
