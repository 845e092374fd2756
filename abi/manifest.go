package abi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// MaxManifestSize is the largest manifest a host reads, in bytes of JSON.
const MaxManifestSize = 64 << 10

var (
	// A name is a part of paths and of log lines, so it holds neither a slash nor "..".
	nameSyntax    = regexp.MustCompile(`^[a-z][a-z0-9]*([._-][a-z0-9]+)*$`)
	versionSyntax = regexp.MustCompile(`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?$`)
	toolSyntax    = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]*$`)
	opSyntax      = regexp.MustCompile(`^[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*$`)
	guardSyntax   = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*$`)
)

const (
	maxName      = 64  // bytes of the names of modules, tools and arguments, and of versions
	maxOperation = 128 // bytes of an operation's name
	maxGuards    = 8   // of one operation
)

// The members that a manifest and its tools have, for an exact comparison:
// encoding/json would take "NAME" for name.
var (
	manifestMembers  = []string{"name", "version", "description", "tools", "operations", "capabilities", "config_schema"}
	toolMembers      = []string{"name", "description", "input_schema", "output_schema"}
	operationMembers = []string{"name", "description", "guards", "input_schema", "output_schema"}
)

// EmbedManifest returns a copy of a core module that carries the manifest. It
// refuses a manifest that is not valid and a module that has one already.
func EmbedManifest(wasm []byte, m *Manifest) ([]byte, error) {
	text, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	if _, err := ParseManifest(text); err != nil {
		return nil, err
	}
	switch there, err := findManifest(wasm); {
	case err != nil:
		return nil, err
	case there != nil:
		return nil, errors.New("the module carries a manifest already")
	}
	return AppendCustomSection(wasm, ManifestSection, text)
}

// ReadManifest returns the manifest that a core module carries, nil if it carries none.
func ReadManifest(wasm []byte) (*Manifest, error) {
	text, err := findManifest(wasm)
	if err != nil || text == nil {
		return nil, err
	}
	return ParseManifest(text)
}

// findManifest looks at every section, so that a module with two manifests, of
// which readers might show one and obey the other, is refused.
func findManifest(wasm []byte) (text []byte, err error) {
	for section, err := range CustomSections(wasm) {
		if err != nil {
			return nil, err
		}
		if section.Name != ManifestSection {
			continue
		}
		if text != nil {
			return nil, fmt.Errorf("the module has more than one section %s", ManifestSection)
		}
		text = section.Payload // not nil, even if it is empty
	}
	return text, nil
}

// ParseManifest reads a manifest strictly: no unknown member, none twice, every
// name of its syntax.
func ParseManifest(text []byte) (*Manifest, error) {
	if len(text) > MaxManifestSize {
		return nil, fmt.Errorf("manifest: %d bytes are more than %d", len(text), MaxManifestSize)
	}
	m := new(Manifest)
	if err := decodeStrictly(text, m); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	return m, nil
}

func decodeStrictly(text []byte, m *Manifest) error {
	if err := json.Unmarshal(text, m); err != nil {
		return err
	}
	if err := refuseDuplicates(json.NewDecoder(bytes.NewReader(text))); err != nil {
		return err
	}
	var members struct {
		Tools      []map[string]json.RawMessage
		Operations []map[string]json.RawMessage
	}
	var top map[string]json.RawMessage
	if err := errors.Join(json.Unmarshal(text, &top), json.Unmarshal(text, &members)); err != nil {
		return err
	}
	if err := refuseUnknown("", top, manifestMembers); err != nil {
		return err
	}
	for i, tool := range members.Tools {
		if err := refuseUnknown(fmt.Sprintf("tools[%d]: ", i), tool, toolMembers); err != nil {
			return err
		}
	}
	for i, op := range members.Operations {
		if err := refuseUnknown(fmt.Sprintf("operations[%d]: ", i), op, operationMembers); err != nil {
			return err
		}
	}
	return nil
}

func refuseUnknown(where string, members map[string]json.RawMessage, known []string) error {
	for name := range members {
		if !slices.Contains(known, name) {
			return fmt.Errorf("%sunknown member %q; known are %s", where, name, strings.Join(known, ", "))
		}
	}
	return nil
}

// refuseDuplicates walks well-formed JSON with an explicit stack: one set of
// names an object, nil for an array.
func refuseDuplicates(d *json.Decoder) error {
	var open []map[string]bool
	isName := false
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch token {
		case json.Delim('{'):
			open = append(open, map[string]bool{})
			isName = true
			continue
		case json.Delim('['):
			open = append(open, nil)
		case json.Delim('}'), json.Delim(']'):
			open = open[:len(open)-1]
		default:
			if isName {
				names, name := open[len(open)-1], token.(string)
				if names[name] {
					return fmt.Errorf("member %q is there twice", name)
				}
				names[name], isName = true, false
				continue
			}
		}
		isName = len(open) > 0 && open[len(open)-1] != nil
	}
}

func (m *Manifest) check() error {
	if len(m.Name) > maxName || !nameSyntax.MatchString(m.Name) {
		return fmt.Errorf("name %q is not lower-case letters and digits with single - _ . between them, at most %d", m.Name, maxName)
	}
	if len(m.Version) > maxName || !versionSyntax.MatchString(m.Version) {
		return fmt.Errorf("version %q is not a semantic version such as 1.0.0", m.Version)
	}
	if err := checkSchema("config_schema", m.ConfigSchema); err != nil {
		return err
	}
	return errors.Join(m.checkTools(), m.checkOperations())
}

func (m *Manifest) checkTools() error {
	seen := make(map[string]bool, len(m.Tools))
	for _, tool := range m.Tools {
		if len(tool.Name) > maxName || !toolSyntax.MatchString(tool.Name) {
			return fmt.Errorf("tool name %q is not letters, digits, _ and -, at most %d, a letter first", tool.Name, maxName)
		}
		if seen[tool.Name] {
			return fmt.Errorf("tool %q is there twice", tool.Name)
		}
		seen[tool.Name] = true
		err := errors.Join(checkSchema("input_schema", tool.InputSchema), checkSchema("output_schema", tool.OutputSchema))
		if err != nil {
			return fmt.Errorf("tool %q: %w", tool.Name, err)
		}
	}
	return nil
}

func (m *Manifest) checkOperations() error {
	seen := make(map[string]bool, len(m.Operations))
	for _, op := range m.Operations {
		if len(op.Name) > maxOperation || !opSyntax.MatchString(op.Name) {
			return fmt.Errorf("operation name %q is not port.method, each lower-case letters, digits and _, a letter first, at most %d", op.Name, maxOperation)
		}
		if seen[op.Name] {
			return fmt.Errorf("operation %q is there twice", op.Name)
		}
		seen[op.Name] = true
		if err := op.check(); err != nil {
			return fmt.Errorf("operation %q: %w", op.Name, err)
		}
	}
	return nil
}

func (o *Operation) check() error {
	if len(o.Guards) > maxGuards {
		return fmt.Errorf("%d guards are more than %d", len(o.Guards), maxGuards)
	}
	for i, name := range o.Guards {
		if len(name) > maxName || !guardSyntax.MatchString(name) || slices.Contains(o.Guards[:i], name) {
			return fmt.Errorf("the guard %q is not the name of an argument, at most %d, or is there twice", name, maxName)
		}
	}
	return errors.Join(checkSchema("input_schema", o.InputSchema), checkSchema("output_schema", o.OutputSchema))
}

// checkSchema makes sure of an object; whether it is a JSON Schema is for who uses it.
func checkSchema(name string, text json.RawMessage) error {
	if len(text) > 0 && text[0] != '{' {
		return fmt.Errorf("%s is not an object", name)
	}
	return nil
}
