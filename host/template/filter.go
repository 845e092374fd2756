package template

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/hexdag/hexdag/host/expr"
	"github.com/hexdag/hexdag/host/kernel"
)

// filter makes a value of another. Most are expressions themselves, over value and
// the parameters, so that what they may cost is limited.
type filter struct {
	params []param
	// programs are tried in turn, until one has a result.
	programs []*expr.Program
	// missing is tried where the value is undefined; without it, that is an error.
	missing *expr.Program
	// run stands in place of programs.
	run func(v kernel.Value) (kernel.Value, error)
}

type param struct {
	name     string
	fallback string // its default, as an expression; "" where it has none
	value    kernel.Value
}

// usage says how a filter is written.
func (f *filter) usage(name string) string {
	if len(f.params) == 0 {
		return "write | " + name
	}
	parts := make([]string, len(f.params))
	for i, p := range f.params {
		parts[i] = p.name
		if p.fallback != "" {
			parts[i] += "=" + p.fallback
		}
	}
	return "write | " + name + "(" + strings.Join(parts, ", ") + ")"
}

// filters are Jinja's, tests its tests. Nothing changes the maps.
var (
	filters = map[string]*filter{
		"default":    withMissing(define("default_value='', boolean=False", "default_value if boolean and not value else value"), "default_value"),
		"d":          withMissing(define("default_value='', boolean=False", "default_value if boolean and not value else value"), "default_value"),
		"upper":      define("", "upper(value)"),
		"lower":      define("", "lower(value)"),
		"capitalize": define("", "upper(str(value)[:1]) + lower(str(value)[1:])"),
		"trim":       define("chars=None", "strip(str(value), chars)"),
		"replace":    define("old, new, count=-1", "replace(str(value), str(old), str(new), count)"),
		"indent":     define("width=4", `replace(str(value), '\n', '\n' + ' ' * width)`),
		"string":     define("", "str(value)"),
		"join":       define("d=''", "join(d, value)"),
		"first":      define("", "list(value)[0]"),
		"last":       define("", "list(value)[-1]"),
		"sort":       define("reverse=False", "sorted(value, reverse=reverse)"),
		"reverse":    define("", "value[::-1]"),
		"list":       define("", "list(value)"),
		"items":      define("", "list(value.items())"),
		"length":     define("", "len(value)"),
		"count":      define("", "len(value)"),
		"int":        define("default=0", "int(value)", "int(float(value))", "default"),
		"float":      define("default=0.0", "float(value)", "default"),
		"abs":        define("", "abs(value)"),
		"round":      define("precision=0", "round(value, precision)"),
		"sum":        define("start=0", "sum(value) + start"),
		"min":        define("", "min(value)"),
		"max":        define("", "max(value)"),
		"tojson":     {run: toJSON},
	}
	tests = map[string]*filter{
		"defined":   withMissing(define("", "True"), "False"),
		"undefined": withMissing(define("", "False"), "True"),
		"none":      define("", "value is None"),
		"string":    {run: isA(func(v kernel.Value) bool { _, ok := v.(string); return ok })},
		"number":    {run: isA(func(v kernel.Value) bool { _, ok := v.(json.Number); return ok })},
		"boolean":   {run: isA(func(v kernel.Value) bool { _, ok := v.(bool); return ok })},
		"mapping":   {run: isA(func(v kernel.Value) bool { _, ok := v.(map[string]any); return ok })},
		"sequence":  {run: isA(func(v kernel.Value) bool { _, ok := v.([]any); return ok })},
	}
)

func filterNames() []string { return slices.Collect(maps.Keys(filters)) }

// define makes a filter of expressions. The parameters are written as Python does.
func define(params string, sources ...string) *filter {
	f := &filter{}
	for _, source := range sources {
		f.programs = append(f.programs, mustCompile(source))
	}
	if params == "" {
		return f
	}
	for _, text := range strings.Split(params, ", ") {
		name, fallback, has := strings.Cut(text, "=")
		p := param{name: name, fallback: fallback}
		if has {
			p.value, _ = mustCompile(fallback).Eval(expr.Map{})
		}
		f.params = append(f.params, p)
	}
	return f
}

func withMissing(f *filter, source string) *filter {
	f.missing = mustCompile(source)
	return f
}

// mustCompile compiles what this file says, when the program starts.
func mustCompile(source string) *expr.Program {
	p, err := expr.Compile(source)
	if err != nil {
		panic(err)
	}
	return p
}

func toJSON(v kernel.Value) (kernel.Value, error) {
	text, err := kernel.EncodeJSON(v)
	return string(text), err
}

func isA(is func(kernel.Value) bool) func(kernel.Value) (kernel.Value, error) {
	return func(v kernel.Value) (kernel.Value, error) { return is(v), nil }
}
