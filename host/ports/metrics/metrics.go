// Package metrics lets modules count things. A counter belongs to the run that
// counts; which names there can be is the operator's grant, so that a guest
// cannot make names without end.
package metrics

import (
	"context"
	"encoding/json"
	"regexp"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
)

// OpCount adds to a counter: {name, delta?}, delta being an integer, 1 if absent.
// It answers {}.
const OpCount = "metrics.count"

// maxDelta keeps a counter from overflowing within any run.
const maxDelta = 1_000_000_000

// Ops returns the port's operations.
func Ops() []ports.Op {
	name := regexp.MustCompile(`^[a-z][a-z0-9_.]{0,63}$`)
	return []ports.Op{{
		Name:   OpCount,
		Guards: []string{"name"},
		Own:    true,
		Func: func(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
			counter, _ := call.Args["name"].(string)
			if !name.MatchString(counter) {
				return nil, &kernel.Error{Code: kernel.CodeArguments, What: "metrics.count: " + kernel.Quote(counter) + " is no name of a counter",
					Why: "a name has 1 to 64 lower-case letters, digits, _ and ., the first a letter", Fix: "name it like that"}
			}
			delta := int64(1)
			if v, there := call.Args["delta"]; there {
				n, _ := v.(json.Number)
				parsed, err := n.Int64()
				if err != nil || parsed < 0 || parsed > maxDelta {
					return nil, &kernel.Error{Code: kernel.CodeArguments, What: "metrics.count: delta must be an integer from 0 to 1000000000", Fix: "pass one, or leave it out"}
				}
				delta = parsed
			}
			if run := kernel.RunFrom(ctx); run != nil {
				run.Count(counter, delta)
				if ports.Hidden(ctx) {
					run.HideCounter(counter)
				}
			}
			return &kernel.PortReply{Value: map[string]any{}}, nil
		},
	}}
}
