// Package googlellm is Google's Gemini models, through the Gemini API and the official
// client.
package googlellm

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/llm/driver"
	"github.com/hexdag/hexdag/host/ports/llm/endpoint"
	"google.golang.org/genai"
)

// model is safe for concurrent use: nothing in it changes.
type model struct {
	*endpoint.Endpoint
	models *genai.Models
}

var (
	_ driver.Streamer = (*model)(nil)
	_ driver.Embedder = (*model)(nil)
	_ driver.Named    = (*model)(nil)
)

// New returns the models behind the endpoint that cfg names, or a CodeConfig
// error. It connects to nothing yet.
func New(cfg Config) (driver.LLM, error) {
	e, err := endpoint.New(cfg.Config, provider())
	if err != nil {
		return nil, err
	}
	options := genai.HTTPOptions{BaseURL: e.BaseURL, APIVersion: "v1beta"}
	if e.MaxRetries > 0 {
		attempts := int32(e.MaxRetries) + 1 //nolint:gosec // at most 11
		options.RetryOptions = &genai.HTTPRetryOptions{Attempts: &attempts}
	}
	// All that it would read from the environment is given.
	client, err := genai.NewClient(context.Background(), &genai.ClientConfig{APIKey: string(e.Key), Backend: genai.BackendGeminiAPI, HTTPClient: e.Client, HTTPOptions: options})
	if err != nil {
		return nil, provider().ConfigError("", "%s", kernel.Quote(strings.ReplaceAll(err.Error(), string(e.Key), "[hidden]")))
	}
	return &model{Endpoint: e, models: client.Models}, nil
}

// Complete asks the endpoint to generate content.
func (m *model) Complete(ctx context.Context, req *driver.Request) (*driver.Response, error) {
	q, err := m.question(req)
	if err != nil {
		return nil, err
	}
	a := answer{names: q.names}
	err = m.Call(ctx, func(ctx context.Context) error {
		got, err := m.models.GenerateContent(ctx, q.model, q.contents, q.config)
		if err != nil {
			return err
		}
		if !a.add(got, nil) {
			return m.Malformed("it has no candidates")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return a.response(req, q.model), nil
}

// Stream implements driver.Streamer.
func (m *model) Stream(ctx context.Context, req *driver.Request, tell func(string)) (*driver.Response, error) {
	q, err := m.question(req)
	if err != nil {
		return nil, err
	}
	a := answer{names: q.names}
	err = m.Call(ctx, func(ctx context.Context) error {
		for got, err := range m.models.GenerateContentStream(ctx, q.model, q.contents, q.config) {
			if err != nil {
				return err
			}
			a.add(got, tell)
		}
		if a.reason == "" {
			return endpoint.Cut
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return a.response(req, q.model), nil
}

// question is a request as the client takes it.
type question struct {
	model    string
	contents []*genai.Content
	config   *genai.GenerateContentConfig
	names    *endpoint.Names
}

func (m *model) question(req *driver.Request) (*question, error) {
	once := false // the client would otherwise ask again where an answer says that it goes on
	q := &question{config: &genai.GenerateContentConfig{AutomaticContinuation: &once}, names: endpoint.NamesOf(req)}
	var err error
	if q.model, err = m.ModelFor(req.Model, m.Model, "model"); err != nil {
		return nil, err
	}
	if strings.ContainsAny(q.model, "?#%") || strings.Contains(q.model, "..") {
		return nil, &kernel.Error{Code: kernel.CodeArguments, What: "no model is named " + kernel.Quote(q.model), Why: "it would be another path of the endpoint"}
	}
	if q.config.SystemInstruction, q.contents = conversation(req.Messages, q.names, wantsSignatures(q.model)); len(q.contents) == 0 {
		return nil, &kernel.Error{Code: kernel.CodeArguments, What: "the conversation has no message but the system's", Why: "Google's models answer a user", Fix: "add a message of the role user"}
	}
	if req.MaxTokens > 0 {
		q.config.MaxOutputTokens = int32(min(req.MaxTokens, 1<<31-1)) //nolint:gosec // it is bounded
	}
	if req.Temperature != nil {
		t := float32(*req.Temperature)
		q.config.Temperature = &t
	}
	q.addTools(req)
	if req.Schema != nil {
		if !m.Native {
			return nil, endpoint.Unsupported("structured_output is prompt")
		}
		q.config.ResponseMIMEType, q.config.ResponseJsonSchema = "application/json", req.Schema
	}
	return q, nil
}

func (q *question) addTools(req *driver.Request) {
	if len(req.Tools) == 0 {
		return
	}
	tool := &genai.Tool{}
	for _, t := range req.Tools {
		f := &genai.FunctionDeclaration{Name: q.names.Out(t.Name), Description: t.Description}
		if t.Parameters != nil {
			f.ParametersJsonSchema = endpoint.Parameters(t.Parameters)
		}
		tool.FunctionDeclarations = append(tool.FunctionDeclarations, f)
	}
	q.config.Tools = []*genai.Tool{tool}
	calling := &genai.FunctionCallingConfig{}
	switch c := req.ToolChoice; {
	case c.Name != "":
		calling.Mode, calling.AllowedFunctionNames = genai.FunctionCallingConfigModeAny, []string{q.names.Out(c.Name)}
	case c.Mode == driver.Required:
		calling.Mode = genai.FunctionCallingConfigModeAny
	case c.Mode == driver.None:
		calling.Mode = genai.FunctionCallingConfigModeNone
	default:
		return
	}
	q.config.ToolConfig = &genai.ToolConfig{FunctionCallingConfig: calling}
}

// unsigned is what Google has the first call of a turn come with that another model made, such as one that a pool asked before: its newer
// models refuse a call without a signature.
const unsigned = "skip_thought_signature_validator"

// wantsSignatures reports whether a model refuses calls without: those before Gemini 3 know nothing of it.
func wantsSignatures(model string) bool {
	version, ok := strings.CutPrefix(strings.TrimPrefix(model, "models/"), "gemini-")
	return ok && !strings.HasPrefix(version, "1") && !strings.HasPrefix(version, "2")
}

// conversation returns the messages as the endpoint takes them: the system's beside the others, turns of one after
// the other together, and none that is empty.
func conversation(messages []driver.Message, names *endpoint.Names, signed bool) (system *genai.Content, out []*genai.Content) {
	called := map[string]string{} // the endpoint knows results by the names of their tools
	for _, msg := range messages {
		role := genai.RoleUser
		var parts []*genai.Part
		switch msg.Role {
		case driver.System:
			if msg.Content == "" {
				continue
			}
			if system == nil {
				system = &genai.Content{}
			}
			system.Parts = append(system.Parts, &genai.Part{Text: msg.Content})
			continue
		case driver.Tool:
			parts = append(parts, &genai.Part{FunctionResponse: &genai.FunctionResponse{ID: msg.CallID, Name: names.Out(called[msg.CallID]), Response: map[string]any{"output": msg.Content}}})
		case driver.Assistant:
			role = genai.RoleModel
			fallthrough
		default:
			if msg.Content != "" {
				parts = append(parts, &genai.Part{Text: msg.Content})
			}
			for i, c := range msg.ToolCalls {
				called[c.ID] = c.Name
				part := &genai.Part{FunctionCall: &genai.FunctionCall{ID: c.ID, Name: names.Out(c.Name), Args: arguments(c.Arguments)}}
				if signature, err := base64.StdEncoding.DecodeString(c.Signature); err == nil && len(signature) > 0 {
					part.ThoughtSignature = signature
				} else if signed && i == 0 {
					part.ThoughtSignature = []byte(unsigned)
				}
				parts = append(parts, part)
			}
		}
		last := len(out) - 1
		switch {
		case len(parts) == 0:
		case last >= 0 && out[last].Role == role:
			out[last].Parts = append(out[last].Parts, parts...)
		default:
			out = append(out, &genai.Content{Role: role, Parts: parts})
		}
	}
	return system, out
}

// arguments returns those of a call that was made; where they were no JSON object, none.
func arguments(text string) map[string]any {
	args := map[string]any{}
	if json.Unmarshal([]byte(text), &args) != nil || args == nil {
		return map[string]any{}
	}
	return args
}

// answer is what has come of one.
type answer struct {
	names  *endpoint.Names
	text   strings.Builder
	calls  []driver.ToolCall
	reason string
	model  string
	usage  *genai.GenerateContentResponseUsageMetadata
}

// maxCalls is the most calls of tools that are read of an answer.
const maxCalls = 256

// add adds what came, and reports whether it is an answer.
func (a *answer) add(got *genai.GenerateContentResponse, tell func(string)) bool {
	if got.ModelVersion != "" {
		a.model = got.ModelVersion
	}
	if got.UsageMetadata != nil {
		a.usage = got.UsageMetadata
	}
	if f := got.PromptFeedback; f != nil && f.BlockReason != "" {
		a.reason = driver.ContentFilter
		return true
	}
	if len(got.Candidates) == 0 || got.Candidates[0] == nil {
		return false
	}
	c := got.Candidates[0]
	if c.FinishReason != "" && c.FinishReason != genai.FinishReasonUnspecified {
		a.reason = reason(c.FinishReason)
	}
	if c.Content == nil {
		return true
	}
	for _, p := range c.Content.Parts {
		switch {
		case p == nil || p.Thought:
		case p.FunctionCall != nil && len(a.calls) < maxCalls:
			a.call(p)
		case p.Text != "":
			a.text.WriteString(p.Text)
			if tell != nil {
				tell(p.Text)
			}
		}
	}
	return true
}

func (a *answer) call(p *genai.Part) {
	text, err := kernel.EncodeJSON(p.FunctionCall.Args)
	if err != nil || p.FunctionCall.Args == nil {
		text = []byte("{}")
	}
	c := driver.ToolCall{ID: p.FunctionCall.ID, Name: a.names.In(p.FunctionCall.Name), Arguments: string(text)}
	if len(p.ThoughtSignature) > 0 {
		c.Signature = base64.StdEncoding.EncodeToString(p.ThoughtSignature)
	}
	a.calls = append(a.calls, c)
}

func (a *answer) response(req *driver.Request, asked string) *driver.Response {
	r := &driver.Response{Content: a.text.String(), ToolCalls: a.calls, FinishReason: a.reason, Model: a.model}
	if r.Model == "" {
		r.Model = asked
	}
	for i := range r.ToolCalls {
		if r.ToolCalls[i].ID == "" { // most of these models give none
			r.ToolCalls[i].ID = fmt.Sprintf("call_%d_%d", len(req.Messages), i)
		}
	}
	if len(r.ToolCalls) > 0 && r.FinishReason == driver.Stop {
		r.FinishReason = driver.ToolUse
	}
	if u := a.usage; u != nil {
		r.Usage.InputTokens = int64(u.PromptTokenCount) + int64(u.ToolUsePromptTokenCount)
		r.Usage.OutputTokens = int64(u.CandidatesTokenCount) + int64(u.ThoughtsTokenCount)
	}
	if u := r.Usage; u.InputTokens < 0 || u.OutputTokens < 0 || u.InputTokens+u.OutputTokens == 0 {
		r.Usage = driver.Estimate(req.Messages, r.Content)
	}
	r.Usage.TotalTokens = r.Usage.InputTokens + r.Usage.OutputTokens
	return r
}

func reason(r genai.FinishReason) string {
	switch r {
	case genai.FinishReasonStop:
		return driver.Stop
	case genai.FinishReasonMaxTokens:
		return driver.Length
	case genai.FinishReasonSafety, genai.FinishReasonRecitation, genai.FinishReasonBlocklist, genai.FinishReasonProhibitedContent, genai.FinishReasonSPII:
		return driver.ContentFilter
	}
	return strings.ToLower(string(r))
}

// Embed implements driver.Embedder. The endpoint does not count; package llm estimates.
func (m *model) Embed(ctx context.Context, req *driver.EmbedRequest) (*driver.Embeddings, error) {
	name, err := m.ModelFor(req.Model, m.EmbeddingModel, "embedding_model")
	if err != nil {
		return nil, err
	}
	contents := make([]*genai.Content, len(req.Texts))
	for i, text := range req.Texts {
		contents[i] = genai.NewContentFromText(text, genai.RoleUser)
	}
	config := &genai.EmbedContentConfig{}
	if req.Dimensions > 0 {
		size := int32(req.Dimensions) //nolint:gosec // package llm bounds it
		config.OutputDimensionality = &size
	}
	out := &driver.Embeddings{Model: name}
	err = m.Call(ctx, func(ctx context.Context) error {
		got, err := m.models.EmbedContent(ctx, name, contents, config)
		if err != nil {
			return err
		}
		for _, e := range got.Embeddings {
			if e == nil {
				return m.Malformed("a vector is not there")
			}
			out.Vectors = append(out.Vectors, e.Values)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
