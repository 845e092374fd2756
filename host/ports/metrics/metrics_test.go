package metrics

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/hexdag/hexdag/host/kernel"
)

func TestCount(t *testing.T) {
	run := &kernel.RunContext{}
	ctx := kernel.WithRun(t.Context(), run)
	count := func(ctx context.Context, args map[string]any) error {
		_, err := Ops()[0].Func(ctx, &kernel.PortCall{Op: OpCount, Args: args})
		return err
	}
	for _, args := range []map[string]any{
		{"name": "fields_redacted"},
		{"name": "fields_redacted", "delta": json.Number("3")},
	} {
		if err := count(ctx, args); err != nil {
			t.Fatal(err)
		}
	}
	if got := run.Counters()["fields_redacted"]; got != 4 {
		t.Errorf("counted %d, want 4", got)
	}
	for _, args := range []map[string]any{
		{}, {"name": ""}, {"name": "A"}, {"name": "a\nb"}, {"name": "a", "delta": json.Number("-1")}, {"name": "a", "delta": json.Number("1e12")},
		{"name": "a", "delta": "3"}, {"name": "a", "delta": json.Number("1.5")},
	} {
		if err := count(ctx, args); kernel.CodeOf(err) != kernel.CodeArguments {
			t.Errorf("%v: %v", args, err)
		}
	}
}
