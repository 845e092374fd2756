package middleware

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
)

// params reads the parameters of a middleware one by one and keeps what is wrong
// with any of them.
type params struct {
	of       string
	given    map[string]any
	known    []string
	problems []error
}

func (p *params) take(name string) (kernel.Value, bool) {
	p.known = append(p.known, name)
	v, ok := p.given[name]
	if !ok {
		return nil, false
	}
	value, err := kernel.ToValue(v) // a configuration may hold any of Go's numbers
	if err != nil {
		p.problem("write it as in YAML", "%s is no value", name)
		return nil, false
	}
	return value, true
}

// number returns a parameter from least to most.
func (p *params) number(name string, orElse, least, most float64) float64 {
	v, ok := p.take(name)
	if !ok {
		return orElse
	}
	text, _ := v.(json.Number)
	f, err := text.Float64()
	if err != nil || !(f >= least && f <= most) {
		p.problem(fmt.Sprintf("leave it out for %v", orElse), "%s is %s; it is a number from %v to %v", name, show(v), least, most)
		return orElse
	}
	return f
}

// count returns a whole number.
func (p *params) count(name string, orElse, least, most int) int {
	v, ok := p.take(name)
	if !ok {
		return orElse
	}
	text, _ := v.(json.Number)
	n, err := strconv.Atoi(string(text))
	if err != nil || n < least || n > most {
		p.problem(fmt.Sprintf("leave it out for %d", orElse), "%s is %s; it is an integer from %d to %d", name, show(v), least, most)
		return orElse
	}
	return n
}

// seconds returns a time; 0 stands for an orElse that says never.
func (p *params) seconds(name string, orElse, least, most time.Duration) time.Duration {
	f := p.number(name, orElse.Seconds(), least.Seconds(), most.Seconds())
	return time.Duration(f * float64(time.Second))
}

func (p *params) flag(name string, orElse bool) bool {
	v, ok := p.take(name)
	if !ok {
		return orElse
	}
	b, ok := v.(bool)
	if !ok {
		p.problem(fmt.Sprintf("leave it out for %v", orElse), "%s is %s; it is true or false", name, show(v))
	}
	return b
}

// matcher returns a function that tells whether an operation is among the
// patterns of a parameter, or nil if it is not given.
func (p *params) matcher(name string) func(op string) bool {
	v, ok := p.take(name)
	if !ok {
		return nil
	}
	list, ok := v.([]any)
	patterns := make([]string, len(list))
	for i, item := range list {
		var isText bool
		patterns[i], isText = item.(string)
		ok = ok && isText
	}
	if !ok || len(list) == 0 {
		p.problem("leave it out for what may be repeated", "%s is %s; it is a list of operations, such as llm.complete or llm.*", name, show(v))
	}
	return func(op string) bool {
		return slices.ContainsFunc(patterns, func(pattern string) bool { return abi.Match(pattern, op) })
	}
}

func show(v kernel.Value) string {
	text, err := kernel.EncodeJSON(v)
	if err != nil {
		return "no value"
	}
	return kernel.Quote(string(text))
}

// end returns what was wrong, with what was given and never taken.
func (p *params) end() error {
	for _, name := range slices.Sorted(maps.Keys(p.given)) {
		if !slices.Contains(p.known, name) {
			p.problem(kernel.DidYouMean(name, p.known), "there is no parameter %s", kernel.Quote(name))
		}
	}
	return errors.Join(p.problems...)
}
