package mcpserver

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/kernel"
)

// What is kept of runs, in this process: the journal and the audit log keep the rest.
const (
	maxRuns       = 512
	maxRunEvents  = 256 << 10 // bytes of a run's events
	maxRunResults = 1 << 20   // bytes of a run's results
	eventSize     = 512       // bytes that most events have
)

// run is what is known of the run that a call is.
type run struct {
	tool, pipeline, principal string
	started                   time.Time

	mu       sync.Mutex
	id       string
	end      time.Time
	events   bytes.Buffer
	dropped  int
	result   *host.Result // of the end, or of when it began to wait
	answered bool         // somebody resumes it
	giveUp   func()       // ends the asking of its client; nil while that is not under way
	client   *host.Client // who waits for it, or did last
}

// runs are those of the calls that were made.
type runs struct {
	mu   sync.Mutex
	list []*run         // in the order of their calls
	of   map[string]int // how many of them are each principal's
}

func (l *runs) begin(principal string, one *offer) *run {
	r := &run{tool: one.tool.Name, pipeline: strings.TrimPrefix(one.id, "pipeline:"), principal: principal, started: time.Now().UTC()}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of == nil {
		l.of = map[string]int{}
	}
	if len(l.list) >= maxRuns {
		l.forget()
	}
	l.list = append(l.list, r)
	l.of[principal]++
	return r
}

// forget drops the oldest run that is over, or else the oldest, of the principal who has the most: none pushes out another's with its own.
func (l *runs) forget() {
	most := ""
	for principal, n := range l.of {
		if n > l.of[most] || n == l.of[most] && principal < most {
			most = principal
		}
	}
	theirs := func(r *run) bool { return r.principal == most }
	oldest := slices.IndexFunc(l.list, func(r *run) bool { return theirs(r) && r.over() })
	if oldest < 0 {
		oldest = slices.IndexFunc(l.list, theirs)
	}
	if oldest == 0 { // as it mostly is
		l.list[0], l.list = nil, l.list[1:]
	} else {
		l.list = slices.Delete(l.list, oldest, oldest+1)
	}
	if l.of[most]--; l.of[most] == 0 {
		delete(l.of, most)
	}
}

func (r *run) over() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.result != nil && r.result.Status != engine.Suspended
}

// event keeps an event, while there is room.
func (r *run) event(e *host.Event) {
	text, err := e.AppendJSON(make([]byte, 0, eventSize))
	if err != nil {
		text, err = json.Marshal(e)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.id = e.RunID
	if err != nil || r.events.Len()+len(text) > maxRunEvents {
		r.dropped++
		return
	}
	r.events.Write(append(text, '\n'))
}

func (l *runs) end(r *run, result *host.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.id, r.result, r.answered = result.RunID, result, false
	if result.Status != engine.Suspended {
		r.end = time.Now().UTC()
	}
}

// find returns a principal's run.
func (l *runs) find(principal, id string) *run {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range slices.Backward(l.list) {
		if r.principal == principal && r.is(id) {
			return r
		}
	}
	return nil
}

func (r *run) is(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.id == id && id != ""
}

// waiting returns those that wait for an approval, by its id.
func (l *runs) waiting() map[string]*run {
	l.mu.Lock()
	defer l.mu.Unlock()
	waiting := map[string]*run{}
	for _, r := range l.list {
		if id := r.waitsFor(); id != "" {
			waiting[id] = r
		}
	}
	return waiting
}

// waitsFor returns the approval that a run waits for, unless it has been answered here.
func (r *run) waitsFor() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.result == nil || r.result.Status != engine.Suspended {
		return ""
	}
	if asked := r.giveUp != nil && inputOf(r.result) == nil; r.answered && !asked {
		return ""
	}
	return approvalOf(r.result)
}

// asking returns those that wait for what their client is asked, unless it has been answered here.
func (l *runs) asking() map[*run]*engine.Wait {
	l.mu.Lock()
	defer l.mu.Unlock()
	asking := map[*run]*engine.Wait{}
	for _, r := range l.list {
		r.mu.Lock()
		if r.result != nil && r.result.Status == engine.Suspended && (!r.answered || r.giveUp != nil) {
			if w := inputOf(r.result); w != nil {
				asking[r] = w
			}
		}
		r.mu.Unlock()
	}
	return asking
}

// claim makes a run's resumption one's own.
func (r *run) claim() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.answered || r.result == nil || r.result.Status != engine.Suspended {
		return false
	}
	r.answered = true
	return true
}

func (r *run) unclaim() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answered, r.giveUp = false, nil
}

// asks notes how to end the asking of a client, by whoever has claimed the run; nil, once that is over.
func (r *run) asks(giveUp func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.giveUp = giveUp
}

// unasked ends the asking of a client, and reports whether it was under way.
func (r *run) unasked() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.giveUp == nil {
		return false
	}
	r.giveUp()
	return true
}

// state is a run as its resource tells it.
type state struct {
	RunID     string                `json:"run_id"`
	Tool      string                `json:"tool,omitempty"`
	Pipeline  string                `json:"pipeline"`
	Principal string                `json:"principal,omitempty"`
	Status    string                `json:"status"` // running, or how it ended, or suspended
	Started   *time.Time            `json:"started,omitempty"`
	Ended     *time.Time            `json:"ended,omitempty"`
	Error     *kernel.Error         `json:"error,omitempty"`
	Waits     []engine.Wait         `json:"waits,omitempty"`
	Usage     *kernel.UsageSnapshot `json:"usage,omitempty"`
}

func (r *run) state() *state {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &state{RunID: r.id, Tool: r.tool, Pipeline: r.pipeline, Principal: r.principal, Status: "running", Started: &r.started}
	if r.result != nil && !r.answered {
		s.Status, s.Waits, s.Usage = string(r.result.Status), r.result.Waits, &r.result.Usage
		if e := r.result.Error; e != nil {
			told := *e
			told.Where.File = "" // a place on the host
			s.Error = &told
		}
	}
	if !r.end.IsZero() {
		s.Ended = &r.end
	}
	return s
}

// results are a run's, as far as they are not too large.
func (r *run) results() ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	doc := map[string]any{"run_id": r.id, "output": nil, "node_results": nil}
	if r.result == nil {
		return kernel.EncodeJSON(doc)
	}
	doc["output"], doc["node_results"] = valueOf(r.result.Output), valueOf(r.result.NodeResults)
	text, err := kernel.EncodeJSON(doc)
	if err == nil && len(text) > maxRunResults {
		return kernel.EncodeJSON(map[string]any{"run_id": r.id, "omitted": "the results have " + strconv.Itoa(len(text)) + " bytes, the limit is " + strconv.Itoa(maxRunResults)})
	}
	return text, err
}

func (r *run) log() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	text := r.events.String()
	if r.dropped > 0 {
		text += `{"dropped":` + strconv.Itoa(r.dropped) + "}\n"
	}
	return text
}

const (
	typeJSON  = "application/json"
	typeLines = "application/x-ndjson"
)

func (o *served) addResources() {
	for _, t := range []*mcp.ResourceTemplate{
		{Name: "run", URITemplate: resourceBase + "{id}", MIMEType: typeJSON, Description: "What has become of a run: its status, what it waits for, how it failed, what it used."},
		{Name: "results", URITemplate: resourceBase + "{id}/results", MIMEType: typeJSON, Description: "The output of a run, and the results of its nodes."},
		{Name: "events", URITemplate: resourceBase + "{id}/events", MIMEType: typeLines, Description: "The events of a run, a line of JSON each."},
	} {
		o.mcp.AddResourceTemplate(t, o.read)
	}
}

// read reads a resource.
func (o *served) read(_ context.Context, req *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
	uri := req.Params.URI
	id, part, _ := strings.Cut(strings.TrimPrefix(uri, resourceBase), "/")
	contents := &mcp.ResourceContents{URI: uri, MIMEType: typeJSON}
	r := o.runs.find(o.principal, id)
	var doc any
	switch {
	case !strings.HasPrefix(uri, resourceBase):
		return nil, mcp.ResourceNotFoundError(uri)
	case r == nil && part == "":
		if doc = o.left(id); doc == nil {
			return nil, mcp.ResourceNotFoundError(uri)
		}
	case r == nil:
		return nil, mcp.ResourceNotFoundError(uri)
	case part == "":
		doc = r.state()
	case part == "results":
		text, err := r.results()
		if err != nil {
			return nil, err
		}
		doc = json.RawMessage(text)
	case part == "events":
		contents.MIMEType, contents.Text = typeLines, r.log()
	default:
		return nil, mcp.ResourceNotFoundError(uri)
	}
	if doc != nil {
		text, err := json.Marshal(doc)
		if err != nil {
			return nil, err
		}
		contents.Text = string(text)
	}
	return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{contents}}, nil
}

// readable returns an error where there is no such resource.
func (o *served) readable(uri string) error {
	if d, _ := o.find(uri); d != nil {
		return nil
	}
	id, part, _ := strings.Cut(strings.TrimPrefix(uri, resourceBase), "/")
	if strings.HasPrefix(uri, resourceBase) && slices.Contains([]string{"", "results", "events"}, part) && o.runs.find(o.principal, id) != nil {
		return nil
	}
	return mcp.ResourceNotFoundError(uri)
}

// left is a run that an earlier process has left waiting. Whose it was is not told apart, so that only the one principal of a
// server without tokens sees it.
func (o *served) left(id string) any {
	if o.principal != o.opts.Principal {
		return nil
	}
	waiting, err := o.host.Waiting()
	if err != nil {
		return nil
	}
	for _, w := range waiting {
		if w.RunID == id {
			return &state{RunID: w.RunID, Pipeline: w.Pipeline, Status: string(engine.Suspended), Waits: w.Waits}
		}
	}
	return nil
}

// ids are those of a principal's runs, the latest first.
func (l *runs) ids(principal string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var ids []string
	for _, r := range slices.Backward(l.list) {
		if s := r.state(); r.principal == principal && s.RunID != "" {
			ids = append(ids, s.RunID)
		}
	}
	return ids
}

// listResources lists the configuration's resources, and a principal's runs, the latest first, page by page.
func (o *served) listResources(req mcp.Request) (mcp.Result, error) {
	from := 0
	if params, ok := req.GetParams().(*mcp.ListResourcesParams); ok && params != nil && params.Cursor != "" {
		var err error
		if from, err = strconv.Atoi(params.Cursor); err != nil || from < 0 {
			return nil, &kernel.Error{Code: kernel.CodeArguments, What: "there is no such page", Why: "the cursor is " + kernel.Quote(params.Cursor), Fix: "begin anew, without a cursor"}
		}
	}
	list := &mcp.ListResourcesResult{Resources: []*mcp.Resource{}}
	list.CacheScope = "private"
	n := 0
	add := func(resource func() *mcp.Resource) (more bool) {
		if n++; n <= from {
			return true
		}
		if len(list.Resources) == pageSize {
			list.NextCursor = strconv.Itoa(from + pageSize)
			return false
		}
		list.Resources = append(list.Resources, resource())
		return true
	}
	for _, d := range o.documents {
		if d.pattern == nil && o.hasDocument(d.URI) && !add(d.listed) {
			return list, nil
		}
	}
	o.runs.mu.Lock()
	defer o.runs.mu.Unlock()
	for _, r := range slices.Backward(o.runs.list) {
		s := r.state()
		if r.principal != o.principal || s.RunID == "" {
			continue
		}
		if !add(func() *mcp.Resource {
			return &mcp.Resource{URI: resourceBase + s.RunID, Name: s.RunID, Title: s.Tool + ", " + s.Status, MIMEType: typeJSON, Description: "A call of " + s.Tool + " at " + s.Started.Format(time.RFC3339) + ": " + s.Status}
		}) {
			break
		}
	}
	return list, nil
}
