package mcpserver

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"maps"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/kernel"
)

// inputApproval is the name of what clients are asked for by the host itself.
const inputApproval = "approval"

// sinceRounds is the version from which on a result can ask for input.
const sinceRounds = "2026-07-28"

func newKey() []byte {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // it never fails
	return key
}

// approvalOf returns the approval that a run waits for; "" where it waits for something else.
func approvalOf(result *host.Result) string {
	for _, w := range result.Waits {
		if id, is := strings.CutPrefix(w.EventKey, kernel.ApprovalKey); is {
			return id
		}
	}
	return ""
}

// waits has the client asked for what a run waits for: for an approval the person at it, or what a module asks for in its own
// words. Where it cannot be asked, it is told what the run waits for.
func (o *served) waits(ctx context.Context, req *mcp.CallToolRequest, one *offer, r *run, result *host.Result) (*mcp.CallToolResult, error) {
	for result.Status == engine.Suspended {
		next, told := o.input(ctx, req, one, r, result)
		if inputOf(result) == nil {
			next, told = o.approval(ctx, req, one, r, result)
		}
		if told != nil {
			return told, nil
		}
		result = next
	}
	return o.outcome(ctx, req, one, r, result)
}

// input asks the client for what a module asks it for, and goes on with the answers.
func (o *served) input(ctx context.Context, req *mcp.CallToolRequest, one *offer, r *run, result *host.Result) (next *host.Result, told *mcp.CallToolResult) {
	w := inputOf(result)
	if w == nil {
		return nil, nil
	}
	who := "The tool " + kernel.Quote(one.tool.Name)
	var data map[string]any
	if req.ProtocolVersion() < sinceRounds {
		if !r.claim() {
			return nil, waiting(result, "it goes on already", "read "+resourceBase+result.RunID)
		}
		asking, giveUp := context.WithCancelCause(ctx)
		r.asks(func() { giveUp(errUnanswered) })
		data = o.ask(asking, req.Session, w, who)
		r.unclaim()
		giveUp(nil)
	} else {
		given, all := answers(w, req.Params.InputResponses)
		if !all {
			return nil, &mcp.CallToolResult{Meta: meta(result), InputRequests: requestsOf(w, who), RequestState: o.sign(result.RunID + " " + w.EventKey + " " + one.id)}
		}
		data = given
		req.Params.InputResponses = maps.Clone(req.Params.InputResponses)
		maps.DeleteFunc(req.Params.InputResponses, func(name string, _ mcp.InputResponse) bool { return given[name] != nil }) // each answers once
	}
	if !r.claim() {
		return nil, waiting(result, "it goes on already", "read "+resourceBase+result.RunID)
	}
	next, err := o.goOn(ctx, r, result.RunID, w.EventKey, data, o.options(ctx, req, one, r))
	if err != nil {
		return nil, failed(result, err)
	}
	return next, nil
}

// approval asks the person at the client for an approval, and goes on with the answer.
func (o *served) approval(ctx context.Context, req *mcp.CallToolRequest, one *offer, r *run, result *host.Result) (next *host.Result, told *mcp.CallToolResult) {
	id := approvalOf(result)
	if id == "" {
		return nil, waiting(result, "it waits for the event "+kernel.Quote(result.Waits[0].EventKey), "have it come: hexdag resume --event")
	}
	if !o.asks(req) || !r.claim() {
		return nil, waiting(result, "approval "+id+" is pending", "have a person answer: hexdag approvals approve "+id+". The run then goes on by itself, and its result is "+resourceBase+result.RunID+"/results")
	}
	pending, err := o.pending(ctx, id)
	if err != nil {
		r.unclaim()
		return nil, failed(result, err)
	}
	if pending == nil { // somebody else was faster
		return o.decided(ctx, req, one, r, result, id)
	}
	if err := pending.May(o.opts.Approver); err != nil { // it is for others, or takes one more person
		r.unclaim()
		return nil, waiting(result, "approval "+id+" is pending: "+err.Error(), "have another person answer: hexdag approvals approve "+id+". The run then goes on by itself, and its result is "+resourceBase+result.RunID+"/results")
	}
	question := form(pending)
	if req.ProtocolVersion() >= sinceRounds {
		r.unclaim() // who is asked may never answer: an operator can
		return nil, &mcp.CallToolResult{Meta: meta(result), InputRequests: mcp.InputRequestMap{inputApproval: question}, RequestState: o.sign(result.RunID + " " + kernel.ApprovalKey + id + " " + one.id)}
	}
	asking, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	r.asks(func() { giveUp(errDecided) })
	answer, err := req.Session.Elicit(asking, question)
	r.asks(nil)
	if errors.Is(context.Cause(asking), errDecided) {
		return o.decided(ctx, req, one, r, result, id)
	}
	r.unclaim()
	if err != nil {
		return nil, waiting(result, "approval "+id+" is pending: the client could not ask for it, "+kernel.Quote(err.Error()), "have a person answer: hexdag approvals approve "+id)
	}
	return o.resume(ctx, req, one, r, result, id, answer)
}

// errDecided ends the asking of a client for an approval that somebody else has given or refused, or that has expired.
var errDecided = errors.New("the approval is decided")

// decided goes on with a run that one has claimed, whose approval is not to be answered any more: the run finds what came of it.
func (o *served) decided(ctx context.Context, req *mcp.CallToolRequest, one *offer, r *run, result *host.Result, id string) (next *host.Result, told *mcp.CallToolResult) {
	next, err := o.goOn(ctx, r, result.RunID, kernel.ApprovalKey+id, nil, o.options(ctx, req, one, r))
	if err != nil {
		return nil, failed(result, err)
	}
	return next, nil
}

// asks reports whether there is a person at the client who may be asked.
func (o *served) asks(req *mcp.CallToolRequest) bool {
	caps := req.ClientCapabilities()
	return o.opts.Approver != "" && caps != nil && caps.Elicitation != nil
}

// waiting tells of a run that waits.
func waiting(result *host.Result, why, fix string) *mcp.CallToolResult {
	return failed(result, &kernel.Error{Code: kernel.CodeApproval, What: "run " + result.RunID + " waits, and has no result yet", Why: why, Fix: fix})
}

// pending returns an approval that is still to be answered, or nil.
func (o *served) pending(ctx context.Context, id string) (*host.Approval, error) {
	list, err := o.host.Approvals().List(ctx, host.ApprovalPending)
	if err != nil {
		return nil, err
	}
	for i := range list {
		if list[i].ID == id {
			return &list[i], nil
		}
	}
	return nil, nil
}

// form puts a call before a person.
func form(a *host.Approval) *mcp.ElicitParams {
	return &mcp.ElicitParams{Mode: "form", Message: describe(a), RequestedSchema: map[string]any{
		"type": "object", "required": []string{"approve"},
		"properties": map[string]any{
			"approve": map[string]any{"type": "boolean", "title": "Approve this call", "description": "true lets exactly this call be made, once; false refuses it"},
			"note":    map[string]any{"type": "string", "title": "Why", "description": "for whoever asked, and for the record"},
		},
	}}
}

// describe says of an approval what a person has to know to answer.
func describe(a *host.Approval) string {
	lines := []string{"May " + kernel.Quote(a.Request.Subject.Type+":"+a.Request.Subject.ID) + " do " + kernel.Quote(a.Request.Action.Name) + " on " + kernel.Quote(a.Request.Resource.Type+":"+a.Request.Resource.ID) + "?"}
	if len(a.Request.Subject.Chain) > 0 {
		lines = append(lines, "on behalf of "+kernel.Quote(strings.Join(a.Request.Subject.Chain, ", ")))
	}
	if args, err := kernel.EncodeJSON(a.Request.Action.Args); err == nil {
		lines = append(lines, "arguments: "+kernel.Quote(string(args)))
	}
	if len(a.Request.Context.Sources) > 0 {
		lines = append(lines, "made of what comes from "+kernel.Quote(strings.Join(a.Request.Context.Sources, ", ")))
	}
	for _, r := range a.Reasons {
		lines = append(lines, "because: "+kernel.Quote(r.Msg)+" ["+kernel.Quote(r.ID)+"]")
	}
	return strings.Join(append(lines, "approval "+a.ID+", until "+a.Expires.Format(time.RFC3339)), "\n")
}

// answered goes on with a call whose client was asked.
func (o *served) answered(ctx context.Context, req *mcp.CallToolRequest, one *offer) (*mcp.CallToolResult, error) {
	state, ok := o.verify(req.Params.RequestState)
	parts := strings.SplitN(state, " ", 3)
	if !ok || len(parts) != 3 || parts[2] != one.id {
		return nil, &jsonrpc.Error{Code: jsonrpc.CodeInvalidParams, Message: "the call cannot go on: its requestState is none that this server has given for this tool (give it back as it was given, within the time of this server; or call the tool anew)"}
	}
	r := o.runs.find(o.principal, parts[0])
	if r == nil {
		return failed(nil, &kernel.Error{Code: kernel.CodeInput, What: "the call cannot go on", Why: "its run is not known here any more", Fix: "call the tool anew"}), nil
	}
	r.mu.Lock()
	result := r.result
	r.mu.Unlock()
	if w := inputOf(result); w != nil && w.EventKey != parts[1] {
		req.Params.InputResponses = nil // they are of what was asked before
	}
	id, isApproval := strings.CutPrefix(parts[1], kernel.ApprovalKey)
	if !isApproval || result.Status != engine.Suspended || approvalOf(result) != id { // it went on meanwhile
		return o.outcome(ctx, req, one, r, result)
	}
	answer, ok := req.Params.InputResponses[inputApproval].(*mcp.ElicitResult)
	if !ok || answer == nil { // it is asked for again
		return o.outcome(ctx, req, one, r, result)
	}
	next, told := o.resume(ctx, req, one, r, result, id, answer)
	if told != nil {
		return told, nil
	}
	return o.outcome(ctx, req, one, r, next)
}

// resume notes what a person said, and goes on with the run; or tells why it does not.
func (o *served) resume(ctx context.Context, req *mcp.CallToolRequest, one *offer, r *run, result *host.Result, id string, said *mcp.ElicitResult) (next *host.Result, told *mcp.CallToolResult) {
	approve, isSaid := said.Content["approve"].(bool)
	switch {
	case said.Action == "decline":
		approve = false
	case said.Action != "accept":
		return nil, waiting(result, "nobody has answered: approval "+id+" is pending", "have a person answer: hexdag approvals approve "+id)
	case !isSaid:
		return nil, waiting(result, "the answer has no approve: approval "+id+" is pending", "answer {approve: true} or {approve: false}")
	}
	if !r.claim() {
		return nil, waiting(result, "it goes on already", "read "+resourceBase+result.RunID)
	}
	note, _ := said.Content["note"].(string)
	_, err := o.host.Approvals().Answer(ctx, id, o.opts.Approver, approve, note)
	if err != nil && kernel.CodeOf(err) != kernel.CodeInput { // which says that somebody else was faster
		r.unclaim()
		return nil, failed(result, err)
	}
	return o.decided(ctx, req, one, r, result, id)
}

// goOn resumes a run that one has claimed.
func (s *Server) goOn(ctx context.Context, r *run, id, key string, data any, opts host.RunOptions) (*host.Result, error) {
	next, err := s.host.Resume(ctx, id, key, data, opts)
	if err != nil {
		r.unclaim()
		return nil, err
	}
	s.ended(r, next)
	return next, nil
}

// watch goes on with runs whose approvals were answered elsewhere, or whose clients have not answered in time.
func (s *Server) watch() {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		select {
		case <-s.base.Done():
			return
		case <-ticker.C:
			s.look()
			s.expire(s.opts.Now())
			s.changed()
		}
	}
}

// look goes on with runs whose approvals were answered, or has the calls do so that still ask their clients.
func (s *Server) look() {
	waiting := s.runs.waiting()
	if len(waiting) == 0 {
		return
	}
	list, err := s.host.Approvals().List(s.base)
	if err != nil {
		s.log.Error("the approvals cannot be read", "error", err.Error())
		return
	}
	for i := range list {
		if r := waiting[list[i].ID]; r != nil && list[i].State != host.ApprovalPending && !r.unasked() {
			s.alone(r, kernel.ApprovalKey+list[i].ID, nil)
		}
	}
}

// expire goes on with runs whose clients have not answered.
func (s *Server) expire(now time.Time) {
	for r, w := range s.runs.asking() {
		if now.Before(w.Since.Add(w.Timeout)) || r.unasked() {
			continue
		}
		s.alone(r, w.EventKey, unanswered(w))
	}
}

// alone goes on with a run while no client waits for it.
func (s *Server) alone(r *run, key string, data any) {
	if !r.claim() {
		return
	}
	r.mu.Lock()
	id := r.id
	r.mu.Unlock()
	s.calls.Go(func() {
		var e *kernel.Error
		if _, err := s.goOn(s.base, r, id, key, data, host.RunOptions{Recorder: host.Tell(r.event)}); err != nil && (!errors.As(err, &e) || e.Code != kernel.CodeNotFound) {
			s.log.Error("a run that has waited does not go on", "run", id, "error", err.Error())
		}
	})
}

// sign makes of a text what a client can only give back as it is.
func (s *Server) sign(text string) string {
	mac := hmac.New(sha256.New, s.key)
	mac.Write([]byte(text))
	return base64.RawURLEncoding.EncodeToString(mac.Sum([]byte(text)))
}

// verify returns the text that was signed.
func (s *Server) verify(state string) (string, bool) {
	raw, err := base64.RawURLEncoding.DecodeString(state)
	if err != nil || len(raw) <= sha256.Size {
		return "", false
	}
	text := raw[:len(raw)-sha256.Size]
	mac := hmac.New(sha256.New, s.key)
	mac.Write(text)
	return string(text), hmac.Equal(mac.Sum(nil), raw[len(text):])
}
