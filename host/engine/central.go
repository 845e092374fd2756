package engine

import (
	"context"
	"slices"
	"strings"

	"github.com/hexdag/hexdag/host/agent"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline"
)

// The operations of the library central_agent that a central agent itself does not ask for.
const (
	opNote   = "central_agent.note"
	opReport = "central_agent.report"
)

// centralTools are those that every central agent has.
var centralTools = []string{"central_agent:survey", "central_agent:note", "central_agent:start", "central_agent:wait", "central_agent:ask"}

// central has a loop be that of a central agent: it ends with an outcome, or fails, and what it wants and may not is on record.
func (w *worker) central(ctx context.Context, b *pipeline.Agent, spec *agent.Spec, deps *agent.Deps, t *turns) context.Context {
	spec.MustEnd = true
	deps.Accept = func(result kernel.Value) error {
		fields, _ := result.(map[string]any)
		outcome, _ := fields["outcome"].(string)
		if slices.Contains(agent.Outcomes(), outcome) {
			return nil
		}
		return &kernel.Error{Code: kernel.CodeArguments, What: "outcome is " + kernel.Quote(outcome), Why: "it is one of " + strings.Join(agent.Outcomes(), ", ")}
	}
	deps.Refused = func(ctx context.Context, tool, why string) error {
		if turn, told := t.again(); told {
			if turn.Tool != opNote {
				return diverged()
			}
			return nil
		}
		_, err := w.call(ctx, opNote, map[string]any{"kind": "refused", "text": clipped(tool+": "+why, maxNoted)})
		t.add(Turn{Tool: opNote})
		return err
	}
	until, _ := ctx.Deadline()
	return agent.WithBounds(ctx, &agent.Bounds{Pipelines: b.Central.Pipelines, Starts: b.Central.Starts, Retries: b.Central.Retries, Until: until})
}

// maxNoted is how much is noted of a call that was not made.
const maxNoted = 1000

func clipped(text string, most int) string {
	return strings.ToValidUTF8(text[:min(len(text), most)], "")
}

// report puts on record what a central agent has come to.
func (w *worker) report(ctx context.Context, result kernel.Value) error {
	fields, _ := result.(map[string]any)
	_, err := w.call(ctx, opReport, map[string]any{"outcome": fields["outcome"], "summary": fields["summary"]})
	return err
}
