// Package tck is the conformance kit of the ABI: it holds a guest, whatever SDK
// made it, and the host that runs it to the golden vectors in vectors/.
//
// The guest is a probe: a module that does the steps that a vector gives it, with
// its SDK, and says in its log what it saw. README.md has the steps. The host is
// anything that implements Host; the kit knows none.
package tck

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/hexdag/hexdag/abi"
)

// Host loads modules.
type Host interface {
	Load(ctx context.Context, wasm []byte) (Module, error)
}

// Module is a loaded guest. Calls leave nothing behind for the next, and a call
// may be made while another is under way, from within World.Call.
type Module interface {
	Call(ctx context.Context, call Call) (Result, error) // an error means that there was no verdict
	Close(ctx context.Context) error
}

// Call is one call of an extension point.
type Call struct {
	Point  abi.Point
	Input  json.RawMessage
	Config json.RawMessage // nil means absent
	Body   []byte          // beside the input
	World  World
}

// World is what the imports of a call reach. A host passes it everything that
// is well-formed: what is malformed it refuses by itself.
type World interface {
	Call(ctx context.Context, op string, args json.RawMessage, body []byte) Reply
	Log(level abi.Level, line string) // as the guest wrote it
	Clock(id abi.ClockID) (int64, abi.Status)
	Random(p []byte) abi.Status
}

// Reply is what a port answers: Value and Body with OK, else the rest.
type Reply struct {
	Status            abi.Status
	Value             json.RawMessage
	Body              []byte
	Code, Message     string
	RetryMilliseconds int64 // 0 means that the port did not say
}

// Result is what the guest decided.
type Result struct {
	Verdict abi.Verdict
	Arg     uint32
	Patched json.RawMessage // with Replace: the member that the extension point opens
	Output  json.RawMessage // nil means absent
	Body    []byte          // beside the output
}

// Check is one vector as it went: it passed if there are no problems.
type Check struct {
	Group    string   `json:"group"`
	Name     string   `json:"name"`
	Problems []string `json:"problems,omitempty"`
}

// Pass reports whether the guest did as the vector says.
func (c *Check) Pass() bool { return len(c.Problems) == 0 }

// Run loads the guest and does every vector, telling done of each as it ends;
// done may be nil. Each is done twice, so that what a call leaves behind shows.
// An error means that the guest cannot be loaded.
func Run(ctx context.Context, host Host, wasm []byte, done func(Check)) (checks []Check, err error) {
	vectors, err := Vectors()
	if err != nil {
		return nil, err
	}
	module, err := host.Load(ctx, wasm)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, module.Close(ctx)) }()
	note := func(c Check) {
		checks = append(checks, c)
		if done != nil {
			done(c)
		}
	}
	for _, c := range checkManifest(wasm) {
		note(c)
	}
	for i := range vectors {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		note(vectors[i].check(ctx, module))
	}
	return checks, nil
}

// Passed returns how many of the checks passed.
func Passed(checks []Check) (n int) {
	for i := range checks {
		if checks[i].Pass() {
			n++
		}
	}
	return n
}

// Group is the checks of one file of vectors.
type Group struct {
	Name   string
	Checks []Check
}

// Groups returns the checks by their groups, in their order.
func Groups(checks []Check) []Group {
	var groups []Group
	for _, c := range checks {
		if n := len(groups); n == 0 || groups[n-1].Name != c.Group {
			groups = append(groups, Group{Name: c.Group})
		}
		last := &groups[len(groups)-1]
		last.Checks = append(last.Checks, c)
	}
	return groups
}

// checkManifest holds the probe to the manifest that README.md gives it.
func checkManifest(wasm []byte) []Check {
	checks := []Check{{Group: "manifest", Name: "is embedded"}, {Group: "manifest", Name: "has the tool with its schema"}, {Group: "manifest", Name: "requests what the probe calls"}, {Group: "manifest", Name: "has the operation with its guard"}}
	m, err := abi.ReadManifest(wasm)
	if err != nil || m == nil {
		for i := range checks {
			checks[i].Problems = []string{fmt.Sprintf("the module has no manifest that can be read: %v", err)}
		}
		return checks
	}
	if !slices.ContainsFunc(m.Tools, func(t abi.Tool) bool { return t.Name == "probe" && len(t.InputSchema) > 0 }) {
		checks[1].Problems = []string{"there is no tool probe with an input_schema"}
	}
	if !slices.ContainsFunc(m.Operations, func(o abi.Operation) bool { return o.Name == "probe.play" && slices.Equal(o.Guards, []string{"name"}) }) {
		checks[3].Problems = []string{"there is no operation probe.play with the guard name"}
	}
	for _, op := range []string{"database.query", "clock.read", "random.read"} {
		if !slices.ContainsFunc(m.Capabilities, func(c abi.Capability) bool { return c.Op == op }) {
			checks[2].Problems = append(checks[2].Problems, "the manifest does not request "+op)
		}
	}
	return checks
}

func (v *Vector) check(ctx context.Context, module Module) Check {
	c := Check{Group: v.Group, Name: v.Name}
	for _, round := range []string{"", "the second time: "} {
		w := &world{vector: v, module: module}
		got, err := module.Call(ctx, v.call(w))
		if err != nil {
			c.Problems = append(c.Problems, fmt.Sprintf("%sno verdict: %v", round, err))
			continue
		}
		for _, p := range v.Want.differences(&got, w) {
			c.Problems = append(c.Problems, round+p)
		}
	}
	return c
}
