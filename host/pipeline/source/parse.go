package source

import (
	"encoding/json"
	"errors"
	"fmt"
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

// parse reads the documents of a text. count is how many values were read so far,
// over all of a load.
func parse(file string, text []byte, count *int) ([]*Value, error) {
	if len(text) > maxFile {
		return nil, &kernel.Error{Code: kernel.CodeSyntax, What: "the file is too large", Where: kernel.Where{File: file}, Why: fmt.Sprintf("it has more than %d bytes", maxFile), Fix: "split it"}
	}
	tree, err := parser.ParseBytes(text, 0)
	if err != nil {
		return nil, syntaxError(file, err)
	}
	r := reader{file: file, anchors: map[string]*Value{}, count: count}
	var docs []*Value
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
	anchors map[string]*Value
	count   *int
}

func (r *reader) read(n ast.Node, depth int) (*Value, error) {
	v := &Value{File: r.file}
	if token := n.GetToken(); token != nil && token.Position != nil {
		v.Line, v.Column = token.Position.Line, token.Position.Column
	}
	if depth > maxNest {
		return nil, v.Errorf(kernel.CodeSyntax, "flatten it", "the file nests deeper than %d", maxNest)
	}
	if *r.count++; *r.count > maxValues {
		return nil, v.Errorf(kernel.CodeSyntax, "split the file", "the file holds more than %d values", maxValues)
	}
	var err error
	switch n := n.(type) {
	case *ast.NullNode:
	case *ast.BoolNode:
		v.V = n.Value
	case *ast.IntegerNode:
		v.V = json.Number(fmt.Sprint(n.Value))
	case *ast.FloatNode:
		v.V = float(n.Value)
	case *ast.StringNode:
		v.V = n.Value
	case *ast.LiteralNode:
		v.V = n.Value.Value
	case *ast.InfinityNode, *ast.NanNode:
		return nil, v.Errorf(kernel.CodeSyntax, "write a finite number, or a string", "JSON has no such number")
	case *ast.SequenceNode:
		v.V, err = r.list(n, depth)
	case *ast.MappingNode:
		v.V, err = r.mapping(n.Values, depth)
	case *ast.MappingValueNode:
		v.V, err = r.mapping([]*ast.MappingValueNode{n}, depth)
		v.Line, v.Column = position(n.Key)
	case *ast.AnchorNode:
		anchored, aerr := r.read(n.Value, depth+1)
		if aerr == nil {
			r.anchors[n.Name.String()] = anchored
		}
		return anchored, aerr
	case *ast.AliasNode:
		return r.alias(n, v)
	case *ast.TagNode:
		if n.Start.Value == includeTag { // hexDAG writes a member of that name; the tag says the same
			inner, err := r.read(n.Value, depth+1)
			if err != nil {
				return nil, err
			}
			m := NewMapping()
			m.Put(includeTag, nil, inner)
			v.V = m
			return v, nil
		}
		return nil, v.Errorf(kernel.CodePipeline, "give a plain value; a node's own code is a module: fn: module.tool", "the tag %s is not taken: nothing in a file runs while it is read", kernel.Quote(n.Start.Value))
	default:
		return nil, v.Errorf(kernel.CodeSyntax, "", "%s is not taken here", kernel.Quote(n.Type().String()))
	}
	return v, err
}

// float keeps a number with a fraction apart from an integer, as Python does.
func float(f float64) json.Number {
	text := strconv.FormatFloat(f, 'g', -1, 64)
	if !strings.ContainsAny(text, ".e") {
		text += ".0"
	}
	return json.Number(text)
}

func position(n ast.Node) (line, column int) {
	if token := n.GetToken(); token != nil && token.Position != nil {
		return token.Position.Line, token.Position.Column
	}
	return 0, 0
}

// alias answers the anchored value, charged anew: a few aliases of aliases make
// a billion values.
func (r *reader) alias(n *ast.AliasNode, at *Value) (*Value, error) {
	target, ok := r.anchors[n.Value.String()]
	if !ok {
		return nil, at.Errorf(kernel.CodeSyntax, "define it before its use", "no anchor %s", kernel.Quote(n.Value.String()))
	}
	if *r.count += size(target); *r.count > maxValues {
		return nil, at.Errorf(kernel.CodeSyntax, "use fewer aliases", "the file holds more than %d values", maxValues)
	}
	return target, nil
}

func size(v *Value) int {
	n := 1
	switch t := v.V.(type) {
	case []*Value:
		for _, item := range t {
			n += size(item)
		}
	case *Mapping:
		for _, item := range t.Members {
			n += size(item)
		}
	}
	return n
}

func (r *reader) list(n *ast.SequenceNode, depth int) ([]*Value, error) {
	list := make([]*Value, 0, len(n.Values))
	for _, item := range n.Values {
		v, err := r.read(item, depth+1)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}

func (r *reader) mapping(entries []*ast.MappingValueNode, depth int) (*Mapping, error) {
	m := NewMapping()
	for _, entry := range entries {
		item, err := r.read(entry.Value, depth+1)
		if err != nil {
			return nil, err
		}
		if _, merge := entry.Key.(*ast.MergeKeyNode); merge {
			m.Merge(item)
			continue
		}
		key := &Value{File: r.file}
		key.Line, key.Column = position(entry.Key)
		name := keyText(entry.Key)
		if _, twice := m.Keys[name]; twice {
			return nil, key.Errorf(kernel.CodeSyntax, "remove one of them", "%s occurs twice", kernel.Quote(name))
		}
		m.Put(name, key, item)
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
