package host

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/hexdag/hexdag/host/journal"
	"github.com/hexdag/hexdag/host/journal/driver"
	"github.com/hexdag/hexdag/host/kernel"
)

// GoalStep is one step of a central agent, in a few words.
type GoalStep struct {
	At   time.Time `json:"at"`
	Kind string    `json:"kind"` // one of GoalStepKinds
	Text string    `json:"text"`
}

// GoalStepKinds are the kinds of steps: what is to be done, what there is (ProcessRegistry), what the model decides (the LLM port), its notes, what
// is started (PipelineSpawner), what events told, what was not done, what a person is asked, and what came of it all.
func GoalStepKinds() []string {
	return []string{"goal", "registry", "route", "note", "spawn", "events", "refused", "approval", "recovered", "report", "end"}
}

// TraceGoal tells what the central agents of a run did, from its journal.
func TraceGoal(ctx context.Context, store driver.Store, tenant, run string) ([]GoalStep, error) {
	read, err := journal.Read(ctx, store, tenant, run)
	if err != nil {
		return nil, err
	}
	var steps []GoalStep
	calls := map[string]*journal.Entry{} // the last of each lane
	for e, err := range read.Entries(ctx) {
		if err != nil {
			return nil, err
		}
		if e.Kind == journal.Call {
			calls[e.Lane] = e
		}
		if kind, text := stepOf(e, calls[e.Lane], len(steps) == 0); kind != "" {
			steps = append(steps, GoalStep{At: e.Time, Kind: kind, Text: text})
		}
	}
	return steps, nil
}

// stepOf is an entry as a step; "" where it is none.
func stepOf(e, call *journal.Entry, first bool) (kind, text string) {
	switch {
	case e.Kind == journal.Begin && first:
		return "goal", briefly(e.Head.Input)
	case e.Kind == journal.Recover:
		return "recovered", "its host had died; it goes on at " + kernel.Quote(e.Host)
	case e.Kind == journal.Decision && strings.HasPrefix(e.Op, "central_agent."):
		return decisionStep(e)
	case e.Kind == journal.End:
		text = e.Status
		if e.Failed != nil {
			text += ": " + kernel.Quote(e.Failed.Error())
		}
		return "end", text
	case e.Kind == journal.Reply && e.Op == "llm.complete":
		return routeStep(e)
	case e.Kind != journal.Reply || call == nil || call.Op != e.Op || !strings.HasPrefix(e.Op, "central_agent."):
		return "", ""
	case e.Failed != nil:
		return "refused", strings.TrimPrefix(e.Op, "central_agent.") + ": " + kernel.Quote(e.Failed.What) + ": " + kernel.Quote(e.Failed.Why)
	}
	return replyStep(e, call)
}

func decisionStep(e *journal.Entry) (kind, text string) {
	if e.Failed == nil {
		return "", ""
	}
	kind = "refused"
	if e.Failed.Code == kernel.CodeApproval {
		kind = "approval"
	}
	return kind, strings.TrimPrefix(e.Op, "central_agent.") + ": " + kernel.Quote(e.Failed.What) + ": " + kernel.Quote(e.Failed.Why)
}

func routeStep(e *journal.Entry) (kind, text string) {
	if e.Failed != nil {
		return "route", "the model failed: " + kernel.Quote(e.Failed.Error())
	}
	calls, _ := kernel.Field(e.Value, "tool_calls")
	list, _ := calls.([]any)
	var said []string
	for _, c := range list {
		name, _ := kernel.Field(c, "name")
		args, _ := kernel.Field(c, "arguments")
		said = append(said, strings.TrimPrefix(kernel.Quote(fmt.Sprint(name)), "central_agent:")+" "+briefly(args))
	}
	if said == nil {
		words, _ := kernel.Field(e.Value, "content")
		return "route", briefly(words)
	}
	return "route", strings.Join(said, "; ")
}

func replyStep(e, call *journal.Entry) (kind, text string) {
	field := func(v kernel.Value, name string) string {
		f, _ := kernel.Field(v, name)
		if f == nil {
			return ""
		}
		return kernel.Quote(fmt.Sprint(f))
	}
	count := func(name string) int {
		f, _ := kernel.Field(e.Value, name)
		list, _ := f.([]any)
		return len(list)
	}
	switch strings.TrimPrefix(e.Op, "central_agent.") {
	case "survey":
		return "registry", fmt.Sprintf("%d pipelines may be started, %d runs were; %s more may be", count("pipelines"), count("runs"), field(e.Value, "starts_left"))
	case "note":
		if field(call.Args, "kind") == "refused" {
			return "refused", field(call.Args, "text")
		}
		return "note", field(call.Args, "text")
	case "start":
		return "spawn", field(e.Value, "pipeline") + " as " + field(e.Value, "run_id")
	case "wait":
		f, _ := kernel.Field(e.Value, "runs")
		list, _ := f.([]any)
		said := make([]string, len(list))
		for i, r := range list {
			said[i] = field(r, "pipeline") + " " + field(r, "status")
			if why := field(r, "error"); why != "" {
				said[i] += " (" + why + ")"
			}
		}
		return "events", strings.Join(said, ", ")
	case "ask":
		return "approval", "approved: " + field(call.Args, "question")
	case "report":
		return "report", field(call.Args, "outcome") + ": " + field(call.Args, "summary")
	case "submit":
		return "spawn", "goal " + field(e.Value, "goal_id")
	}
	return "", ""
}

// maxBrief is how many bytes of a value a step shows.
const maxBrief = 300

func briefly(v kernel.Value) string {
	text, is := v.(string)
	if !is {
		encoded, err := kernel.EncodeJSON(v)
		if err != nil {
			return ""
		}
		text = string(encoded)
	}
	if len(text) > maxBrief {
		text = strings.ToValidUTF8(text[:maxBrief], "") + "…"
	}
	return kernel.Quote(text)
}
