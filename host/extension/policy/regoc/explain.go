package regoc

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/topdown"

	"github.com/hexdag/hexdag/host/kernel"
)

// Explanation says how rules made a decision.
type Explanation struct {
	Decision kernel.Value // nil if it is undefined
	// Applied are the rules whose conditions all hold: of the entrypoint, and those
	// that are named allow, approve or deny.
	Applied []Rule
	// Failed are those of which a condition does not hold.
	Failed []Rule
}

// Rule is a rule's part in a decision.
type Rule struct {
	Name       string // as hexdag.authz.allow
	Where      kernel.Where
	Conditions []Condition // all of an applied rule, the first of a failed one that does not hold
}

// Condition is one line of a rule's body.
type Condition struct {
	Text  string
	Where kernel.Where
	// Values are what the condition looks at: "input.action.name = "x"".
	Values []string
	// Because is the condition of another rule, on which this one depends, that failed.
	Because *Condition
}

// maxConditions bounds the lines of an explanation's rule.
const maxConditions = 32

// Explain evaluates an entrypoint with OPA's evaluator and says what each rule did.
func Explain(ctx context.Context, source Source, entrypoint string, input kernel.Value) (*Explanation, error) {
	r, written, err := evaluator(source, dataRef(entrypoint))
	if err != nil {
		return nil, err
	}
	p, err := r.PrepareForEval(ctx)
	if err != nil {
		return nil, buildError(err)
	}
	trace := topdown.NewBufferTracer()
	// Without its shortcuts, OPA evaluates each rule to its first failure.
	results, err := p.Eval(ctx, rego.EvalInput(input), rego.EvalQueryTracer(trace), rego.EvalRuleIndexing(false), rego.EvalEarlyExit(false))
	if err != nil {
		return nil, buildError(err)
	}
	w := &witness{entrypoint: dataRef(entrypoint), input: input, written: written, parent: map[uint64]uint64{}, rule: map[uint64]*ast.Rule{}, applied: map[*ast.Rule]bool{}, failed: map[*ast.Rule]failure{}}
	for _, e := range *trace {
		w.see(e)
	}
	x := w.explanation()
	if len(results) > 0 {
		if x.Decision, err = kernel.ToValue(results[0].Expressions[0].Value); err != nil {
			return nil, err
		}
	}
	return x, nil
}

func dataRef(entrypoint string) string { return "data." + strings.ReplaceAll(entrypoint, "/", ".") }

// evaluator compiles a source, tests excepted, for OPA's evaluator, and also returns
// the bodies of its rules as they are written: compiling rewrites them.
func evaluator(source Source, query string, opts ...func(*rego.Rego)) (*rego.Rego, bodies, error) {
	files, err := load(source.Dirs)
	if err != nil {
		return nil, nil, err
	}
	modules, err := files.parse(func(name string) bool { return !isTest(name) })
	if err != nil {
		return nil, nil, err
	}
	if _, err := check(modules, files.data, false); err != nil {
		return nil, nil, err
	}
	written := bodies{}
	for _, m := range modules {
		ast.WalkRules(m.Copy(), func(r *ast.Rule) bool {
			written[place(r.Location)] = r.Body
			return false
		})
	}
	c := ast.NewCompiler().WithCapabilities(Capabilities())
	if c.Compile(modules); c.Failed() {
		return nil, nil, placed(c.Errors)
	}
	return rego.New(append(opts, rego.Query(query), rego.Compiler(c), rego.Store(inmem.NewFromObject(files.data)), rego.SetRegoVersion(ast.RegoV1))...), written, nil
}

// bodies are the bodies of rules as they are written, by the rules' places.
type bodies map[kernel.Where]ast.Body

// at returns the expression that is written at a row, or begins above it.
func (b bodies) at(rule *ast.Rule, row int) *ast.Expr {
	var found *ast.Expr
	for _, e := range b[place(rule.Location)] {
		if e.Location != nil && e.Location.Row <= row {
			found = e
		}
	}
	return found
}

// witness follows an evaluation. Queries are nested: a rule's body in the rule that
// asked for it, a comprehension in a body.
type witness struct {
	entrypoint string
	input      kernel.Value
	written    bodies
	parent     map[uint64]uint64
	rule       map[uint64]*ast.Rule // of the queries that are a rule's body
	applied    map[*ast.Rule]bool
	failed     map[*ast.Rule]failure
	last       *topdown.Event // the last failure, in whatever query
}

// failure is where a rule failed, and what had failed before it in a rule that it asked.
type failure struct {
	event, cause *topdown.Event
}

func (w *witness) see(e *topdown.Event) {
	switch e.Op {
	case topdown.EnterOp:
		if e.QueryID != e.ParentID {
			w.parent[e.QueryID] = e.ParentID
		}
		if r, ok := e.Node.(*ast.Rule); ok {
			w.rule[e.QueryID] = r
		}
	case topdown.ExitOp:
		if r, ok := e.Node.(*ast.Rule); ok {
			w.applied[r] = true
		}
	case topdown.FailOp:
		if _, ok := e.Node.(*ast.Expr); ok {
			w.fail(e)
		}
	}
}

// fail notes the failure that is furthest into a rule's body.
func (w *witness) fail(e *topdown.Event) {
	last := w.last
	w.last = e
	r := w.rule[e.QueryID]
	if r == nil {
		return
	}
	before, seen := w.failed[r]
	if seen && index(before.event) >= index(e) {
		return
	}
	f := failure{event: e}
	if last != nil && w.within(last.QueryID, e.QueryID) {
		f.cause = last
	}
	w.failed[r] = f
}

func index(e *topdown.Event) int { return e.Node.(*ast.Expr).Index }

// within says whether a query is nested in another.
func (w *witness) within(query, outer uint64) bool {
	for range len(w.parent) {
		up, ok := w.parent[query]
		if !ok {
			return false
		}
		if up == outer {
			return true
		}
		query = up
	}
	return false
}

func (w *witness) explanation() *Explanation {
	x := &Explanation{}
	for r := range w.applied {
		if w.decides(r) {
			x.Applied = append(x.Applied, w.describe(r, w.bodyOf(r)))
		}
	}
	for r, f := range w.failed {
		if w.applied[r] || !w.decides(r) {
			continue
		}
		c := w.condition(f.event)
		if f.cause != nil {
			cause := w.condition(f.cause)
			c.Because = &cause
		}
		x.Failed = append(x.Failed, w.describe(r, []Condition{c}))
	}
	byPlace := func(a, b Rule) int {
		if c := strings.Compare(a.Where.File, b.Where.File); c != 0 {
			return c
		}
		return a.Where.Line - b.Where.Line
	}
	slices.SortFunc(x.Applied, byPlace)
	slices.SortFunc(x.Failed, byPlace)
	return x
}

// decides says whether a rule is one that an explanation names.
func (w *witness) decides(r *ast.Rule) bool {
	name := ruleName(r)
	short := name[strings.LastIndex(name, ".")+1:]
	return "data."+name == w.entrypoint || slices.Contains([]string{"allow", "approve", "deny"}, short)
}

func ruleName(r *ast.Rule) string {
	return strings.TrimPrefix(r.Module.Package.Path.String()+"."+r.Head.Ref().GroundPrefix().String(), "data.")
}

func (w *witness) describe(r *ast.Rule, conditions []Condition) Rule {
	return Rule{Name: ruleName(r), Where: place(r.Location), Conditions: conditions[:min(len(conditions), maxConditions)]}
}

func place(l *ast.Location) kernel.Where {
	if l == nil {
		return kernel.Where{}
	}
	return kernel.Where{File: l.File, Line: l.Row, Column: l.Col}
}

// bodyOf returns the conditions of a rule that applied: what it only names is none.
func (w *witness) bodyOf(r *ast.Rule) []Condition {
	var all []Condition
	for _, e := range w.written[place(r.Location)] {
		if !e.Generated && !e.IsAssignment() && oneLine(e.Location) != "" {
			all = append(all, Condition{Text: oneLine(e.Location), Where: place(e.Location), Values: w.inputs(e)})
		}
	}
	return all
}

// condition describes a failure as it is written in the rule that it is in.
func (w *witness) condition(e *topdown.Event) Condition {
	x := e.Node.(*ast.Expr)
	rule := w.enclosing(e.QueryID)
	values := append(w.inputs(x), locals(e, x, rule)...)
	if rule != nil && x.Location != nil {
		if written := w.written.at(rule, x.Location.Row); written != nil {
			x = written
			values = append(values, w.inputs(x)...)
		}
	}
	slices.Sort(values)
	return Condition{Text: oneLine(x.Location), Where: place(x.Location), Values: slices.Compact(values)}
}

// enclosing returns the rule whose body a query is, or is nested in.
func (w *witness) enclosing(query uint64) *ast.Rule {
	for range len(w.parent) + 1 {
		if r := w.rule[query]; r != nil {
			return r
		}
		query = w.parent[query]
	}
	return nil
}

func oneLine(l *ast.Location) string {
	if l == nil {
		return ""
	}
	return kernel.Quote(strings.Join(strings.Fields(string(l.Text)), " "))
}

// inputs returns what an expression reads of the input.
func (w *witness) inputs(x *ast.Expr) []string {
	values := map[string]bool{}
	ast.WalkRefs(x, func(ref ast.Ref) bool {
		if !ref.IsGround() || !ref.HasPrefix(ast.InputRootRef) {
			return false
		}
		text := "nothing"
		if v, ok := at(w.input, ref[1:]); ok {
			text = shown(v)
		}
		values[ref.String()+" = "+text] = true
		return false
	})
	return slices.Sorted(maps.Keys(values))
}

func at(v kernel.Value, path ast.Ref) (kernel.Value, bool) {
	for _, step := range path {
		object, ok := v.(map[string]any)
		name, isName := step.Value.(ast.String)
		if !ok || !isName {
			return nil, false
		}
		if v, ok = object[string(name)]; !ok {
			return nil, false
		}
	}
	return v, true
}

func shown(v kernel.Value) string {
	const most = 120
	text, err := kernel.EncodeJSON(v)
	if err != nil {
		return "?"
	}
	if len(text) > most {
		text = append(text[:most], "..."...)
	}
	return kernel.Quote(string(text))
}

// locals returns the variables of an expression that had a value, by the names that
// they are written with. The compiler's own stand for an expression, as refund.amount.
func locals(e *topdown.Event, x *ast.Expr, rule *ast.Rule) []string {
	written := map[ast.Var]string{}
	if rule != nil {
		for _, other := range rule.Body {
			if v, ok := definedBy(other); ok {
				written[v] = oneLine(other.Location)
			}
		}
	}
	var values []string
	ast.WalkVars(x, func(v ast.Var) bool {
		name := written[v]
		if m, ok := e.LocalMetadata[v]; ok && !strings.HasPrefix(string(m.Name), "__local") {
			name = string(m.Name)
		}
		value := e.Locals.Get(v)
		if name == "" || value == nil {
			return false
		}
		if plain, err := ast.JSON(value); err == nil {
			if plain, err := kernel.ToValue(plain); err == nil {
				values = append(values, name+" = "+shown(plain))
			}
		}
		return false
	})
	return values
}

// definedBy returns the variable that an equality of the compiler's makes.
func definedBy(x *ast.Expr) (ast.Var, bool) {
	if !x.IsEquality() {
		return "", false
	}
	for _, i := range []int{0, 1} {
		if v, ok := x.Operand(i).Value.(ast.Var); ok && strings.HasPrefix(string(v), "__local") {
			return v, true
		}
	}
	return "", false
}
