// Package expr is hexDAG's expression language: the expressions of Python over JSON
// data, without anything else of Python. An expression reads what its scope gives it
// and reaches nothing more; what it may cost is limited.
package expr

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/hexdag/hexdag/host/kernel"
)

// Scope is what the names of an expression stand for. If it has a method
// Now() time.Time, that is the clock of now and utcnow; else it is the machine's.
type Scope interface {
	// Lookup returns the value of a name; false, if there is none.
	Lookup(name string) (kernel.Value, bool)
	// Names returns the known names, for error messages.
	Names() []string
}

// Map is a Scope of the names in it.
type Map map[string]kernel.Value

// Lookup returns the value of name.
func (s Map) Lookup(name string) (kernel.Value, bool) {
	v, ok := s[name]
	return v, ok
}

// Names returns the names, sorted.
func (s Map) Names() []string { return slices.Sorted(maps.Keys(s)) }

// Reference is a name that an expression reads: the root name, $ included, and the
// attributes that follow it, as in $input.order.lines.0. Offset is where it stands
// in the source, in bytes.
type Reference struct {
	Path   []string
	Offset int
}

// Program is a compiled expression. Several goroutines may evaluate it at once.
type Program struct {
	source     string
	eval       eval
	slots      int
	references []Reference
	machines   sync.Pool
}

// Compile reads an expression. What is wrong with it, or not allowed in it, is a
// *kernel.Error with CodeExpression, which says where and what to write instead.
func Compile(source string) (*Program, error) {
	if len(source) > maxSource {
		return nil, syntaxError(source, 0, "it has "+grouped(len(source))+" bytes; the limit is "+grouped(maxSource), "put large texts into data")
	}
	if !utf8.ValidString(source) {
		return nil, syntaxError(source, 0, "it is not valid UTF-8", "save the file as UTF-8")
	}
	tree, err := parse(source)
	if err != nil {
		return nil, err
	}
	c := &compiler{source: source}
	p := &Program{source: source, eval: c.expression(tree)}
	if c.err != nil {
		return nil, c.err
	}
	slices.SortStableFunc(c.references, func(a, b Reference) int { return a.Offset - b.Offset })
	p.slots, p.references = c.slots, c.references
	p.machines.New = func() any { return &machine{slots: make([]value, p.slots)} }
	return p, nil
}

// Source returns the expression as it was written.
func (p *Program) Source() string { return p.source }

// References returns the names that the expression reads from its scope, in the
// order in which they stand; a name that occurs twice is there twice.
func (p *Program) References() []Reference { return p.references }

// Eval returns the value of the expression. Numbers are json.Number, floats with a
// point or an exponent; tuples, sets and ranges are arrays, times are ISO texts. An
// error is a *kernel.Error with CodeExpressionFailed, or CodeLimit.
func (p *Program) Eval(s Scope) (kernel.Value, error) {
	m := p.machine(s)
	defer p.release(m)
	v, f := p.eval(m)
	if f == nil && v.kind == kindMissing {
		return nil, p.missing(v, s)
	}
	if f != nil {
		return nil, p.failed(f)
	}
	result, f := m.result(v)
	if f != nil {
		return nil, p.failed(f)
	}
	return result, nil
}

// Predicate returns the truth of the expression. What is missing and what fails is
// false; the error says why.
func (p *Program) Predicate(s Scope) (bool, error) {
	m := p.machine(s)
	defer p.release(m)
	v, f := p.eval(m)
	switch {
	case f != nil:
		return false, p.failed(f)
	case v.kind == kindMissing:
		return false, p.missing(v, s)
	}
	return truth(v), nil
}

func (p *Program) machine(s Scope) *machine {
	m, _ := p.machines.Get().(*machine)
	m.scope, m.steps, m.textLimit = s, maxSteps, maxText
	return m
}

// release keeps nothing of the data.
func (p *Program) release(m *machine) {
	clear(m.slots)
	clear(m.stack[:cap(m.stack)])
	*m = machine{slots: m.slots, stack: m.stack[:0]}
	p.machines.Put(m)
}

func (p *Program) failed(f *fault) error {
	e := &kernel.Error{Code: kernel.CodeExpressionFailed, What: "the expression failed: " + kernel.Quote(p.source), Why: f.why, Fix: f.fix}
	if f.limit {
		e.Code = kernel.CodeLimit
	}
	if f.at > 0 {
		e.Why = position(p.source, f.at-1) + ": " + f.why
	}
	return e
}

// missing is the error of an expression that is a name nobody knows.
func (p *Program) missing(v value, s Scope) error {
	names := slices.Clone(s.Names())
	slices.Sort(names)
	root, _, _ := strings.Cut(v.text(), ".")
	fix := "correct the name, or write default(" + v.text() + ", ...)"
	if known, ok := map[string]string{"true": "True", "false": "False", "null": "None", "none": "None"}[root]; ok {
		fix = "write " + known
	}
	list := "there are no names here"
	if len(names) > 0 {
		list = "available names: " + kernel.Quote(strings.Join(names, ", "))
	}
	return &kernel.Error{
		Code: kernel.CodeExpressionFailed, What: "the expression failed: " + kernel.Quote(p.source),
		Why: v.text() + " is missing; " + list, Fix: fix,
	}
}
