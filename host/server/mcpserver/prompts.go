package mcpserver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"mime"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline"
)

// What governance is asked of prompts and resources.
const (
	actionPrompt   = "mcp.get_prompt"
	actionResource = "mcp.read_resource"
)

// The bounds of what is offered beside tools.
const (
	maxArgument = 64 << 10 // bytes of a prompt's argument
	maxFile     = 3 << 20  // bytes of a document
	maxProposed = 100      // values of a completion, as MCP has it
)

func promptResource(name string) kernel.Resource { return kernel.Resource{Type: "prompt", ID: name} }

func documentResource(name string) kernel.Resource {
	return kernel.Resource{Type: "resource", ID: name}
}

// shows reports whether a principal is shown a prompt or a resource: governance lets them have it, and the tool that makes it.
func (o *served) shows(ctx context.Context, action string, resource kernel.Resource, tool string, offers map[string]*offer) (bool, error) {
	if tool != "" && byID(offers, tool) == nil {
		return false, nil
	}
	return o.host.MayCall(ctx, o.principal, action, resource)
}

func byID(offers map[string]*offer, id string) *offer {
	for _, one := range offers {
		if one.id == id {
			return one
		}
	}
	return nil
}

// offerPrompts offers those prompts that the principal may have.
func (o *served) offerPrompts(ctx context.Context, offers map[string]*offer) error {
	shown := map[string]bool{}
	for i := range o.host.Config().MCP.Prompts {
		p := &o.host.Config().MCP.Prompts[i]
		shows, err := o.shows(ctx, actionPrompt, promptResource(p.Name), p.Tool, offers)
		if err != nil {
			return err
		}
		if shown[p.Name] = shows; !shows {
			continue
		}
		if !o.prompts[p.Name] {
			o.mcp.AddPrompt(promptOf(p), func(ctx context.Context, req *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
				return o.prompt(ctx, req, p)
			})
		}
	}
	for name := range o.prompts {
		if o.prompts[name] && !shown[name] {
			o.mcp.RemovePrompts(name)
		}
	}
	o.prompts = shown
	return nil
}

func promptOf(p *pipeline.MCPPrompt) *mcp.Prompt {
	out := &mcp.Prompt{Name: p.Name, Title: p.Title, Description: p.Text}
	for _, a := range p.Arguments {
		out.Arguments = append(out.Arguments, &mcp.PromptArgument{Name: a.Name, Description: a.Text, Required: a.Required})
	}
	return out
}

// invalid is the error of parameters that cannot be used, in our words.
func invalid(e *kernel.Error) error {
	message := e.What
	if e.Why != "" {
		message += ": " + e.Why
	}
	if e.Fix != "" {
		message += " (" + e.Fix + ")"
	}
	data, err := json.Marshal(map[string]any{"code": string(e.Code)})
	if err != nil {
		return err
	}
	return &jsonrpc.Error{Code: jsonrpc.CodeInvalidParams, Message: message, Data: data}
}

// prompt makes a prompt.
func (o *served) prompt(ctx context.Context, req *mcp.GetPromptRequest, p *pipeline.MCPPrompt) (*mcp.GetPromptResult, error) {
	args, err := promptArguments(req.Params.Arguments, p)
	if err != nil {
		return nil, err
	}
	if req.Params.RequestState == "" {
		if err := o.admit(ctx, actionPrompt, promptResource(p.Name)); err != nil {
			return nil, err
		}
	}
	if p.Tool != "" {
		return o.promptByTool(ctx, req, p, args)
	}
	out := &mcp.GetPromptResult{Description: p.Text}
	for i := range p.Messages {
		m := &p.Messages[i]
		content, err := o.content(ctx, req, m, args)
		if err != nil {
			return nil, err
		}
		out.Messages = append(out.Messages, &mcp.PromptMessage{Role: mcp.Role(m.Role), Content: content})
	}
	return out, nil
}

// admit asks governance, and tells the client what it says.
func (o *served) admit(ctx context.Context, action string, resource kernel.Resource) error {
	err := o.host.Admit(ctx, o.principal, action, resource)
	var e *kernel.Error
	if errors.As(err, &e) {
		return invalid(e)
	}
	return err
}

func promptArguments(given map[string]string, p *pipeline.MCPPrompt) (map[string]any, error) {
	args := map[string]any{}
	for _, a := range p.Arguments {
		text, ok := given[a.Name]
		switch {
		case !ok && a.Required:
			return nil, invalid(&kernel.Error{Code: kernel.CodeArguments, What: "prompt " + kernel.Quote(p.Name) + " needs the argument " + kernel.Quote(a.Name), Fix: "pass it"})
		case len(text) > maxArgument:
			return nil, invalid(&kernel.Error{Code: kernel.CodeLimit, What: "prompt " + kernel.Quote(p.Name) + ": the argument " + kernel.Quote(a.Name) + " is too long", Why: "the limit is 64 KiB", Fix: "pass a shorter one"})
		}
		if ok || p.Tool == "" {
			args[a.Name] = text
		}
	}
	for name := range given {
		if !slices.ContainsFunc(p.Arguments, func(a pipeline.MCPArgument) bool { return a.Name == name }) {
			return nil, invalid(&kernel.Error{Code: kernel.CodeArguments, What: "prompt " + kernel.Quote(p.Name) + " has no argument " + kernel.Quote(name), Fix: "see prompts/list"})
		}
	}
	return args, nil
}

// content is a message's block.
func (o *served) content(ctx context.Context, req *mcp.GetPromptRequest, m *pipeline.MCPMessage, args map[string]any) (mcp.Content, error) {
	scope := &pipeline.Scope{Given: args}
	switch {
	case m.Text != nil:
		said, err := m.Text.Render(scope)
		return &mcp.TextContent{Text: said}, err
	case m.Resource != nil:
		uri, err := m.Resource.Render(scope)
		if err != nil {
			return nil, err
		}
		read, err := o.document(ctx, &mcp.ReadResourceRequest{Session: req.Session, Params: &mcp.ReadResourceParams{Meta: req.Params.Meta, URI: uri}, Extra: req.Extra})
		switch {
		case err != nil:
			return nil, err
		case len(read.Contents) != 1:
			return nil, invalid(&kernel.Error{Code: kernel.CodeFailed, What: "the resource " + kernel.Quote(uri) + " cannot stand in a prompt", Why: "it is not one document", Fix: "name another"})
		}
		return &mcp.EmbeddedResource{Resource: read.Contents[0]}, nil
	}
	text, mimeType, err := readFile(m.File, "")
	if err != nil {
		return nil, err
	}
	switch kind, _, _ := strings.Cut(mimeType, "/"); kind {
	case "image":
		return &mcp.ImageContent{Data: text, MIMEType: mimeType}, nil
	case "audio":
		return &mcp.AudioContent{Data: text, MIMEType: mimeType}, nil
	}
	return &mcp.EmbeddedResource{Resource: contentsOf("file:///"+filepath.Base(m.File), mimeType, text)}, nil
}

// readFile reads a file of the operator's, and tells its type by its name where none is given.
func readFile(file, mimeType string) ([]byte, string, error) {
	unreadable := func(why string) error {
		return invalid(&kernel.Error{Code: kernel.CodeUnavailable, What: "the document cannot be read", Why: why, Fix: "ask whoever runs this server to look at spec.mcp of its configuration"})
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, "", unreadable("its file is not there, or not to be read") // its place is not the client's concern
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil || !info.Mode().IsRegular():
		return nil, "", unreadable("it is no file")
	case info.Size() > maxFile:
		return nil, "", unreadable("it is larger than 3 MiB")
	}
	var b bytes.Buffer
	if _, err := b.ReadFrom(&limited{f, maxFile}); err != nil {
		return nil, "", unreadable("it cannot be read to its end")
	}
	if mimeType == "" {
		mimeType = typeOf(file, b.Bytes())
	}
	return b.Bytes(), mimeType, nil
}

// limited reads no more than n bytes, and fails where there are more.
type limited struct {
	f *os.File
	n int
}

func (l *limited) Read(p []byte) (int, error) {
	n, err := l.f.Read(p)
	if l.n -= n; l.n < 0 {
		return 0, errors.New("it grows")
	}
	return n, err
}

var knownTypes = map[string]string{".md": "text/markdown", ".txt": "text/plain", ".yaml": "application/yaml", ".yml": "application/yaml", ".json": typeJSON, ".csv": "text/csv", ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif", ".webp": "image/webp", ".svg": "image/svg+xml", ".wav": "audio/wav", ".mp3": "audio/mpeg", ".pdf": "application/pdf", ".html": "text/html"}

func typeOf(file string, text []byte) string {
	ending := strings.ToLower(filepath.Ext(file))
	if known := knownTypes[ending]; known != "" { // the same on every machine
		return known
	}
	if known := mime.TypeByExtension(ending); known != "" {
		return known
	}
	if utf8.Valid(text) {
		return "text/plain"
	}
	return "application/octet-stream"
}

// contentsOf is a document as text where it is one, and else as bytes.
func contentsOf(uri, mimeType string, text []byte) *mcp.ResourceContents {
	binary := strings.HasPrefix(mimeType, "image/") && mimeType != "image/svg+xml" || strings.HasPrefix(mimeType, "audio/") || !utf8.Valid(text)
	if binary {
		return &mcp.ResourceContents{URI: uri, MIMEType: mimeType, Blob: text}
	}
	return &mcp.ResourceContents{URI: uri, MIMEType: mimeType, Text: string(text)}
}

// made is what a tool has made, or what the client is asked first.
func (o *served) made(ctx context.Context, req *mcp.CallToolRequest, id string, args map[string]any) (*mcp.CallToolResult, []byte, error) {
	o.mu.Lock()
	one := byID(o.offers, id)
	o.mu.Unlock()
	if one == nil {
		return nil, nil, invalid(&kernel.Error{Code: kernel.CodeUnavailable, What: "tool " + kernel.Quote(id) + ", which makes it, is not offered", Fix: "ask whoever runs this server: hexdag mcp tools says why"})
	}
	text, err := kernel.EncodeJSON(args)
	if err != nil {
		return nil, nil, err
	}
	req.Params.Name, req.Params.Arguments = one.tool.Name, text
	result, err := o.call(ctx, req, one)
	if err != nil || len(result.InputRequests) > 0 {
		return result, nil, err
	}
	said, structured := "", []byte(nil)
	if raw, ok := result.StructuredContent.(json.RawMessage); ok {
		structured = raw
	}
	for _, c := range result.Content {
		if block, ok := c.(*mcp.TextContent); ok {
			said += block.Text
		}
	}
	if result.IsError {
		return nil, nil, &jsonrpc.Error{Code: jsonrpc.CodeInternalError, Message: said}
	}
	if structured == nil {
		structured, err = kernel.EncodeJSON(said)
	}
	return result, structured, err
}

// promptByTool has a tool make a prompt: {messages: [...]} in MCP's own form, or a text, which is one message.
func (o *served) promptByTool(ctx context.Context, req *mcp.GetPromptRequest, p *pipeline.MCPPrompt, args map[string]any) (*mcp.GetPromptResult, error) {
	result, text, err := o.made(ctx, &mcp.CallToolRequest{Session: req.Session, Extra: req.Extra, Params: &mcp.CallToolParamsRaw{Meta: req.Params.Meta, InputResponses: req.Params.InputResponses, RequestState: req.Params.RequestState}}, p.Tool, args)
	switch {
	case err != nil:
		return nil, err
	case text == nil:
		return &mcp.GetPromptResult{Meta: result.Meta, InputRequests: result.InputRequests, RequestState: result.RequestState}, nil
	}
	out := &mcp.GetPromptResult{Description: p.Text}
	var said string
	if json.Unmarshal(text, &said) == nil {
		out.Messages = []*mcp.PromptMessage{{Role: "user", Content: &mcp.TextContent{Text: said}}}
	} else if err := json.Unmarshal(text, out); err != nil || len(out.Messages) == 0 {
		return nil, malformed(p.Tool, `{"messages": [{"role": "user", "content": {"type": "text", "text": "..."}}]}`)
	}
	out.Meta, out.InputRequests, out.RequestState = result.Meta, nil, ""
	return out, nil
}

func malformed(tool, form string) error {
	return &jsonrpc.Error{Code: jsonrpc.CodeInternalError, Message: "tool " + kernel.Quote(tool) + " has answered what is not of this form: " + form + ", or a text"}
}

// complete proposes values of an argument of a prompt, or of a variable of a resource's URI.
func (o *served) complete(_ context.Context, req *mcp.CompleteRequest) (*mcp.CompleteResult, error) {
	all, err := o.proposals(req.Params.Ref, req.Params.Argument.Name)
	if err != nil {
		return nil, err
	}
	values := []string{}
	for _, v := range all {
		if strings.HasPrefix(strings.ToLower(v), strings.ToLower(req.Params.Argument.Value)) {
			values = append(values, v)
		}
	}
	out := &mcp.CompleteResult{Completion: mcp.CompletionResultDetails{Values: values, Total: len(values)}}
	if len(values) > maxProposed {
		out.Completion.Values, out.Completion.HasMore = values[:maxProposed], true
	}
	return out, nil
}

func (o *served) proposals(ref *mcp.CompleteReference, argument string) ([]string, error) {
	unknown := func(what string) error {
		return invalid(&kernel.Error{Code: kernel.CodeArguments, What: "there is no " + what, Fix: "name one that is listed"})
	}
	var arguments []pipeline.MCPArgument
	switch ref.Type {
	case "ref/prompt":
		prompts := o.host.Config().MCP.Prompts
		i := slices.IndexFunc(prompts, func(p pipeline.MCPPrompt) bool { return p.Name == ref.Name && o.hasPrompt(p.Name) })
		if i < 0 {
			return nil, unknown("prompt " + kernel.Quote(ref.Name))
		}
		arguments = prompts[i].Arguments
	case "ref/resource":
		if strings.HasPrefix(ref.URI, resourceBase) && argument == "id" {
			return o.runs.ids(o.principal), nil
		}
		documents := o.host.Config().MCP.Resources
		i := slices.IndexFunc(documents, func(d pipeline.MCPResource) bool { return d.URI == ref.URI && o.hasDocument(d.URI) })
		if i < 0 {
			return nil, unknown("resource " + kernel.Quote(ref.URI))
		}
		arguments = documents[i].Variables
		if slices.Contains(pipeline.URIVariables(ref.URI), argument) && !slices.ContainsFunc(arguments, func(a pipeline.MCPArgument) bool { return a.Name == argument }) {
			return nil, nil // of which nothing is said
		}
	default:
		return nil, unknown("reference of type " + kernel.Quote(ref.Type))
	}
	i := slices.IndexFunc(arguments, func(a pipeline.MCPArgument) bool { return a.Name == argument })
	if i < 0 {
		return nil, unknown("argument " + kernel.Quote(argument))
	}
	return arguments[i].Values, nil
}

func (o *served) hasPrompt(name string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.prompts[name]
}
