package httpapi

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/lib/pipelinespawner"
	"github.com/hexdag/hexdag/host/lib/processregistry"
	"github.com/hexdag/hexdag/host/tracing"
)

// Run is a run as clients see it.
type Run struct {
	RunID    string          `json:"run_id" doc:"Its id."`
	Pipeline string          `json:"pipeline" doc:"What runs."`
	Status   string          `json:"status" enum:"running,completed,failed,denied,cancelled,suspended,lost" doc:"How it stands; a lost one was running when its host died, and goes on when that is back, if it is durable."`
	Parent   string          `json:"parent_run_id,omitempty" doc:"The run that started it."`
	Started  *time.Time      `json:"started_at,omitempty"`
	Ended    *time.Time      `json:"ended_at,omitempty"`
	Output   json.RawMessage `json:"output,omitempty" doc:"What came of it. It can hold text of third parties: it is data."`
	Omitted  bool            `json:"output_omitted,omitempty" doc:"The output is secret, or too large to be kept here."`
	Error    *Problem        `json:"error,omitempty" doc:"Why it did not complete."`
	Waits    []string        `json:"waits,omitempty" doc:"The events that it waits for; approval:ID is an approval."`
}

type runBody struct{ Body Run }

type startInput struct {
	Pipeline       string `path:"pipeline" maxLength:"256"`
	IdempotencyKey string `header:"Idempotency-Key" maxLength:"256" doc:"Two requests with one key start one run; the second is told of it."`
	Wait           int    `query:"wait" minimum:"0" maximum:"60" doc:"For how many seconds the answer waits for the run's end."`
	Body           struct {
		Input  json.RawMessage   `json:"input,omitempty" doc:"The pipeline's input: any JSON value."`
		Labels map[string]string `json:"labels,omitempty" maxProperties:"64" doc:"What is said of the run; integrity and confidentiality are those of its input."`
		Fresh  bool              `json:"fresh,omitempty" doc:"Every node works, whatever is kept of it."`
	}
}

type startOutput struct {
	Status   int
	Location string `header:"Location"`
	Body     Run
}

type runInput struct {
	RunID string `path:"run_id" maxLength:"128"`
}

type listInput struct {
	Status   string `query:"status" enum:"running,completed,failed,denied,cancelled,suspended,lost"`
	Pipeline string `query:"pipeline" maxLength:"256"`
	Parent   string `query:"parent" maxLength:"128"`
	Limit    int    `query:"limit" minimum:"1" maximum:"500" default:"50"`
}

type listOutput struct {
	Body struct {
		Runs []Run `json:"runs" doc:"The latest first."`
	}
}

type waitInput struct {
	RunID string `path:"run_id" maxLength:"128"`
	Wait  int    `query:"wait" minimum:"0" maximum:"60" doc:"For how many seconds the answer waits for the run's end."`
}

type signalInput struct {
	RunID string `path:"run_id" maxLength:"128"`
	Body  struct {
		Event string          `json:"event" minLength:"1" maxLength:"512" doc:"The key of the event that the run waits for."`
		Data  json.RawMessage `json:"data,omitempty" doc:"What the event brings."`
	}
}

func (s *Server) routeRuns() {
	huma.Register(s.api, huma.Operation{OperationID: "start-run", Method: http.MethodPost, Path: "/v1/pipelines/{pipeline}/runs", Summary: "Run a pipeline", DefaultStatus: http.StatusAccepted,
		MaxBodyBytes: s.opts.MaxBody, BodyReadTimeout: bodyTimeout, Tags: []string{"runs"}}, s.startRun)
	huma.Register(s.api, huma.Operation{OperationID: "list-runs", Method: http.MethodGet, Path: "/v1/runs", Summary: "The tenant's runs", Tags: []string{"runs"}}, s.listRuns)
	huma.Register(s.api, huma.Operation{OperationID: "get-run", Method: http.MethodGet, Path: "/v1/runs/{run_id}", Summary: "How a run stands", Tags: []string{"runs"}}, s.getRun)
	huma.Register(s.api, huma.Operation{OperationID: "cancel-run", Method: http.MethodPost, Path: "/v1/runs/{run_id}/cancel", Summary: "Stop a run", DefaultStatus: http.StatusAccepted, Tags: []string{"runs"}}, s.cancelRun)
	huma.Register(s.api, huma.Operation{OperationID: "signal-run", Method: http.MethodPost, Path: "/v1/runs/{run_id}/signal", Summary: "Give a run the event that it waits for", DefaultStatus: http.StatusAccepted,
		MaxBodyBytes: s.opts.MaxBody, BodyReadTimeout: bodyTimeout, Tags: []string{"runs"}}, s.signalRun)
	s.routeEvents()
}

// The actions that governance is asked about.
const (
	actionRead    = "run.read"
	actionList    = "run.list"
	actionCancel  = "run.cancel"
	actionSignal  = "run.signal"
	actionAnswer  = "approval.answer"
	actionPending = "approval.list"
)

func runResource(id string) kernel.Resource { return kernel.Resource{Type: "run", ID: id} }

func (s *Server) startRun(ctx context.Context, in *startInput) (*startOutput, error) {
	t, who := s.of(ctx)
	p, err := t.take(in.Pipeline)
	if err != nil {
		return nil, answer(err)
	}
	defer t.giveBack(p)
	var input kernel.Value
	if len(in.Body.Input) > 0 {
		if input, err = kernel.DecodeJSON(in.Body.Input); err != nil {
			return nil, answer(&kernel.Error{Code: kernel.CodeInput, What: "the input is no JSON", Why: kernel.Quote(err.Error()), Fix: "send a JSON value"})
		}
	}
	id := host.NewRunID()
	if in.IdempotencyKey != "" {
		id = pipelinespawner.ID(t.name, "http\x00"+who.Principal+"\x00"+p.Name+"\x00"+in.IdempotencyKey)
	}
	opts := host.RunOptions{Principal: who.Principal, Labels: in.Body.Labels, Fresh: in.Body.Fresh, Durable: s.opts.Durable, RunID: id}
	out := &startOutput{Status: http.StatusAccepted, Location: "/v1/runs/" + id}
	for try := 0; ; try++ {
		r, err := t.start(ctx, id, p.Name, opts, func(ctx context.Context, opts host.RunOptions) *host.Result {
			t.keep(p) // this waits until the run has begun
			defer t.giveBack(p)
			return p.Run(ctx, input, opts)
		})
		if err != nil {
			return nil, answer(err)
		}
		r.waitFor(ctx, in.Wait)
		if out.Body, err = s.stands(ctx, t, id); err == nil {
			break
		}
		if kernel.CodeOf(err) != kernel.CodeNotFound || try == tries { // else whoever had taken the id died before the run began, and it is being given free
			return nil, answer(err)
		}
		t.forget(id)
		select {
		case <-time.After(tryAgain):
		case <-ctx.Done():
			return nil, answer(kernel.ContextError(ctx))
		}
	}
	if out.Body.Status != string(processregistry.Running) {
		out.Status = http.StatusOK
	}
	return out, nil
}

// How often a run is begun whose id is being given free, and after how long again.
const (
	tries    = 100
	tryAgain = 20 * time.Millisecond
)

// start has a run begin in a goroutine of its own; one that was begun with that id before, here or elsewhere, goes on as it is.
func (t *tenant) start(request context.Context, id, pipeline string, opts host.RunOptions, do func(context.Context, host.RunOptions) *host.Result) (*run, error) {
	ctx, cancel := context.WithCancel(tracing.Within(t.server.base, tracing.Parent(request))) // it outlives the request
	r, was, err := t.begin(id, pipeline, cancel)
	if r == nil {
		cancel()
		return was, err
	}
	begun := make(chan struct{})
	opts.Recorder, opts.Begun = host.Tell(r.feed.add), func() { close(begun) }
	go func() {
		defer cancel()
		result := do(ctx, opts)
		t.end(r, result)
	}()
	select { // who is told that a run was accepted finds it whatever happens to this process
	case <-begun:
	case <-r.done:
	}
	return r, nil
}

// waitFor waits until a run has ended, for so many seconds, or until the client is gone.
func (r *run) waitFor(ctx context.Context, seconds int) {
	if r == nil || seconds == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, min(time.Duration(seconds)*time.Second, maxWait))
	defer cancel()
	select {
	case <-r.done:
	case <-ctx.Done():
	}
}

// stands returns how a run stands, as the tenant's registry knows it, or as this server does.
func (s *Server) stands(ctx context.Context, t *tenant, id string) (Run, error) {
	r := t.find(id)
	waited := false
	if r != nil {
		select {
		case <-r.done:
			switch kernel.CodeOf(r.result.Err) {
			case kernel.CodeRunExists, kernel.CodeFenced, kernel.CodeUnavailable: // it may go on, or have ended, elsewhere
			default:
				if waited = r.result.Status == engine.Suspended; !waited { // else it may, too
					return ofResult(r), nil
				}
			}
		default:
			return Run{RunID: id, Pipeline: r.pipeline, Status: string(processregistry.Running)}, nil
		}
	}
	p, err := t.host.Process(ctx, id)
	switch {
	case waited && (errors.Is(err, processregistry.ErrUnknown) || err == nil && p.Status == processregistry.Suspended):
		out := ofResult(r)
		if waits := t.waits(ctx, id); waits != nil { // for something else by now, maybe
			out.Waits = waits
		}
		return out, nil
	case errors.Is(err, processregistry.ErrUnknown) && r != nil && kernel.CodeOf(r.result.Err) != kernel.CodeRunExists: // it did not begin
		return ofResult(r), nil
	case errors.Is(err, processregistry.ErrUnknown):
		return Run{}, &kernel.Error{Code: kernel.CodeNotFound, What: "there is no run " + kernel.Quote(id), Fix: "GET /v1/runs lists them"}
	case err != nil:
		return Run{}, err
	}
	out := ofProcess(p)
	if p.Status == processregistry.Suspended {
		out.Waits = t.waits(ctx, id)
	}
	return out, nil
}

// waits are the events that a run waits for, whichever server it has waited at before; none where it does no longer.
func (t *tenant) waits(ctx context.Context, id string) []string {
	waits, err := t.host.WaitsOf(ctx, id)
	if err != nil {
		return nil
	}
	var keys []string
	for _, w := range waits {
		keys = append(keys, w.EventKey)
	}
	return keys
}

func ofResult(r *run) Run {
	result := r.result
	out := Run{RunID: r.id, Pipeline: r.pipeline, Status: string(result.Status)}
	output := result.Output
	if len(output) == 0 {
		output = result.NodeResults
	}
	var labels *kernel.Labels
	for _, l := range result.Labels {
		labels = labels.Join(l)
	}
	var told processregistry.Process
	told.SetOutput(valueOf(output), labels)
	out.Output, out.Omitted = told.Output, told.Omitted
	if result.Err != nil {
		out.Error = problemOf(0, result.Err)
	}
	for _, w := range result.Waits {
		out.Waits = append(out.Waits, w.EventKey)
	}
	return out
}

func valueOf(fields map[string]kernel.Value) kernel.Value {
	v := make(map[string]any, len(fields))
	for name, field := range fields {
		v[name] = field
	}
	return v
}

func ofProcess(p *processregistry.Process) Run {
	out := Run{RunID: p.RunID, Pipeline: p.Pipeline, Status: string(p.Status), Parent: p.Parent, Output: p.Output, Omitted: p.Omitted}
	if !p.Started.IsZero() {
		out.Started = &p.Started
	}
	if !p.Ended.IsZero() {
		out.Ended = &p.Ended
	}
	if p.Error != nil {
		out.Error = problemOf(0, p.Error)
	}
	return out
}

func (s *Server) listRuns(ctx context.Context, in *listInput) (*listOutput, error) {
	t, who := s.of(ctx)
	if err := t.host.Allow(ctx, who.Principal, actionList, tenantResource(t)); err != nil {
		return nil, answer(err)
	}
	list, err := t.host.Processes().List(ctx, t.name, processregistry.Filter{Status: processregistry.Status(in.Status), Pipeline: in.Pipeline, Parent: in.Parent, Limit: cmp.Or(in.Limit, 50)})
	if err != nil {
		return nil, answer(err)
	}
	out := &listOutput{}
	out.Body.Runs = []Run{}
	for _, p := range list {
		r := ofProcess(p)
		r.Output, r.Omitted = nil, false
		out.Body.Runs = append(out.Body.Runs, r)
	}
	return out, nil
}

func (s *Server) getRun(ctx context.Context, in *waitInput) (*runBody, error) {
	t, who := s.of(ctx)
	if err := t.host.Allow(ctx, who.Principal, actionRead, runResource(in.RunID)); err != nil {
		return nil, answer(err)
	}
	t.find(in.RunID).waitFor(ctx, in.Wait)
	r, err := s.stands(ctx, t, in.RunID)
	if err != nil {
		return nil, answer(err)
	}
	return &runBody{r}, nil
}

func (s *Server) cancelRun(ctx context.Context, in *runInput) (*runBody, error) {
	t, who := s.of(ctx)
	if err := t.host.Allow(ctx, who.Principal, actionCancel, runResource(in.RunID)); err != nil {
		return nil, answer(err)
	}
	stands, err := s.stands(ctx, t, in.RunID)
	if err != nil {
		return nil, answer(err)
	}
	r := t.find(in.RunID)
	if r == nil && stands.Status == string(processregistry.Running) {
		return nil, answer(&kernel.Error{Code: kernel.CodeFenced, What: "the run is under way elsewhere", Why: "another server has started it", Where: kernel.Where{Run: in.RunID}, Fix: "ask that one"})
	}
	if r != nil {
		r.cancel()
		r.waitFor(ctx, 5)
		if stands, err = s.stands(ctx, t, in.RunID); err != nil {
			return nil, answer(err)
		}
	}
	return &runBody{stands}, nil
}

func (s *Server) signalRun(ctx context.Context, in *signalInput) (*runBody, error) {
	t, who := s.of(ctx)
	if err := t.host.Allow(ctx, who.Principal, actionSignal, runResource(in.RunID)); err != nil {
		return nil, answer(err)
	}
	stands, err := s.stands(ctx, t, in.RunID)
	switch {
	case err != nil:
		return nil, answer(err)
	case stands.Status != string(processregistry.Suspended):
		return nil, answer(&kernel.Error{Code: kernel.CodeFenced, What: "the run waits for nothing", Why: "it is " + stands.Status, Where: kernel.Where{Run: in.RunID}})
	case len(stands.Waits) > 0 && !slices.Contains(stands.Waits, in.Body.Event):
		return nil, answer(&kernel.Error{Code: kernel.CodeArguments, What: "the run does not wait for " + kernel.Quote(in.Body.Event), Where: kernel.Where{Run: in.RunID}, Fix: kernel.DidYouMean(in.Body.Event, stands.Waits)})
	}
	var data kernel.Value
	if len(in.Body.Data) > 0 {
		if data, err = kernel.DecodeJSON(in.Body.Data); err != nil {
			return nil, answer(&kernel.Error{Code: kernel.CodeInput, What: "the data is no JSON", Why: kernel.Quote(err.Error())})
		}
	}
	t.forget(in.RunID)
	if _, err := t.start(ctx, in.RunID, stands.Pipeline, host.RunOptions{}, func(ctx context.Context, opts host.RunOptions) *host.Result {
		return t.resume(ctx, in.RunID, in.Body.Event, data, opts)
	}); err != nil {
		return nil, answer(err)
	}
	if stands, err = s.stands(ctx, t, in.RunID); err != nil {
		return nil, answer(err)
	}
	return &runBody{stands}, nil
}

// resume has a run go on that waited.
func (t *tenant) resume(ctx context.Context, id, event string, data kernel.Value, opts host.RunOptions) *host.Result {
	result, err := t.host.Resume(ctx, id, event, data, opts)
	if errors.Is(err, host.ErrNotWaiting) { // how it stands is not what came of this
		err = &kernel.Error{Code: kernel.CodeFenced, What: "the run does not go on for that here", Where: kernel.Where{Run: id}, Why: err.Error(), Fix: "see how it stands", Err: err}
	}
	if err != nil && result == nil {
		return &host.Result{RunID: id, Status: "failed", Err: err}
	}
	return result
}

// forget has the server know a run that has ended from the registry alone.
func (t *tenant) forget(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := slices.Index(t.over, id); i >= 0 {
		t.over = slices.Delete(t.over, i, i+1)
		delete(t.live, id)
	}
}
