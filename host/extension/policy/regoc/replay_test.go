package regoc_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hexdag/hexdag/host/extension/policy/regoc"
	"github.com/hexdag/hexdag/host/kernel"
)

func TestPartial(t *testing.T) {
	dir := folder(t, map[string]string{"a.rego": `package a

decision := {"effect": "allow", "by": input.user} if input.action.name == "read"

decision := {"effect": "deny"} if input.action.name == "drop"

decision := {"effect": "allow"} if {
	input.action.name == "write"
	object.get(input.action, ["args", "size"], 0) < 10
}

decision := {"effect": "deny"} if {
	input.action.name == "send"
	not input.action.args.to
}

decision := {"effect": "allow"} if {
	input.action.name == "copy"
	count(input.action) > 1
}

decision := {"effect": "allow"} if {
	input.action.name == "either"
	input.action.args.x in {1, 2}
} else := {"effect": "allow"} if input.action.name == "either"

decision := {"effect": "allow", "at": time.now_ns()} if input.action.name == "now"

decision := {"effect": "allow"} if {
	input.action.name == "whole"
	request := input
	request.user == "ada"
}

decision := {"effect": "allow"} if {
	input.action.name == "each"
	some name, _ in input.action
	name == "name"
}

decision := {"effect": "allow"} if {
	input.action.name == "by name"
	input.action[input.key] == 1
}

decision := {"effect": "allow"} if {
	input.action.name == "key"
	data.x[input.action.args.y] == 1
} else := {"effect": "deny"} if input.action.name == "key"

decision := {"effect": "allow"} if {
	input.action.name == "cut short"
	input.user == "eve"
	input.action.args.x == 1
} else := {"effect": "deny"} if input.action.name == "cut short"
`})
	p, err := regoc.NewPartial(t.Context(), regoc.Source{Dirs: []string{dir}}, "a/decision")
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		want  kernel.Value
		known bool
	}{
		"read":    {map[string]any{"effect": "allow", "by": "ada"}, true},
		"drop":    {map[string]any{"effect": "deny"}, true},
		"nothing": {nil, true},
		"write":   {nil, false}, "send": {nil, false}, "copy": {nil, false}, "either": {nil, false}, "whole": {nil, false}, "each": {nil, false}, "by name": {nil, false}, "key": {nil, false},
		"now": {map[string]any{"effect": "allow", "at": json.Number("5")}, true}, "cut short": {map[string]any{"effect": "deny"}, true},
	} {
		input := map[string]any{"user": "ada", "key": "args", "action": map[string]any{"name": name}}
		v, known, err := p.Eval(t.Context(), input, []string{"input.action.args"}, time.Unix(0, 5))
		if diff := cmp.Diff(tc.want, v); err != nil || known != tc.known || diff != "" {
			t.Errorf("%s: known %v, %v; %s", name, known, err, diff)
		}
	}
	if _, _, err := p.Eval(t.Context(), map[string]any{}, []string{"input."}, time.Unix(0, 0)); err == nil {
		t.Error("what is no ref was taken")
	}
}
