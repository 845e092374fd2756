package regoc

import (
	"context"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/topdown"

	"github.com/hexdag/hexdag/host/kernel"
)

// Partial evaluates an entrypoint of a source for inputs of which not all is known.
type Partial struct{ query rego.PreparedEvalQuery }

// NewPartial compiles a source for OPA's evaluator.
func NewPartial(ctx context.Context, source Source, entrypoint string) (*Partial, error) {
	r, _, err := evaluator(source, dataRef(entrypoint))
	if err != nil {
		return nil, err
	}
	q, err := r.PrepareForEval(ctx)
	if err != nil {
		return nil, buildError(err)
	}
	return &Partial{q}, nil
}

// Eval evaluates, as of a time, with an input that lacks what the refs name, as
// "input.action.args". Unless the evaluation has looked there, the value would have been the same
// whatever there was; if it has, known is false. The value is nil if no rule gave one.
func (p *Partial) Eval(ctx context.Context, input kernel.Value, unknown []string, at time.Time) (v kernel.Value, known bool, err error) {
	look := &lookout{}
	for _, text := range unknown {
		ref, err := ast.ParseRef(text)
		if err != nil {
			return nil, false, err
		}
		look.out = append(look.out, ref)
	}
	// The index of rules looks at the input without a trace of it.
	results, err := p.query.Eval(ctx, rego.EvalInput(input), rego.EvalQueryTracer(look), rego.EvalRuleIndexing(false), rego.EvalTime(at))
	switch {
	case look.seen:
		return nil, false, nil
	case err != nil:
		return nil, false, buildError(err)
	case len(results) == 0:
		return nil, true, nil
	}
	v, err = kernel.ToValue(results[0].Expressions[0].Value)
	return v, err == nil, err
}

// lookout watches an evaluation for expressions that look at parts of the input, or at what
// has such a part in it.
type lookout struct {
	out  []ast.Ref
	seen bool
}

// Enabled implements topdown.QueryTracer.
func (l *lookout) Enabled() bool { return true }

// Config implements topdown.QueryTracer.
func (l *lookout) Config() topdown.TraceConfig { return topdown.TraceConfig{} }

// TraceEvent implements topdown.QueryTracer.
func (l *lookout) TraceEvent(e topdown.Event) {
	expr, ok := e.Node.(*ast.Expr)
	if l.seen || !ok || e.Op != topdown.EvalOp {
		return
	}
	ast.WalkTerms(expr, func(t *ast.Term) bool {
		switch v := t.Value.(type) {
		case ast.Var:
			l.seen = l.seen || v.Equal(ast.InputRootDocument.Value)
		case ast.Ref:
			if v[0].Equal(ast.InputRootDocument) {
				l.seen = l.seen || l.overlaps(v)
				for _, step := range v[1:] {
					ast.WalkTerms(step, func(t *ast.Term) bool { // a ref within the ref
						inner, isRef := t.Value.(ast.Ref)
						l.seen = l.seen || isRef && inner[0].Equal(ast.InputRootDocument) && l.overlaps(inner)
						return l.seen
					})
				}
				return true // its head is not the input as a whole
			}
		}
		return l.seen
	})
}

// overlaps reports whether a ref can be to a part, to what is within it, or to what it is within.
func (l *lookout) overlaps(ref ast.Ref) bool {
	for _, out := range l.out {
		same := true
		for i := range min(len(ref), len(out)) {
			if ref[i].IsGround() && !ref[i].Equal(out[i]) {
				same = false
			}
		}
		if same {
			return true
		}
	}
	return false
}
