package mcpserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/extension"
	"github.com/hexdag/hexdag/host/kernel"
)

// What results say beside what the tool answers.
const (
	metaRun    = "hexdag/run"
	metaStatus = "hexdag/status"
	metaLabels = "hexdag/labels"
	metaError  = "hexdag/error"
)

// call does what a client asks for. What goes wrong is in the result, so that the model learns of it.
// An error is one of the protocol.
func (o *served) call(ctx context.Context, req *mcp.CallToolRequest, one *offer) (*mcp.CallToolResult, error) {
	if err := o.slots.take(o.principal); err != nil {
		return failed(nil, err), nil
	}
	defer o.slots.give(o.principal)
	if !o.begin() {
		return failed(nil, &kernel.Error{Code: kernel.CodeCanceled, What: "the server ends", Fix: "call again when it is back"}), nil
	}
	defer o.calls.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(o.base, cancel)()
	if req.Params.RequestState != "" { // else answers are of what it will ask
		return o.answered(ctx, req, one)
	}
	args, err := arguments(req.Params.Arguments, one)
	if err != nil {
		return failed(nil, err), nil
	}
	p, err := o.pipelineOf(ctx, one)
	if err != nil {
		return failed(nil, err), nil
	}
	r := o.runs.begin(o.principal, one)
	opts := o.options(ctx, req, one, r)
	opts.Principal, opts.Durable, opts.Labels = o.principal, o.opts.Durable, map[string]string{"mcp": one.tool.Name}
	result := p.Run(o.logged(ctx, req), args, opts)
	o.ended(r, result)
	return o.outcome(ctx, req, one, r, result)
}

// options are those of a run, or of its going on, that a client waits for.
func (o *served) options(ctx context.Context, req *mcp.CallToolRequest, one *offer, r *run) host.RunOptions {
	client := clientOf(req)
	r.mu.Lock()
	r.client = client
	r.mu.Unlock()
	return host.RunOptions{Observer: o.progress(ctx, req, one), Recorder: host.Tell(r.event), Client: client}
}

// begin counts a call, unless the server ends.
func (s *Server) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.calls.Add(1)
	return true
}

// ended notes how a run ended, or that it waits, and tells those who follow it.
func (s *Server) ended(r *run, result *host.Result) {
	s.runs.end(r, result)
	s.mu.Lock()
	o := s.served[r.principal]
	s.mu.Unlock()
	if o == nil {
		return
	}
	for _, part := range []string{"", "/results", "/events"} {
		if err := o.mcp.ResourceUpdated(s.base, &mcp.ResourceUpdatedNotificationParams{URI: resourceBase + result.RunID + part}); err != nil {
			s.log.Debug("a client is not told of a run", "error", err.Error())
		}
	}
}

// arguments reads a call's arguments, and holds them to the tool's schema.
func arguments(text json.RawMessage, one *offer) (map[string]any, error) {
	refuse := func(what, why, fix string) error {
		return &kernel.Error{Code: kernel.CodeArguments, What: "tool " + kernel.Quote(one.tool.Name) + ": " + what, Why: kernel.Quote(why), Fix: fix}
	}
	if len(text) == 0 || string(text) == "null" {
		text = json.RawMessage("{}")
	}
	v, err := kernel.DecodeJSON(text)
	if err != nil {
		return nil, refuse("the arguments are no JSON", err.Error(), "pass an object")
	}
	args, ok := v.(map[string]any)
	if !ok {
		return nil, refuse("the arguments are no object", "they are a single value or a list", "pass {name: value}")
	}
	if one.input != nil {
		if err := one.input.Validate(args); err != nil {
			return nil, refuse("the arguments do not fit its schema", err.Error(), "see inputSchema of the tool")
		}
	}
	return args, nil
}

// progress tells the client what happens, if it asks for that: of a pipeline, each node that is done; of a tool, each call that it makes.
func (o *served) progress(ctx context.Context, req *mcp.CallToolRequest, one *offer) func(*host.Event) {
	token := req.Params.GetProgressToken()
	if token == nil {
		return nil
	}
	done, total := 0.0, 0.0
	if one.pipeline != nil {
		total = float64(len(one.pipeline.Nodes))
	}
	return func(e *host.Event) {
		var message string
		switch {
		case one.pipeline == nil && e.Type == kernel.PortCalled && e.Op != one.id:
			message = e.Op + ": " + e.Status
		case one.pipeline != nil && e.Body == "":
			state, over := map[kernel.EventType]string{kernel.NodeCompleted: "completed", kernel.NodeFailed: "failed", kernel.NodeSkipped: "was skipped", kernel.NodeCancelled: "was cancelled"}[e.Type]
			if !over {
				return
			}
			message = "node " + kernel.Quote(e.Node) + " " + state
		default:
			return
		}
		if done++; total > 0 && done > total {
			total = done
		}
		err := req.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: token, Message: message, Progress: done, Total: total})
		if err != nil {
			o.log.Debug("the client is not told of progress", "error", err.Error())
		}
	}
}

// maxLogged is how many lines a call's modules can log for its client: the host's log has them all.
const maxLogged = 1000

// logged has the client told of what modules log, as far as it asks for that.
func (o *served) logged(ctx context.Context, req *mcp.CallToolRequest) context.Context {
	var lines atomic.Int64
	return extension.WithLogTap(ctx, func(module string, level slog.Level, line string) {
		if lines.Add(1) > maxLogged {
			return
		}
		name := map[slog.Level]mcp.LoggingLevel{slog.LevelDebug: "debug", slog.LevelInfo: "info", slog.LevelWarn: "warning", slog.LevelError: "error"}[level] //nolint:staticcheck // clients of older versions still take it
		if err := req.Session.Log(ctx, &mcp.LoggingMessageParams{Level: name, Logger: module, Data: line}); err != nil {                                      //nolint:staticcheck // clients of older versions still take it
			o.log.Debug("the client is not told of a log line", "error", err.Error())
		}
	})
}

// outcome is what the client is told of a run that has ended, or waits.
func (o *served) outcome(ctx context.Context, req *mcp.CallToolRequest, one *offer, r *run, result *host.Result) (*mcp.CallToolResult, error) {
	switch result.Status {
	case engine.Suspended:
		return o.waits(ctx, req, one, r, result)
	case engine.Completed:
		return succeeded(one, result), nil
	}
	if err := lacking(req, r, result); err != nil {
		return nil, err
	}
	return failed(result, result.Err), nil
}

func meta(result *host.Result) mcp.Meta {
	if result == nil {
		return mcp.Meta{}
	}
	m := mcp.Meta{metaRun: result.RunID, metaStatus: string(result.Status)}
	var labels *host.Labels
	for _, l := range result.Labels {
		labels = labels.Join(l)
	}
	if labels.OrNil() != nil {
		m[metaLabels] = labels.Value()
	}
	return m
}

// succeeded is the result of a run that completed.
func succeeded(one *offer, result *host.Result) *mcp.CallToolResult {
	var v kernel.Value = valueOf(result.Output)
	switch {
	case one.pipeline == nil:
		v = result.Output["result"]
	case len(result.Output) == 0:
		v = valueOf(result.NodeResults)
	}
	text, err := kernel.EncodeJSON(v)
	if err == nil && len(text) > maxResult {
		err = &kernel.Error{Code: kernel.CodeLimit, What: "the result of tool " + kernel.Quote(one.tool.Name) + " is too large for a client", Why: fmt.Sprintf("it has %d bytes, the limit is %d", len(text), maxResult),
			Fix: "ask the tool for less, or have it store an artifact and answer its name"}
	}
	if err != nil {
		return failed(result, err)
	}
	out := &mcp.CallToolResult{Meta: meta(result)}
	fields, object := v.(map[string]any)
	if blocks := content(fields, text); blocks != nil && one.pipeline == nil && !one.output {
		out.Content = blocks
		return out
	}
	said := string(text)
	if s, isText := v.(string); isText {
		said = s
	}
	out.Content = []mcp.Content{&mcp.TextContent{Text: said}}
	if object {
		out.StructuredContent = json.RawMessage(text)
	}
	return out
}

func valueOf(fields map[string]kernel.Value) map[string]any {
	v := make(map[string]any, len(fields))
	for name, field := range fields {
		v[name] = field
	}
	return v
}

// content returns the blocks of a result that is {"content": [...]} in MCP's own form, with which a tool answers images and
// the like; nil, where it is anything else.
func content(fields map[string]any, text []byte) []mcp.Content {
	if _, isList := fields["content"].([]any); !isList || len(fields) != 1 {
		return nil
	}
	var blocks mcp.CallToolResult
	if json.Unmarshal(text, &blocks) != nil || len(blocks.Content) == 0 {
		return nil
	}
	return blocks.Content
}

// failed tells what went wrong: our code and words, without places on the host.
func failed(result *host.Result, err error) *mcp.CallToolResult {
	var e *kernel.Error
	if !errors.As(err, &e) {
		e = &kernel.Error{Code: kernel.CodeInternal, What: kernel.Quote(fmt.Sprint(err))}
	}
	lines := []string{"error: " + e.What}
	told := map[string]any{"code": string(e.Code), "what": e.What}
	for _, part := range []struct{ name, text string }{{"why", e.Why}, {"fix", e.Fix}} {
		if part.text != "" {
			lines = append(lines, part.name+": "+part.text)
			told[part.name] = part.text
		}
	}
	out := &mcp.CallToolResult{IsError: true, Meta: meta(result), Content: []mcp.Content{&mcp.TextContent{Text: strings.Join(append(lines, "code: "+string(e.Code)), "\n")}}}
	out.Meta[metaError] = told
	return out
}
