package engine

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline"
)

// maxIterations bounds how often one node can run its body: every iteration's
// result is kept.
const maxIterations = 1_000_000

// composite runs a composite_node.
func (w *worker) composite(ctx context.Context, b *pipeline.Composite, call *kernel.NodeCall) (kernel.Value, error) {
	c := &composite{worker: w, b: b, call: call, scope: w.scope(call.Input), labels: w.flow.Labels(), now: &Progress{}}
	if w.from != nil {
		c.now.Branch, c.now.State, c.labels = w.from.Branch, w.from.State, w.from.Given // by now the flow has what the bodies learned, too
	}
	c.now.Given = c.labels
	switch b.Mode {
	case pipeline.IfElse:
		return c.ifElse(ctx)
	case pipeline.Switch:
		return c.choose(ctx)
	case pipeline.ForEach:
		return c.forEach(ctx)
	case pipeline.Times:
		return c.times(ctx)
	}
	return c.while(ctx)
}

type composite struct {
	*worker
	b     *pipeline.Composite
	call  *kernel.NodeCall
	scope *pipeline.Scope
	// labels are those of what the node was given, as its bodies are given it.
	labels *kernel.Labels
	now    *Progress // how far it has come
}

// holds evaluates a condition. What cannot be evaluated does not hold.
func (c *composite) holds(ctx context.Context, condition *pipeline.Condition, extra map[string]any) (bool, error) {
	ok, err := condition.Predicate(variables{Scope: c.scope, values: extra})
	if err != nil {
		kernel.Emit(ctx, &kernel.Event{Type: kernel.NodeWarned, Node: c.n.Name, Kind: c.n.Kind, Wave: c.n.Wave, Reason: err.Error()})
	}
	return ok, err
}

func (c *composite) ifElse(ctx context.Context) (kernel.Value, error) {
	met := c.branch(func() int {
		if ok, _ := c.holds(ctx, c.b.Condition, nil); ok {
			return 0
		}
		return 1
	}) == 0
	body, branch := c.b.Body, "if"
	if !met {
		body, branch = c.b.Else, "else"
	}
	metadata := map[string]any{"mode": c.b.Mode, "condition_met": met, "branch_taken": branch}
	if body == nil {
		return outcome(map[string]any{"condition_met": met}, metadata), nil
	}
	result, err := c.once(ctx, body)
	return outcome(result, metadata), err
}

// branch is which branch is taken, or was taken before the node waited.
func (c *composite) branch(choose func() int) int {
	if c.now.Branch == nil {
		taken := choose()
		c.now.Branch = &taken
	}
	return *c.now.Branch
}

// once runs a body that runs once.
func (c *composite) once(ctx context.Context, body *pipeline.Inner) (kernel.Value, error) {
	one := c.before(0)
	c.runBody(ctx, one, body, body.Name, nil, c.labels)
	if one.paused() {
		return nil, c.pause([]*BodyProgress{one})
	}
	return one.Result, one.err
}

func outcome(result kernel.Value, metadata map[string]any) kernel.Value {
	return map[string]any{"result": result, "metadata": metadata}
}

// choose runs the first branch of a switch whose condition holds, or names it.
func (c *composite) choose(ctx context.Context) (kernel.Value, error) {
	evaluations := make([]any, 0, len(c.b.Branches))
	matched := c.branch(func() int {
		matched := -1
		for i, branch := range c.b.Branches {
			ok, _ := c.holds(ctx, branch.Condition, nil)
			evaluations = append(evaluations, ok)
			if ok && matched < 0 {
				if matched = i; branch.Body != nil {
					break
				}
			}
		}
		return matched
	})
	for i := range c.b.Branches { // as they were before the node waited
		if c.from != nil && (i <= matched || matched < 0) {
			evaluations = append(evaluations, i == matched)
		}
	}
	metadata := map[string]any{
		"mode": c.b.Mode, "matched_branch": nil, "matched_action": nil, "evaluations": evaluations,
		"has_else": c.b.Else != nil || c.b.ElseAction != "", "stopped_by": "else",
	}
	action, body := c.b.ElseAction, c.b.Else
	if matched >= 0 {
		metadata["matched_branch"], metadata["stopped_by"] = kernel.Number(int64(matched)), "branch_matched"
		action, body = c.b.Branches[matched].Action, c.b.Branches[matched].Body
	}
	if action != "" {
		metadata["matched_action"] = action
		return outcome(action, metadata), nil
	}
	if body == nil {
		return outcome(nil, metadata), nil
	}
	result, err := c.once(ctx, body)
	return outcome(result, metadata), err
}

// forEach runs the body for every item, in as many at once as it says; results
// keep the items' order.
func (c *composite) forEach(ctx context.Context) (kernel.Value, error) {
	v, err := c.b.Items.Eval(c.scope)
	if err != nil {
		return nil, err
	}
	items, ok := v.([]any)
	if fields, isObject := v.(map[string]any); isObject { // as Python iterates over a dict
		items, ok = []any{}, true
		for _, name := range slices.Sorted(maps.Keys(fields)) {
			items = append(items, name)
		}
	}
	if !ok {
		return nil, &kernel.Error{Code: kernel.CodeInput, What: "items of node " + kernel.Quote(c.n.Name) + " is no list", Why: "it is " + kernel.Quote(shorten(v)), Fix: "name a list"}
	}
	return c.iterate(ctx, len(items), func(i int) map[string]any {
		return map[string]any{"$item": items[i], c.b.ItemVar: items[i]}
	})
}

func shorten(v kernel.Value) string {
	text, err := kernel.EncodeJSON(v)
	if err != nil || len(text) > 80 {
		return fmt.Sprintf("%.77s...", text)
	}
	return string(text)
}

func (c *composite) times(ctx context.Context) (kernel.Value, error) {
	v, err := c.b.Count.Eval(c.scope)
	if err != nil {
		return nil, err
	}
	var count int
	if err := kernel.FromValue(v, &count); err != nil || count < 1 || count > maxIterations {
		return nil, &kernel.Error{Code: kernel.CodeInput, What: "count of node " + kernel.Quote(c.n.Name) + " cannot be " + kernel.Quote(shorten(v)), Why: fmt.Sprintf("it is a whole number from 1 to %d", maxIterations), Fix: "correct it"}
	}
	return c.iterate(ctx, count, func(int) map[string]any { return map[string]any{} })
}

// iterate runs the body a number of times.
func (c *composite) iterate(ctx context.Context, count int, vars func(i int) map[string]any) (kernel.Value, error) {
	if count > maxIterations {
		return nil, &kernel.Error{Code: kernel.CodeLimit, What: "node " + kernel.Quote(c.n.Name) + " has too many items", Why: fmt.Sprintf("%d, the limit is %d", count, maxIterations), Fix: "split them over several runs"}
	}
	bodies := make([]*BodyProgress, count)
	going, stop := context.WithCancel(ctx)
	defer stop()
	one := func(i int) {
		bodies[i] = c.before(i)
		if bodies[i].Done {
			return
		}
		if going.Err() != nil {
			bodies[i].err = kernel.ContextError(going)
			return
		}
		v := vars(i)
		v["$index"], v[c.b.IndexVar], v["$total"] = kernel.Number(int64(i)), kernel.Number(int64(i)), kernel.Number(int64(count))
		v["$is_first"], v["$is_last"] = i == 0, i == count-1
		c.runBody(going, bodies[i], c.b.Body, fmt.Sprintf("%s[%d]", c.b.Body.Name, i), v, c.labels)
		if bodies[i].err != nil && c.b.FailFast {
			stop()
		}
	}
	c.spread(count, one)
	if ctx.Err() != nil { // whatever the iterations made of it
		return nil, kernel.ContextError(ctx)
	}
	results, failures := outcomes(bodies)
	if c.b.FailFast {
		if err := firstOf(failures); err != nil {
			return nil, err
		}
	}
	if slices.ContainsFunc(bodies, (*BodyProgress).paused) {
		return nil, c.pause(bodies)
	}
	return c.collected(ctx, results, failures, "exhausted", nil)
}

// spread calls one for every index, in order, in as many goroutines as the node
// allows at once.
func (c *composite) spread(count int, one func(i int)) {
	if c.b.Concurrency == 1 {
		for i := range count {
			one(i)
		}
		return
	}
	var wg sync.WaitGroup
	places := make(chan struct{}, c.b.Concurrency)
	for i := range count {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			one(i)
		})
	}
	wg.Wait()
}

// firstOf returns the first failure that is none of being stopped for another's.
func firstOf(failures []error) error {
	var stopped error
	for _, err := range failures {
		switch {
		case err == nil:
		case kernel.CodeOf(err) == kernel.CodeCanceled:
			if stopped == nil {
				stopped = err
			}
		default:
			return err
		}
	}
	return stopped
}

// while runs the body as long as the condition holds.
func (c *composite) while(ctx context.Context) (kernel.Value, error) {
	state := map[string]any{}
	if initial, err := c.b.InitialState.Render(c.scope); err != nil {
		return nil, err
	} else if fields, ok := initial.(map[string]any); ok {
		state = fields
	}
	if c.now.State != nil {
		state = c.now.State
	}
	bodies := c.finished()
	stoppedBy := "limit"
	for i := len(bodies); i < c.b.MaxIterations; i++ {
		if ctx.Err() != nil {
			return nil, kernel.ContextError(ctx)
		}
		one := c.before(i)
		ok, err := one.started(), error(nil) // then the condition held
		if !ok {
			ok, err = c.holds(ctx, c.b.Condition, map[string]any{"state": state, "iteration": kernel.Number(int64(i))})
		}
		if !ok {
			stoppedBy = "condition"
			if err != nil {
				stoppedBy = "condition_error"
			}
			break
		}
		index := kernel.Number(int64(i))
		vars := map[string]any{"$index": index, c.b.IndexVar: index, "iteration": index, "state": state}
		c.runBody(ctx, one, c.b.Body, fmt.Sprintf("%s[%d]", c.b.Body.Name, i), vars, c.flow.Labels()) // the state can hold what earlier iterations learned
		bodies = append(bodies, one)
		if one.paused() {
			c.now.State = state
			return nil, c.pause(bodies)
		}
		if one.err != nil && c.b.FailFast {
			return nil, one.err
		}
		if state, err = c.update(state, one.Result, vars, i); err != nil {
			return nil, err
		}
	}
	results, failures := outcomes(bodies)
	return c.collected(ctx, results, failures, stoppedBy, state)
}

// update computes the state after an iteration. Later assignments see earlier ones.
func (c *composite) update(state map[string]any, result kernel.Value, vars map[string]any, i int) (map[string]any, error) {
	next := maps.Clone(state)
	extra := maps.Clone(vars)
	extra["$body"] = result
	for _, v := range c.b.StateUpdate {
		extra["state"] = next
		value, err := variables{Scope: c.scope, values: extra}.evaluate(v)
		if err != nil {
			return nil, expressionError("state."+v.Name, err)
		}
		next[v.Name] = value
	}
	if !slices.ContainsFunc(c.b.StateUpdate, func(v pipeline.Variable) bool { return v.Name == "iteration" }) {
		next["iteration"] = kernel.Number(int64(i + 1))
	}
	return next, nil
}

// collected makes the node's result of those of its iterations. state is a while
// loop's.
func (c *composite) collected(ctx context.Context, results []any, failures []error, stoppedBy string, state map[string]any) (kernel.Value, error) {
	var errs []any
	for i, err := range failures {
		if err != nil {
			errs = append(errs, map[string]any{"index": kernel.Number(int64(i)), "type": string(kernel.CodeOf(err)), "error": err.Error()})
			results[i] = nil
		}
	}
	metadata := map[string]any{
		"mode": c.b.Mode, "iterations": kernel.Number(int64(len(results))), "stopped_by": stoppedBy,
		"successful": kernel.Number(int64(len(results) - len(errs))), "failed": kernel.Number(int64(len(errs))), "errors": nil,
	}
	if errs != nil {
		metadata["errors"] = errs
	}
	if state != nil {
		metadata["final_state"] = state
	}
	collected, err := c.collect(ctx, results)
	return outcome(collected, metadata), err
}

func (c *composite) collect(ctx context.Context, results []any) (kernel.Value, error) {
	if results == nil {
		results = []any{}
	}
	switch c.b.Collect {
	case "first", "last":
		return pick(results, c.b.Collect), nil
	case "dict":
		if len(results) == 0 {
			return nil, nil
		}
		byKey := make(map[string]any, len(results))
		for i, result := range results {
			byKey[c.key(i, result)] = result
		}
		return byKey, nil
	case "reduce":
		if len(results) == 0 {
			return nil, nil
		}
		return c.reduce(ctx, c.b.Reducer, results, c.call)
	}
	return results, nil
}

// key is under what a result is collected: its field of that name, or its index.
func (c *composite) key(i int, result kernel.Value) string {
	if c.b.KeyField != "" {
		v := result
		for _, segment := range strings.Split(c.b.KeyField, ".") {
			fields, _ := v.(map[string]any)
			v = fields[segment]
		}
		if v != nil {
			return pipeline.Text(v)
		}
	}
	return fmt.Sprint(i)
}
