package llm

import (
	"fmt"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/schema"
)

// maxParsedBytes bounds an answer that is held to a schema.
const maxParsedBytes = 1 << 20

// compileSchema checks a request's schema.
func compileSchema(doc map[string]any) (*schema.Schema, error) {
	s, err := schema.Compile(doc)
	if err != nil {
		return nil, argument("schema: %v", err)
	}
	return s, nil
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
