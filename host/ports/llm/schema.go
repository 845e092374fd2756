package llm

import (
	"fmt"
	"sync"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/schema"
)

// maxParsedBytes bounds an answer that is held to a schema.
const maxParsedBytes = 1 << 20

// The bounds of what is kept of compiled schemas.
const (
	maxSchemas    = 256
	maxSchemaText = 16 << 10 // bytes of one
)

// schemas are those that were compiled before, by their text: an agent asks with the same at each step, and
// compiling one costs as much as all else here. The zero value is ready.
type schemas struct {
	mu    sync.Mutex
	known map[string]*schema.Schema
}

func (s *schemas) compile(doc map[string]any) (*schema.Schema, error) {
	text, err := kernel.EncodeJSON(doc)
	if err != nil || len(text) > maxSchemaText {
		return schema.Compile(doc)
	}
	s.mu.Lock()
	known := s.known[string(text)]
	s.mu.Unlock()
	if known != nil {
		return known, nil
	}
	compiled, err := schema.Compile(doc)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil || len(s.known) >= maxSchemas {
		s.known = map[string]*schema.Schema{}
	}
	s.known[string(text)] = compiled
	return compiled, nil
}

// parseAnswer reads content as one JSON value and holds it to the schema.
func parseAnswer(s *schema.Schema, content string) (kernel.Value, error) {
	fail := func(what string, err error) error {
		return &kernel.Error{
			Code: kernel.CodeFailed,
			What: what + ": " + kernel.Quote(content),
			Why:  kernel.Quote(err.Error()),
		}
	}
	if len(content) > maxParsedBytes {
		return nil, fail("model answered no valid JSON", fmt.Errorf("%d bytes are more than the %d that are read", len(content), maxParsedBytes))
	}
	value, err := kernel.DecodeJSON([]byte(content))
	if err != nil {
		return nil, fail("model answered no valid JSON", err)
	}
	if err := s.Validate(value); err != nil {
		return nil, fail("model answered JSON that breaks the schema", err)
	}
	return value, nil
}
