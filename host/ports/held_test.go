package ports_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
)

// What answers something else than it says is a mistake of ours, and goes to nobody.
func TestHeld(t *testing.T) {
	var answer kernel.Value
	var failure error
	op := ports.Op{Name: "a.b", Func: func(context.Context, *kernel.PortCall) (*kernel.PortReply, error) {
		return &kernel.PortReply{Value: answer}, failure
	}}
	outputs := map[string]map[string]any{"a.b": ports.Answer(map[string]any{"n": ports.Of("integer"), "of": ports.OrNull("string"), "list": ports.ListOf(ports.Of("boolean"))}, "list")}
	held := ports.Held(ports.Answering([]ports.Op{op, {Name: "a.silent", Func: op.Func}}, outputs))
	call := func(i int) (kernel.Value, error) {
		reply, err := held[i].Func(t.Context(), &kernel.PortCall{})
		if reply == nil {
			return nil, err
		}
		return reply.Value, err
	}
	for _, fits := range []map[string]any{
		{"n": kernel.Number(1), "of": nil}, {"n": kernel.Number(1), "of": "x", "list": []any{true}},
	} {
		answer = fits
		if v, err := call(0); err != nil || v == nil {
			t.Errorf("%v: %v, %v", fits, v, err)
		}
	}
	for why, misfit := range map[string]kernel.Value{
		"missing property 'of'":             map[string]any{"n": kernel.Number(1)},
		"at '/n': got string, want integer": map[string]any{"n": "\x1b1", "of": nil},
		"additional properties 'x' not":     map[string]any{"n": kernel.Number(1), "of": nil, "x": nil},
		"at '/list/0': got null, want bool": map[string]any{"n": kernel.Number(1), "of": nil, "list": []any{nil}},
		"got null, want object":             nil,
		"got array, want object":            []any{},
		"at '/of': got boolean, want null":  map[string]any{"n": kernel.Number(1), "of": false},
	} {
		answer = misfit
		v, err := call(0)
		if kernel.CodeOf(err) != kernel.CodeInternal || v != nil {
			t.Errorf("%v: %v, %v", misfit, v, err)
			continue
		}
		for _, words := range []string{"what a.b answers does not fit its output schema", why, "report it"} {
			if !strings.Contains(err.Error(), words) {
				t.Errorf("%v does not say %q", err, words)
			}
		}
		if v, err := call(1); err != nil {
			t.Errorf("of one that says nothing: %v, %v", v, err)
		}
	}
	failure = errors.New("it failed")
	if _, err := call(0); !errors.Is(err, failure) {
		t.Error(err)
	}
}
