package bench

import (
	"encoding/json"
	"testing"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/ext"
	exprlang "github.com/expr-lang/expr"

	"github.com/hexdag/hexdag/host/expr"
	"github.com/hexdag/hexdag/host/kernel"
)

// expressions say the same in the three languages.
var expressions = []struct {
	name              string
	hexdag, expr, cel string
	want              any
}{
	{
		"condition",
		`a.price * a.qty > 100 and b.kind == 'x'`,
		`a.price * a.qty > 100 and b.kind == 'x'`,
		`a.price * a.qty > 100.0 && b.kind == 'x'`,
		true,
	},
	{
		"chain",
		`0 < score <= 1 and tier in ['gold', 'silver']`,
		`0 < score <= 1 and tier in ['gold', 'silver']`,
		`0.0 < score && score <= 1.0 && tier in ['gold', 'silver']`,
		true,
	},
	{
		"default",
		`default(b.note, 'none')`,
		`b.note ?? 'none'`,
		`has(b.note) ? b.note : 'none'`,
		"none",
	},
	{
		"text",
		`'order-' + b.kind.upper() + '/' + b.city`,
		`'order-' + upper(b.kind) + '/' + b.city`,
		`'order-' + b.kind.upperAscii() + '/' + b.city`,
		"order-X/rome",
	},
	{
		"filter",
		`len([i for i in items if i.price > 10]) > 2`,
		`len(filter(items, .price > 10)) > 2`,
		`items.filter(i, i.price > 10.0).size() > 2`,
		true,
	},
}

const expressionData = `{"a": {"price": 12.5, "qty": 9}, "b": {"kind": "x", "city": "rome"}, "score": 0.75, "tier": "gold",
	"items": [{"price": 5}, {"price": 11}, {"price": 12.5}, {"price": 30}, {"price": 8}, {"price": 10}, {"price": 99.9}, {"price": 1}, {"price": 2}, {"price": 3}]}`

// BenchmarkExpression evaluates compiled expressions over the same data: as JSON
// numbers in hexdag, as float64 in the others, which is what they would be given.
func BenchmarkExpression(b *testing.B) {
	raw, err := kernel.DecodeJSON([]byte(expressionData))
	must(b, err)
	scope := expr.Map(raw.(map[string]any))
	var plain map[string]any
	must(b, json.Unmarshal([]byte(expressionData), &plain))
	env := celEnvironment(b, plain)
	for _, e := range expressions {
		b.Run(e.name+"/hexdag", func(b *testing.B) {
			p, err := expr.Compile(e.hexdag)
			must(b, err)
			evaluate(b, e.want, func() (any, error) { return p.Eval(scope) })
		})
		b.Run(e.name+"/expr-lang", func(b *testing.B) {
			p, err := exprlang.Compile(e.expr, exprlang.Env(plain))
			must(b, err)
			evaluate(b, e.want, func() (any, error) { return exprlang.Run(p, plain) })
		})
		b.Run(e.name+"/cel-go", func(b *testing.B) {
			tree, issues := env.Compile(e.cel)
			must(b, issues.Err())
			p, err := env.Program(tree)
			must(b, err)
			evaluate(b, e.want, func() (any, error) {
				v, _, err := p.Eval(plain)
				if err != nil {
					return nil, err
				}
				return v.Value(), nil
			})
		})
	}
}

// BenchmarkExpressionCompile is from text to what can be evaluated.
func BenchmarkExpressionCompile(b *testing.B) {
	var plain map[string]any
	must(b, json.Unmarshal([]byte(expressionData), &plain))
	env := celEnvironment(b, plain)
	e := expressions[0]
	b.Run("hexdag", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, err := expr.Compile(e.hexdag)
			must(b, err)
		}
	})
	b.Run("expr-lang", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, err := exprlang.Compile(e.expr, exprlang.Env(plain))
			must(b, err)
		}
	})
	b.Run("cel-go", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			tree, issues := env.Compile(e.cel)
			must(b, issues.Err())
			_, err := env.Program(tree)
			must(b, err)
		}
	})
}

func evaluate(b *testing.B, want any, run func() (any, error)) {
	b.ReportAllocs()
	var got any
	for b.Loop() {
		var err error
		got, err = run()
		must(b, err)
	}
	if got != want {
		b.Fatalf("got %v, want %v", got, want)
	}
}

func celEnvironment(b *testing.B, data map[string]any) *cel.Env {
	options := []cel.EnvOption{ext.Strings()}
	for name := range data {
		options = append(options, cel.Variable(name, cel.DynType))
	}
	env, err := cel.NewEnv(options...)
	must(b, err)
	return env
}
