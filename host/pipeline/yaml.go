// Package pipeline turns hexDAG's YAML into a checked graph. Nothing of what a
// file says runs here: not at parsing, not at validation.
package pipeline

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/hexdag/hexdag/host/kernel"
)

// Bounds of a file, so that none makes the host work without end.
const (
	maxFile   = 1 << 20 // bytes
	maxValues = 100_000 // YAML nodes, after aliases are resolved
	maxNest   = 64
)

// value is a YAML value that knows where it stands.
type value struct {
	file         string
	line, column int
	v            any // nil, bool, json.Number, string, []*value or *mapping
}

// mapping keeps its members' order and the places of their names.
type mapping struct {
	names   []string
	members map[string]*value
	keys    map[string]*value // the names, for their places
}

func (v *value) where() kernel.Where {
	return kernel.Where{File: v.file, Line: v.line, Column: v.column}
}

func (v *value) errorf(code kernel.Code, fix, format string, args ...any) *kernel.Error {
	return &kernel.Error{Code: code, What: fmt.Sprintf(format, args...), Where: v.where(), Fix: fix}
}

// plain returns the value without its places.
func (v *value) plain() kernel.Value {
	switch t := v.v.(type) {
	case []*value:
		list := make([]any, len(t))
		for i, item := range t {
			list[i] = item.plain()
		}
		return list
	case *mapping:
		m := make(map[string]any, len(t.members))
		for name, item := range t.members {
			m[name] = item.plain()
		}
		return m
	}
	return v.v
}

// typeName names the value's type for an error.
func (v *value) typeName() string {
	switch v.v.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case json.Number:
		return "a number"
	case string:
		return "a string"
	case []*value:
		return "a list"
	}
	return "a mapping"
}

// readFile reads the documents of a YAML file.
func readFile(file string) ([]*value, error) {
	info, err := os.Stat(file)
	if err == nil && info.Size() > maxFile {
		return nil, &kernel.Error{Code: kernel.CodeSyntax, What: "the file is too large", Where: kernel.Where{File: file}, Why: fmt.Sprintf("it has %d bytes, the limit is %d", info.Size(), maxFile), Fix: "split it"}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, &kernel.Error{Code: kernel.CodeSyntax, What: "the file cannot be read", Where: kernel.Where{File: file}, Why: err.Error(), Fix: "correct its path", Err: err}
	}
	return parse(file, text)
}

func parse(file string, text []byte) ([]*value, error) {
	tree, err := parser.ParseBytes(text, 0)
	if err != nil {
		return nil, syntaxError(file, err)
	}
	r := reader{file: file, anchors: map[string]*value{}}
	var docs []*value
	for _, d := range tree.Docs {
		if d.Body == nil {
			continue
		}
		doc, err := r.read(d.Body, 0)
		if err != nil {
			return nil, err
		}
		docs = append(docs, doc)
	}
	return docs, nil
}

func syntaxError(file string, err error) error {
	e := &kernel.Error{Code: kernel.CodeSyntax, What: "this is not valid YAML", Where: kernel.Where{File: file}, Fix: "correct the line; indentation is by spaces", Err: err}
	var at yaml.Error
	if errors.As(err, &at) {
		e.Why = kernel.Quote(at.GetMessage())
		if token := at.GetToken(); token != nil && token.Position != nil {
			e.Where.Line, e.Where.Column = token.Position.Line, token.Position.Column
		}
		return e
	}
	e.Why = kernel.Quote(err.Error())
	return e
}

// reader turns the parser's tree into values and resolves anchors.
type reader struct {
	file    string
	anchors map[string]*value
	count   int
}

func (r *reader) read(n ast.Node, depth int) (*value, error) {
	v := &value{file: r.file}
	if token := n.GetToken(); token != nil && token.Position != nil {
		v.line, v.column = token.Position.Line, token.Position.Column
	}
	if depth > maxNest {
		return nil, v.errorf(kernel.CodeSyntax, "flatten it", "the file nests deeper than %d", maxNest)
	}
	if r.count++; r.count > maxValues {
		return nil, v.errorf(kernel.CodeSyntax, "split the file", "the file holds more than %d values", maxValues)
	}
	var err error
	switch n := n.(type) {
	case *ast.NullNode:
	case *ast.BoolNode:
		v.v = n.Value
	case *ast.IntegerNode:
		v.v = json.Number(fmt.Sprint(n.Value))
	case *ast.FloatNode:
		v.v = json.Number(strconv.FormatFloat(n.Value, 'g', -1, 64))
	case *ast.StringNode:
		v.v = n.Value
	case *ast.LiteralNode:
		v.v = n.Value.Value
	case *ast.InfinityNode, *ast.NanNode:
		return nil, v.errorf(kernel.CodeSyntax, "write a finite number, or a string", "JSON has no such number")
	case *ast.SequenceNode:
		v.v, err = r.list(n, depth)
	case *ast.MappingNode:
		v.v, err = r.mapping(n.Values, depth)
	case *ast.MappingValueNode:
		v.v, err = r.mapping([]*ast.MappingValueNode{n}, depth)
		v.line, v.column = position(n.Key)
	case *ast.AnchorNode:
		anchored, aerr := r.read(n.Value, depth+1)
		if aerr == nil {
			r.anchors[n.Name.String()] = anchored
		}
		return anchored, aerr
	case *ast.AliasNode:
		return r.alias(n, v)
	case *ast.TagNode:
		return nil, v.errorf(kernel.CodePipeline, "give a plain value; a node's own code is a module: fn: module.tool", "the tag %s is not taken: nothing in a file runs while it is read", kernel.Quote(n.Start.Value))
	default:
		return nil, v.errorf(kernel.CodeSyntax, "", "%s is not taken here", kernel.Quote(n.Type().String()))
	}
	return v, err
}

func position(n ast.Node) (line, column int) {
	if token := n.GetToken(); token != nil && token.Position != nil {
		return token.Position.Line, token.Position.Column
	}
	return 0, 0
}

// alias answers the anchored value, charged anew: a few aliases of aliases make
// a billion values.
func (r *reader) alias(n *ast.AliasNode, at *value) (*value, error) {
	target, ok := r.anchors[n.Value.String()]
	if !ok {
		return nil, at.errorf(kernel.CodeSyntax, "define it before its use", "no anchor %s", kernel.Quote(n.Value.String()))
	}
	if r.count += size(target); r.count > maxValues {
		return nil, at.errorf(kernel.CodeSyntax, "use fewer aliases", "the file holds more than %d values", maxValues)
	}
	return target, nil
}

func size(v *value) int {
	n := 1
	switch t := v.v.(type) {
	case []*value:
		for _, item := range t {
			n += size(item)
		}
	case *mapping:
		for _, item := range t.members {
			n += size(item)
		}
	}
	return n
}

func (r *reader) list(n *ast.SequenceNode, depth int) ([]*value, error) {
	list := make([]*value, 0, len(n.Values))
	for _, item := range n.Values {
		v, err := r.read(item, depth+1)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}

func (r *reader) mapping(entries []*ast.MappingValueNode, depth int) (*mapping, error) {
	m := &mapping{members: map[string]*value{}, keys: map[string]*value{}}
	for _, entry := range entries {
		item, err := r.read(entry.Value, depth+1)
		if err != nil {
			return nil, err
		}
		if _, merge := entry.Key.(*ast.MergeKeyNode); merge {
			m.merge(item)
			continue
		}
		key := &value{file: r.file}
		key.line, key.column = position(entry.Key)
		name := keyText(entry.Key)
		if _, twice := m.keys[name]; twice {
			return nil, key.errorf(kernel.CodeSyntax, "remove one of them", "%s occurs twice", kernel.Quote(name))
		}
		m.put(name, key, item)
	}
	return m, nil
}

func keyText(n ast.MapKeyNode) string {
	switch k := n.(type) {
	case *ast.StringNode:
		return k.Value
	case *ast.MappingKeyNode:
		if s, ok := k.Value.(*ast.StringNode); ok {
			return s.Value
		}
	}
	return strings.TrimSpace(n.String())
}

// merge takes over members of another mapping that are not there yet.
func (m *mapping) merge(other *value) {
	source, ok := other.v.(*mapping)
	if !ok {
		return
	}
	for _, name := range source.names {
		if _, there := m.members[name]; !there {
			m.put(name, nil, source.members[name])
		}
	}
}

func (m *mapping) put(name string, key, item *value) {
	if !slices.Contains(m.names, name) {
		m.names = append(m.names, name)
	}
	m.members[name] = item
	if key != nil {
		m.keys[name] = key
	}
}
