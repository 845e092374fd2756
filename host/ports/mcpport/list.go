package mcpport

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/schema"
	"github.com/hexdag/hexdag/host/toolpins"
)

// tool is a tool of a server.
type tool struct {
	definition toolpins.Definition
	input      *schema.Schema // nil where it cannot be held to here: the server holds it to that
	output     *schema.Schema // of its structured content; nil where it tells none, or one that cannot be held to here
	admitted   bool
}

// toolsOf returns the tools of the server that may be called, and those that may not because they have changed.
func (s *server) toolsOf(ctx context.Context, session *mcp.ClientSession) (map[string]*tool, error) {
	s.mu.Lock()
	known, version, unfit, fresh := s.tools, s.version, s.unfit, time.Since(s.listed) < listEvery
	s.mu.Unlock()
	switch {
	case unfit != nil && fresh:
		return nil, unfit
	case known != nil && fresh && s.pins.Version() == version:
		return known, nil
	}
	definitions, err := s.list(ctx, session)
	if kernel.CodeOf(err) == kernel.CodeLimit {
		s.mu.Lock()
		if s.session == session {
			s.unfit, s.listed = err, time.Now()
		}
		s.mu.Unlock()
	}
	if err != nil {
		return nil, err
	}
	byID := make(map[string]*toolpins.Definition, len(definitions))
	for name, d := range definitions {
		byID[s.id(name)] = d
	}
	admitted, err := s.pins.Admit(ctx, byID)
	if err != nil {
		return nil, err
	}
	found := make(map[string]*tool, len(definitions))
	for name, d := range definitions {
		t := &tool{definition: *d, input: compiled(d.InputSchema), output: compiled(d.OutputSchema), admitted: admitted[s.id(name)]}
		if known[name] == nil && len(d.OutputSchema) > 0 && t.output == nil {
			s.log.Warn("what a tool of an MCP server answers is not held to its output schema, which cannot be used here", "server", s.name, "tool", kernel.Quote(name))
		}
		found[name] = t
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.session == session {
		s.tools, s.version, s.listed, s.unfit = found, s.pins.Version(), time.Now(), nil
	}
	return found, nil
}

// list asks the server for its tools, page by page: what the operator lets be called, by name. All that it tells counts, whether or not
// that is of use.
func (s *server) list(ctx context.Context, session *mcp.ClientSession) (map[string]*toolpins.Definition, error) {
	found := map[string]*toolpins.Definition{}
	params := &mcp.ListToolsParams{}
	tools, size := 0, 0
	for page := 1; ; page++ {
		ctx, cut := noteCut(ctx)
		result, err := session.ListTools(ctx, params)
		if err != nil {
			return nil, s.said(ctx, session, cut.Load(), err)
		}
		text, err := json.Marshal(result)
		if err != nil {
			return nil, s.unusable(err)
		}
		tools, size = tools+len(result.Tools), size+len(text)
		if tools > maxTools || size > maxDefinitions {
			return nil, s.tellsTooMuch(page)
		}
		for _, t := range result.Tools {
			d, err := definitionOf(t)
			if err != nil {
				return nil, s.unusable(err)
			}
			if found[d.Name] == nil && s.allows(d.Name) { // of two of one name the first counts
				found[d.Name] = d
			}
		}
		switch next := result.NextCursor; {
		case next == "":
			return found, nil
		case page == maxPages || next == params.Cursor: // the same page for ever
			return nil, s.tellsTooMuch(page)
		default:
			params = &mcp.ListToolsParams{Cursor: next}
		}
	}
}

func (s *server) unusable(err error) error {
	return &kernel.Error{Code: kernel.CodeFailed, What: s.where() + " tells of a tool that cannot be used", Why: kernel.Quote(err.Error()), Fix: "see the server", Err: err}
}

func (s *server) tellsTooMuch(pages int) error {
	return &kernel.Error{Code: kernel.CodeLimit, What: s.where() + " tells of too many tools", Why: fmt.Sprintf("its list has not ended with page %d; the limits are %d tools, %d pages, and %d bytes of what they tell of themselves", pages, maxTools, maxPages, maxDefinitions),
		Fix: fmt.Sprintf("have the server offer fewer, or mend its list; it is asked again in %s", listEvery)}
}

// id is how a tool is pinned.
func (s *server) id(tool string) string { return "mcp:" + s.name + "." + tool }

func definitionOf(t *mcp.Tool) (*toolpins.Definition, error) {
	d := &toolpins.Definition{Name: t.Name, Description: t.Description}
	for _, part := range []struct {
		from any
		to   *json.RawMessage
	}{{t.InputSchema, &d.InputSchema}, {t.OutputSchema, &d.OutputSchema}, {t.Annotations, &d.Annotations}} {
		if part.from == nil {
			continue
		}
		text, err := json.Marshal(part.from)
		if err != nil {
			return nil, err
		}
		*part.to = text
	}
	if t.Name == "" || len(t.Name) > 128 {
		return nil, fmt.Errorf("its name has %d bytes", len(t.Name))
	}
	_, err := d.Hash() // there is none of what nests too deeply
	return d, err
}

// compiled compiles a schema, if it is one of those that are cheap to apply.
func compiled(text []byte) *schema.Schema {
	v, err := kernel.DecodeJSON(text)
	doc, ok := v.(map[string]any)
	if err != nil || !ok {
		return nil
	}
	s, err := schema.Compile(doc)
	if err != nil {
		return nil
	}
	return s
}
