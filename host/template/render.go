package template

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hexdag/hexdag/host/expr"
	"github.com/hexdag/hexdag/host/kernel"
)

// rendering is one rendering of a template.
type rendering struct {
	source string
	scope  expr.Scope
	limits limits
	out    strings.Builder
	frames []*frame // the innermost last
	now    time.Time
	end    time.Time

	iterations, work, stored int
}

// frame holds what set and for give names to. Every turn of a loop has its own.
type frame struct {
	values map[string]kernel.Value
	loop   map[string]any // of a turn of a loop
}

func newRendering(source string, s expr.Scope, l limits) *rendering {
	r := &rendering{source: source, scope: s, limits: l, now: time.Now(), frames: []*frame{{}}}
	r.end = r.now.Add(l.time)
	return r
}

func (f *frame) set(name string, v kernel.Value) {
	if f.values == nil {
		f.values = map[string]kernel.Value{}
	}
	f.values[name] = v
}

func (r *rendering) nodes(nodes []node) error {
	for _, n := range nodes {
		if err := r.node(n); err != nil {
			return err
		}
	}
	return nil
}

func (r *rendering) node(n node) error {
	switch n := n.(type) {
	case text:
		return r.write(n.s, n.at)
	case output:
		v, err := r.value(n.value)
		if err != nil {
			return err
		}
		return r.write(expr.Str(v), n.value.at)
	case *branch:
		return r.branch(n)
	case *loop:
		return r.loop(n)
	case *assignment:
		v, err := r.value(n.value)
		if err != nil {
			return err
		}
		r.frames[len(r.frames)-1].set(n.name, v)
		return r.store(n.at, n.value, v)
	}
	return nil
}

func (r *rendering) write(s string, offset int) error {
	if n := r.out.Len() + len(s); n > r.limits.output {
		return at(r.source, offset, beyond("the template makes %s bytes", n, r.limits.output, "have it make less"))
	}
	r.out.WriteString(s)
	return nil
}

// store counts what a name keeps. What only has another name is there already.
func (r *rendering) store(offset int, e *expression, v kernel.Value) error {
	if e.path != nil {
		return nil
	}
	if r.stored += size(v); r.stored > r.limits.stored {
		return at(r.source, offset, beyond("the template keeps %s bytes in its names", r.stored, r.limits.stored, "set less"))
	}
	return nil
}

// size is about what a value takes in memory.
func size(v kernel.Value) int {
	n := 16
	switch v := v.(type) {
	case string:
		n += len(v)
	case []any:
		for _, item := range v {
			n += size(item)
		}
	case map[string]any:
		for name, member := range v {
			n += len(name) + 16 + size(member)
		}
	}
	return n
}

func (r *rendering) branch(b *branch) error {
	for i, condition := range b.conditions {
		holds := true
		if condition != nil {
			v, err := r.value(condition)
			if err != nil {
				return err
			}
			holds = truth(v)
		}
		if holds {
			return r.nodes(b.bodies[i])
		}
	}
	return nil
}

// truth is Python's.
func truth(v kernel.Value) bool {
	holds, err := truthOf.Predicate(expr.Map{"value": v})
	return err == nil && holds
}

var truthOf = mustCompile("value")

func (r *rendering) loop(l *loop) error {
	v, err := r.value(l.items)
	if err != nil {
		return err
	}
	items, ok := itemsOf(v)
	if !ok {
		return wrong(r.source, l.items.at, kernel.Quote(l.items.source)+" is "+expr.Str(v)+", and a for goes over a list, an object's names or a text", "give it a list")
	}
	if len(items) == 0 {
		return r.nodes(l.ifEmpty)
	}
	if err := r.store(l.at, l.items, v); err != nil {
		return err
	}
	for i, item := range items {
		if r.iterations++; r.iterations > r.limits.iterations {
			return at(r.source, l.at, beyond("the template's loops take %s turns", r.iterations, r.limits.iterations, "loop over fewer items"))
		}
		f := &frame{loop: turn(i, len(items))}
		if err := r.unpack(l, f, item); err != nil {
			return err
		}
		r.frames = append(r.frames, f)
		err := r.nodes(l.body)
		r.frames = r.frames[:len(r.frames)-1]
		if err != nil {
			return err
		}
	}
	return nil
}

func turn(i, n int) map[string]any {
	return map[string]any{
		"index": kernel.Number(int64(i + 1)), "index0": kernel.Number(int64(i)), "length": kernel.Number(int64(n)),
		"first": i == 0, "last": i == n-1,
	}
}

// itemsOf returns what a for goes over: items, the sorted names of an object, or
// characters.
func itemsOf(v kernel.Value) ([]any, bool) {
	switch v := v.(type) {
	case []any:
		return v, true
	case map[string]any:
		items := make([]any, 0, len(v))
		for name := range v {
			items = append(items, name)
		}
		slices.SortFunc(items, func(a, b any) int { return strings.Compare(a.(string), b.(string)) })
		return items, true
	case string:
		items := make([]any, 0, len(v))
		for _, c := range v {
			items = append(items, string(c))
		}
		return items, true
	}
	return nil, false
}

// unpack gives a turn's names their values.
func (r *rendering) unpack(l *loop, f *frame, item kernel.Value) error {
	if len(l.names) == 1 {
		f.set(l.names[0], item)
		return nil
	}
	parts, ok := item.([]any)
	if !ok || len(parts) != len(l.names) {
		return wrong(r.source, l.at, fmt.Sprintf("the for has %d names, and an item is no list of %d", len(l.names), len(l.names)), "write for key, value in object.items()")
	}
	for i, name := range l.names {
		f.set(name, parts[i])
	}
	return nil
}

// value is the value of an expression; what is undefined is an error.
func (r *rendering) value(e *expression) (kernel.Value, error) {
	v, missing, err := r.resolve(e)
	if missing != "" {
		err = r.undefined(e, missing)
	}
	return v, err
}

func (r *rendering) undefined(e *expression, missing string) error {
	names := r.names()
	why := kernel.Quote(missing) + " is undefined"
	fix := "define it (under spec.variables of a pipeline, as a parameter of a macro), or write | default('...'); what is known only when the pipeline runs belongs into a node's spec"
	if len(names) > 0 {
		why += "; " + kernel.DidYouMean(missing, names)
	}
	return wrong(r.source, e.at, why, fix)
}

func (r *rendering) names() []string {
	names := slices.Clone(r.scope.Names())
	for _, f := range r.frames {
		names = slices.AppendSeq(names, maps.Keys(f.values))
	}
	return names
}

// resolve returns the value of an expression, or what of it is undefined. Only a
// name with its members can be; elsewhere, what is missing is null, as in all of
// hexDAG's expressions.
func (r *rendering) resolve(e *expression) (v kernel.Value, missing string, err error) {
	cost := expressionWork
	if e.path != nil {
		cost = 1
	}
	if err := r.spend(e, cost); err != nil {
		return nil, "", err
	}
	if e.path != nil {
		v, missing = r.follow(e.path)
		return v, missing, nil
	}
	s := &scope{rendering: r, expression: e}
	v, err = e.program.Eval(s)
	switch {
	case s.err != nil:
		return nil, "", s.err
	case err != nil:
		return nil, "", explain(r.source, e, err)
	}
	return v, "", nil
}

func (r *rendering) spend(e *expression, cost int) error {
	if r.work += cost; r.work > r.limits.work {
		return at(r.source, e.at, beyond("the template takes %s units of work (a name is one, another expression or a filter "+strconv.Itoa(expressionWork)+")", r.work, r.limits.work, "loop over fewer items"))
	}
	if cost > 1 && time.Now().After(r.end) {
		return at(r.source, e.at, &kernel.Error{Code: kernel.CodeLimit, What: "the template takes too long", Why: "the limit is " + r.limits.time.String(), Fix: "loop over fewer items"})
	}
	return nil
}

// follow walks a path, and returns how far it is undefined.
func (r *rendering) follow(path []string) (v kernel.Value, missing string) {
	v, found := r.lookup(path[0])
	for i := 0; found && i+1 < len(path); i++ {
		if v, found = kernel.Field(v, path[i+1]); !found {
			return nil, strings.Join(path[:i+2], ".")
		}
	}
	if !found {
		return nil, path[0]
	}
	return v, ""
}

func (r *rendering) lookup(name string) (kernel.Value, bool) {
	for i := len(r.frames) - 1; i >= 0; i-- {
		f := r.frames[i]
		if v, ok := f.values[name]; ok {
			return v, true
		}
		if name == "loop" && f.loop != nil {
			return f.loop, true
		}
	}
	if v, ok := r.scope.Lookup(name); ok {
		return v, true
	}
	switch name {
	case "true":
		return true, true
	case "false":
		return false, true
	case "none":
		return nil, true
	}
	return nil, false
}

// scope is what an expression sees: the rendering's names, and its own filters.
type scope struct {
	rendering  *rendering
	expression *expression
	err        error // of a filter
}

// Lookup returns the value of a name, or of a filter.
func (s *scope) Lookup(name string) (kernel.Value, bool) {
	index, isPiped := strings.CutPrefix(name, placeholder)
	if !isPiped {
		return s.rendering.lookup(name)
	}
	i, err := strconv.Atoi(index)
	if err != nil || i >= len(s.expression.piped) || s.err != nil {
		return nil, true
	}
	v, err := s.rendering.pipe(s.expression.piped[i])
	if err != nil {
		s.err = err
	}
	return v, true
}

// Names returns the known names.
func (s *scope) Names() []string { return s.rendering.names() }

// Now is one moment for all of a rendering: the scope's, if it has a clock.
func (s *scope) Now() time.Time {
	if c, ok := s.rendering.scope.(interface{ Now() time.Time }); ok {
		return c.Now()
	}
	return s.rendering.now
}

// pipe runs a value through a filter or a test.
func (r *rendering) pipe(p *piped) (kernel.Value, error) {
	v, missing, err := r.resolve(p.value)
	if err != nil {
		return nil, err
	}
	if missing != "" && p.filter.missing == nil {
		return nil, r.undefined(p.value, missing)
	}
	if err := r.spend(p.value, expressionWork); err != nil {
		return nil, err
	}
	result, err := r.run(p, v, missing != "")
	if err != nil {
		return nil, err
	}
	if p.negate {
		return !truth(result), nil
	}
	return result, nil
}

func (r *rendering) run(p *piped, v kernel.Value, missing bool) (kernel.Value, error) {
	if p.filter.run != nil {
		result, err := p.filter.run(v)
		if err != nil {
			return nil, wrong(r.source, p.value.at, kernel.Quote(p.value.source)+" | "+p.name+": "+kernel.Quote(err.Error()), "give it a value of JSON")
		}
		return result, nil
	}
	given := expr.Map{"value": v}
	for i, param := range p.filter.params {
		given[param.name] = param.value
		if p.args[i] != nil {
			arg, err := r.value(p.args[i])
			if err != nil {
				return nil, err
			}
			given[param.name] = arg
		}
	}
	programs := p.filter.programs
	if missing {
		programs = []*expr.Program{p.filter.missing}
	}
	var result kernel.Value
	var err error
	for _, program := range programs {
		if result, err = program.Eval(given); err == nil {
			return result, nil
		}
		if kernel.CodeOf(err) == kernel.CodeLimit {
			break
		}
	}
	return nil, r.filterFailed(p, err)
}

func (r *rendering) filterFailed(p *piped, err error) error {
	var cause *kernel.Error
	if !errors.As(err, &cause) {
		return err
	}
	e := wrong(r.source, p.value.at, kernel.Quote(p.value.source)+" | "+p.name+": "+inside.ReplaceAllString(cause.Why, ""), cause.Fix)
	if cause.Code == kernel.CodeLimit {
		e.Code = kernel.CodeLimit
	}
	return e
}
