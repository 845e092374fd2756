package mcpserver

import (
	"context"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/schema"
	"github.com/hexdag/hexdag/host/toolpins"
)

// offer is a tool as it is offered.
type offer struct {
	id     string // module.tool, or pipeline:name
	tool   *mcp.Tool
	hash   string
	asks   []question // of governance, before it is shown
	input  *schema.Schema
	output bool // it has an output schema that clients are told

	module, name string         // of a module's tool
	pipeline     *host.Pipeline // nil: of a module's tool
}

// question is what governance is asked about a tool.
type question struct {
	action   string
	resource kernel.Resource
}

// anObject is the schema of arguments of which nothing is said.
var anObject = json.RawMessage(`{"type":"object"}`)

// collect returns what a principal may see, by name, and what is hidden.
func (o *served) collect(ctx context.Context) (map[string]*offer, []Hidden, error) {
	all, hidden := o.candidates()
	name(all)
	definitions := map[string]*toolpins.Definition{}
	usable := all[:0]
	for _, one := range all {
		if len(one.tool.Name) > maxToolName {
			hidden = append(hidden, Hidden{one.id, "its name is longer than 128 bytes"})
			continue
		}
		d, err := one.definition()
		if err == nil {
			one.hash, err = d.Hash()
		}
		if err != nil {
			hidden = append(hidden, Hidden{one.id, "its schema is no JSON: " + kernel.Quote(err.Error())})
			continue
		}
		definitions[one.id] = d
		usable = append(usable, one)
	}
	admitted, err := o.pins.Admit(ctx, definitions)
	if err != nil {
		return nil, nil, err
	}
	offers := map[string]*offer{}
	for _, one := range usable {
		may, err := o.may(ctx, one)
		switch {
		case err != nil:
			return nil, nil, err
		case !may:
			hidden = append(hidden, Hidden{one.id, "governance does not let " + kernel.Quote(orElse(o.principal, "the configuration's principal")) + " call it"})
		case !admitted[one.id]:
			hidden = append(hidden, Hidden{one.id, "its definition has changed; if you agree: hexdag mcp approve " + one.id})
		default:
			offers[one.tool.Name] = one
		}
	}
	return offers, hidden, nil
}

// may reports whether governance would let the principal call a tool.
func (o *served) may(ctx context.Context, one *offer) (bool, error) {
	for _, q := range one.asks {
		if may, err := o.host.MayCall(ctx, o.principal, q.action, q.resource); err != nil || !may {
			return false, err
		}
	}
	return true, nil
}

// candidates are all tools that there are.
func (o *served) candidates() (all []*offer, hidden []Hidden) {
	for _, m := range o.host.Modules() {
		if !m.Has(abi.ToolCall) {
			continue
		}
		for _, t := range m.Tools() {
			one, why := o.ofModule(m.Name(), t)
			if why != "" {
				hidden = append(hidden, Hidden{one.id, why})
				continue
			}
			all = append(all, one)
		}
	}
	for _, p := range o.opts.Pipelines {
		all = append(all, ofPipeline(p))
	}
	return all, hidden
}

func (o *served) ofModule(module string, t abi.Tool) (one *offer, why string) {
	id := module + "." + t.Name
	one = &offer{id: id, module: module, name: t.Name, asks: []question{
		{"pipeline.run", kernel.Resource{Type: "pipeline", ID: id}}, {id, kernel.Resource{Type: "tool", ID: id}},
	}}
	one.tool = &mcp.Tool{Name: t.Name, Description: strings.ToValidUTF8(t.Description, "\uFFFD"), InputSchema: anObject, Annotations: annotations(o.host.ModuleHints(module))}
	if len(t.InputSchema) > 0 {
		of, compiled := compile(t.InputSchema)
		if compiled == nil || !of {
			return one, "its input_schema is not of an object: add type: object"
		}
		one.tool.InputSchema, one.input = t.InputSchema, compiled
	}
	if len(t.OutputSchema) > 0 {
		if of, _ := compile(t.OutputSchema); of { // of anything else, clients of older versions take no schema
			one.tool.OutputSchema, one.output = t.OutputSchema, true
		}
	}
	return one, ""
}

// compile compiles a schema, and reports whether it says that it is of an object.
func compile(text []byte) (object bool, s *schema.Schema) {
	v, err := kernel.DecodeJSON(text)
	doc, ok := v.(map[string]any)
	if err != nil || !ok {
		return false, nil
	}
	s, err = schema.Compile(doc)
	if err != nil {
		return false, nil
	}
	return doc["type"] == "object", s
}

func ofPipeline(p *host.Pipeline) *offer {
	one := &offer{id: "pipeline:" + p.Name, pipeline: p, asks: []question{{"pipeline.run", kernel.Resource{Type: "pipeline", ID: p.Name}}}}
	one.tool = &mcp.Tool{Name: plain(p.Name), Description: orElse(strings.ToValidUTF8(p.Description, "\uFFFD"), "Runs the pipeline "+kernel.Quote(p.Name)+"."), InputSchema: anObject, Annotations: annotations(p.Hints())}
	if p.Input != nil {
		one.tool.InputSchema = p.Input.JSONSchema()
	}
	if p.OutputType != nil {
		one.tool.OutputSchema, one.output = p.OutputType.JSONSchema(), true
	}
	return one
}

var notPlain = regexp.MustCompile(`[^A-Za-z0-9_.-]+`)

// plain is a name of what names of tools may be made of.
func plain(name string) string {
	return orElse(strings.Trim(notPlain.ReplaceAllString(name, "-"), "-"), "pipeline")
}

// name has of several tools of one name each be called with what it is of, so that none stands for another.
func name(all []*offer) {
	count := map[string]int{}
	for _, one := range all {
		count[one.tool.Name]++
	}
	for _, one := range all {
		if count[one.tool.Name] > 1 {
			one.tool.Name = plain(strings.Replace(one.id, ":", ".", 1))
		}
	}
}

// annotations tells all four hints, as what is left out means the worst.
func annotations(h host.Hints) *mcp.ToolAnnotations {
	return &mcp.ToolAnnotations{ReadOnlyHint: h.ReadOnly, DestructiveHint: &h.Destructive, IdempotentHint: h.Idempotent, OpenWorldHint: &h.OpenWorld}
}

func (one *offer) definition() (*toolpins.Definition, error) {
	d := &toolpins.Definition{Name: one.tool.Name, Description: one.tool.Description}
	var err error
	for _, part := range []struct {
		from any
		to   *json.RawMessage
	}{{one.tool.InputSchema, &d.InputSchema}, {one.tool.OutputSchema, &d.OutputSchema}, {one.tool.Annotations, &d.Annotations}} {
		if part.from != nil && err == nil {
			*part.to, err = json.Marshal(part.from)
		}
	}
	return d, err
}

// pipelineOf returns the pipeline whose runs a tool's calls are.
func (s *Server) pipelineOf(ctx context.Context, one *offer) (*host.Pipeline, error) {
	if one.pipeline != nil {
		return one.pipeline, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.pipelines[one.id]; known != nil {
		return known, nil
	}
	if s.closed {
		return nil, &kernel.Error{Code: kernel.CodeCanceled, What: "the server ends", Fix: "call again when it is back"}
	}
	p, err := s.host.ToolPipeline(ctx, one.module, one.name)
	if err == nil {
		s.pipelines[one.id] = p
	}
	return p, err
}

func sortedNames(offers map[string]*offer) []string { return slices.Sorted(maps.Keys(offers)) }
