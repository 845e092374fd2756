package scheduler

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/ports/arguments"
)

// Checker is what operations ask of pipelines.
type Checker interface {
	Check(ctx context.Context, pipeline string) error
	NewID() string
}

// Ops returns the operations for the door, about the schedules of the tenant:
//
//	scheduler.schedule_once {pipeline, input?, delay_seconds? | at?, ref_id?, ref_type?, catch_up?: once | skip} -> {task_id, next_run_at, ...}
//	scheduler.schedule_recurring {pipeline, input?, interval_seconds? | cron?, zone?, ref_id?, ref_type?, catch_up?: once | skip | all,
//	  overlap?: skip | queue | allow} -> the same
//	scheduler.cancel {task_id} -> {task_id, cancelled}
//	scheduler.list {ref_id?, ended?, limit?} -> {tasks: [...]}
//
// last_run_id, last_run_at, last_status and error are of the run that has begun last, which with overlap: allow others may outlast: running, how it
// ended (completed, failed, denied, cancelled), suspended, lost with its host, or unknown where it is no longer registered. What became of the others
// the process registry tells, by ref_id.
//
// Runs have the principal of the run that calls, and at most its capabilities. A capability can restrict pipeline and task_id.
func (s *Scheduler) Ops(pipelines Checker) []ports.Op {
	o := operations{s, pipelines}
	text := func(description string) any { return ports.Param("string", description) }
	common := func() map[string]any {
		return map[string]any{
			"pipeline": text("its name"), "input": ports.Param("object", "its input"), "ref_id": text("what the runs are about"), "ref_type": text("what kind of thing that is"),
			"catch_up": text("what becomes of times that went by with nobody there: once, skip, or, of what recurs, all"),
		}
	}
	once, recurring := common(), common()
	once["delay_seconds"], once["at"] = ports.Param("number", "how long from now"), text("a time such as 2026-11-20T12:00:00Z")
	recurring["interval_seconds"], recurring["cron"], recurring["zone"], recurring["overlap"] = ports.Param("number", "how often"), text("minute hour day month weekday"), text("such as Europe/Berlin"), text("while a run goes on: skip, queue or allow")
	task := ports.Answer(viewed())
	return ports.Held([]ports.Op{
		{Name: "scheduler.schedule_once", Guards: []string{"pipeline"}, Func: o.once, Output: task, Tool: &ports.Tool{Description: "Has a pipeline run later.", Input: ports.Parameters(once, "pipeline")}},
		{Name: "scheduler.schedule_recurring", Guards: []string{"pipeline"}, Func: o.recurring, Output: task, Tool: &ports.Tool{Description: "Has a pipeline run again and again.", Input: ports.Parameters(recurring, "pipeline")}},
		{Name: "scheduler.cancel", Guards: []string{"task_id"}, Func: o.cancel, Output: ports.Answer(map[string]any{"task_id": ports.Of("string"), "cancelled": ports.Of("boolean"), "error": ports.OrNull("string")}), Tool: &ports.Tool{Description: "Has a scheduled task come no more.", Input: ports.Parameters(map[string]any{"task_id": text("the task")}, "task_id")}},
		{Name: "scheduler.list", Guards: []string{"ref_id"}, Func: o.list, Output: ports.Answer(map[string]any{"tasks": ports.ListOf(task)}), Tool: &ports.Tool{Description: "The tasks that are scheduled.", Input: ports.Parameters(map[string]any{"ref_id": text("about this alone"), "ended": ports.Param("boolean", "with those that have ended"), "limit": ports.Param("integer", "how many at most")})}},
	})
}

type operations struct {
	*Scheduler
	pipelines Checker
}

// maxRef is how many bytes a reference may have.
const maxRef = 200

// read reads what both kinds of schedules have.
func (o operations) read(ctx context.Context, a *arguments.Reader, call *kernel.PortCall, catchUps ...CatchUp) *Task {
	t := &Task{Pipeline: a.Text("pipeline"), RefID: a.TextOr("ref_id", ""), RefType: a.TextOr("ref_type", ""), CatchUp: CatchUp(a.TextOr("catch_up", string(Once))), Labels: call.Labels}
	input := a.Object("input", "")
	if len(t.RefID) > maxRef || len(t.RefType) > maxRef {
		a.Fail("ref_id and ref_type have at most %d bytes", maxRef)
	}
	if !slices.Contains(catchUps, t.CatchUp) {
		a.Fail("catch_up must be one of %v", catchUps)
	}
	text, err := kernel.EncodeJSON(input)
	if err != nil || len(text) > maxInput {
		a.Fail("input has at most %d bytes as JSON", maxInput)
	}
	t.Input = text
	if t.ID = o.pipelines.NewID(); kernel.IdempotencyKeyFrom(ctx) != "" {
		t.ID = o.opts.RunID("task "+kernel.IdempotencyKeyFrom(ctx), time.Time{})
	}
	if run := a.Run(ctx); run != nil {
		t.Principal, t.Caps, t.RunLabels = run.Principal, run.Caps, run.Labels
	}
	return t
}

// maxInput is how many bytes the input of a schedule may have.
const maxInput = 256 << 10

func (o operations) once(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	a := arguments.Of(call)
	t := o.read(ctx, a, call, Once, Skip)
	delay, delayed := o.seconds(a, "delay_seconds")
	at := a.TextOr("at", "")
	t.Next = time.Now().Add(delay)
	if at != "" {
		var err error
		if t.Next, err = time.Parse(time.RFC3339, at); err != nil || delayed {
			a.Fail("give delay_seconds, or at as a time such as 2026-11-20T12:00:00Z")
		}
	}
	return o.add(ctx, a, t)
}

func (o operations) recurring(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	a := arguments.Of(call)
	t := o.read(ctx, a, call, Once, Skip, All)
	var given bool
	t.Every, given = o.seconds(a, "interval_seconds")
	t.Cron, t.Zone, t.Overlap = a.TextOr("cron", ""), a.TextOr("zone", ""), Overlap(a.TextOr("overlap", string(SkipRunning)))
	switch {
	case given == (t.Cron != ""):
		a.Fail("give interval_seconds or cron")
	case given && t.Every < minEvery:
		a.Fail("interval_seconds must be at least %v", minEvery.Seconds())
	case given && t.Zone != "":
		a.Fail("zone is for cron")
	case !slices.Contains([]Overlap{SkipRunning, Queue, Allow}, t.Overlap):
		a.Fail("overlap must be skip, queue or allow")
	}
	return o.add(ctx, a, t)
}

// seconds reads a time span, and whether it was given.
func (o operations) seconds(a *arguments.Reader, name string) (time.Duration, bool) {
	n, given := a.Number(name, " of seconds")
	if given && !(n >= 0 && n <= maxAhead.Seconds()) {
		a.Fail("%s must be from 0 to %d", name, int64(maxAhead.Seconds()))
		return 0, true
	}
	return time.Duration(n * float64(time.Second)), given
}

func (o operations) add(ctx context.Context, a *arguments.Reader, t *Task) (*kernel.PortReply, error) {
	if err := a.End(); err != nil {
		return nil, err
	}
	if err := o.pipelines.Check(ctx, t.Pipeline); err != nil {
		return nil, err
	}
	added, err := o.Add(ctx, t)
	if err != nil {
		return nil, err
	}
	return &kernel.PortReply{Value: added.view()}, nil
}

func (o operations) cancel(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	a := arguments.Of(call)
	a.Run(ctx)
	id := a.Text("task_id")
	if err := a.End(); err != nil {
		return nil, err
	}
	done, err := o.Cancel(ctx, id)
	if err != nil && kernel.CodeOf(err) != kernel.CodeNotFound {
		return nil, err
	}
	value := map[string]any{"task_id": id, "cancelled": done, "error": nil}
	switch {
	case err != nil:
		value["error"] = fmt.Sprintf("there is no task %s", kernel.Quote(id))
	case !done:
		value["error"] = "the task has ended"
	}
	return &kernel.PortReply{Value: value}, nil
}

func (o operations) list(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	a := arguments.Of(call)
	a.Run(ctx)
	ref, ended, limit := a.TextOr("ref_id", ""), a.Flag("ended", false), a.Whole("limit", 1, 500, 50)
	if len(ref) > maxRef {
		a.Fail("ref_id has at most %d bytes", maxRef)
	}
	if err := a.End(); err != nil {
		return nil, err
	}
	found, err := o.List(ctx, ref, ended, int(min(limit, math.MaxInt32)))
	if err != nil {
		return nil, err
	}
	tasks := make([]any, len(found))
	var labels *kernel.Labels
	for i, t := range found {
		tasks[i], labels = t.view(), labels.Join(t.told())
	}
	return &kernel.PortReply{Value: map[string]any{"tasks": tasks}, Labels: labels}, nil
}
