package policy

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
)

// maxData bounds the JSON text of the base document: in the instance it takes
// some twenty times its size.
const maxData = 16 << 20

// document is a base document: what policies see as data. It is never changed.
type document struct {
	value map[string]any
	text  []byte // its JSON, with members sorted: of one value there is one text
}

func checkSize(name string, text []byte) error {
	if len(text) <= maxData {
		return nil
	}
	return invalid(name, "the policy's data is too large", fmt.Sprintf("%d bytes of JSON, and the limit is %d", len(text), maxData), "keep what decisions need, or pass it as input")
}

func readDocument(name string, text []byte) (*document, error) {
	v, err := kernel.DecodeJSON(text)
	if err != nil {
		return nil, invalid(name, "the policy's data cannot be read", kernel.Quote(err.Error()), "")
	}
	return newDocument(name, v, len(text))
}

// newDocument returns the document of a value, whose text has about so many bytes.
func newDocument(name string, v kernel.Value, size int) (*document, error) {
	object, ok := v.(map[string]any)
	if !ok {
		return nil, invalid(name, "the policy's data is not a JSON object", "", "")
	}
	if _, taken := object[Materialized]; taken {
		return nil, invalid(name, "the policy's data has a member "+Materialized, "there the host puts what rules of package materialize give", "give it another name")
	}
	text, err := kernel.AppendJSON(make([]byte, 0, size+size/8), object)
	if err != nil {
		return nil, invalid(name, "the policy's data cannot be used", kernel.Quote(err.Error()), "")
	}
	return &document{object, text}, checkSize(name, text)
}

// Patch changes a base document in one place, as an operation of OPA's delta bundles does.
type Patch struct {
	// Op is "upsert", which makes the objects on the way and puts Value there, into an
	// array before an element or, with "-", behind the last; "replace", of what is
	// there; or "remove".
	Op    string       `json:"op"`
	Path  string       `json:"path"` // a JSON pointer
	Value kernel.Value `json:"value,omitempty"`
}

// maxPatches bounds the patches of one change.
const maxPatches = 10_000

// change is what patches come to in the module: the value at a path of objects, which
// is all that OPA's ABI takes.
type change struct {
	path   []string
	value  kernel.Value
	remove bool
}

// patched returns the document with patches applied, in order, and what that changes in
// a module. A change with an empty path is of the whole document.
func (d *document) patched(name string, patches []Patch) (*document, []change, error) {
	if len(patches) == 0 || len(patches) > maxPatches {
		return nil, nil, invalid(name, "the policy's data cannot be patched", fmt.Sprintf("there are %d patches; 1 to %d can be applied at once", len(patches), maxPatches), "")
	}
	var v kernel.Value = d.value
	changes := make([]change, len(patches))
	for i, p := range patches {
		var err error
		if v, changes[i], err = p.apply(v); err != nil {
			return nil, nil, invalid(name, "the policy's data cannot be patched",
				fmt.Sprintf("patch %d, %s %s: %s", i+1, kernel.Quote(p.Op), kernel.Quote(p.Path), kernel.Quote(err.Error())), "correct the patch; none of them was applied")
		}
	}
	next, err := newDocument(name, v, len(d.text))
	return next, changes, err
}

func (p Patch) apply(v kernel.Value) (kernel.Value, change, error) {
	tokens, err := pointer(p.Path)
	if err != nil {
		return nil, change{}, err
	}
	if p.Op == "remove" && len(tokens) == 0 {
		return nil, change{}, errors.New("the whole document cannot be removed")
	}
	value, err := copied(p.Value)
	if err != nil {
		return nil, change{}, err
	}
	next, err := edit(v, tokens, p.Op, value)
	if err != nil {
		return nil, change{}, err
	}
	depth := objects(v, tokens)
	c := change{path: tokens[:depth]}
	if depth == len(tokens) && p.Op == "remove" {
		c.remove = true
	} else {
		c.value = at(next, c.path)
	}
	return next, c, nil
}

// replacesAll reports whether the patch puts another document in place of the whole.
func (p Patch) replacesAll() bool {
	return (p.Path == "" || p.Path == "/") && (p.Op == "replace" || p.Op == "upsert")
}

// copied is kernel.ToValue, faster for what is a Value.
func copied(v any) (kernel.Value, error) {
	text, err := kernel.EncodeJSON(v)
	if err != nil {
		return kernel.ToValue(v)
	}
	return kernel.DecodeJSON(text)
}

func pointer(text string) ([]string, error) {
	if text == "" || text == "/" { // OPA takes "/" for the whole, too
		return nil, nil
	}
	if text[0] != '/' {
		text = "/" + text // OPA's bundles may leave it out
	}
	tokens := strings.Split(text[1:], "/")
	if len(tokens) > kernel.MaxDepth {
		return nil, fmt.Errorf("a path has at most %d steps", kernel.MaxDepth)
	}
	for i, t := range tokens {
		tokens[i] = abi.UnescapePointer(t)
	}
	return tokens, nil
}

// objects returns how many steps of a path lead to members of objects, those that are
// yet to be made among them.
func objects(v kernel.Value, tokens []string) int {
	for i, t := range tokens {
		object, ok := v.(map[string]any)
		if !ok {
			return i
		}
		member, there := object[t]
		if !there {
			return len(tokens)
		}
		v = member
	}
	return len(tokens)
}

func at(v kernel.Value, path []string) kernel.Value {
	for _, t := range path {
		v = v.(map[string]any)[t]
	}
	return v
}

// edit returns v with an operation done at a path. What does not change is shared.
func edit(v kernel.Value, tokens []string, op string, value kernel.Value) (kernel.Value, error) {
	if op != "upsert" && op != "replace" && op != "remove" {
		return nil, errors.New("there are the operations upsert, replace and remove")
	}
	if len(tokens) == 0 {
		return value, nil
	}
	switch v := v.(type) {
	case map[string]any:
		return editMember(v, tokens, op, value)
	case []any:
		return editElement(v, tokens, op, value)
	}
	return nil, fmt.Errorf("%q is below what is neither an object nor an array", tokens[0])
}

func editMember(v map[string]any, tokens []string, op string, value kernel.Value) (kernel.Value, error) {
	member, there := v[tokens[0]]
	if !there && op != "upsert" {
		return nil, fmt.Errorf("there is no %q", tokens[0])
	}
	changed := maps.Clone(v)
	if op == "remove" && len(tokens) == 1 {
		delete(changed, tokens[0])
		return changed, nil
	}
	if !there {
		member = map[string]any{}
	}
	var err error
	changed[tokens[0]], err = edit(member, tokens[1:], op, value)
	return changed, err
}

func editElement(v []any, tokens []string, op string, value kernel.Value) (kernel.Value, error) {
	inserts := op == "upsert" && len(tokens) == 1
	last := len(v) - 1
	if inserts {
		last = len(v)
	}
	i, err := strconv.Atoi(tokens[0])
	if inserts && tokens[0] == "-" {
		i, err = len(v), nil
	}
	if err != nil || i < 0 || i > last || tokens[0] != "-" && strconv.Itoa(i) != tokens[0] {
		return nil, fmt.Errorf("there is no element %q in an array of %d", tokens[0], len(v))
	}
	switch {
	case inserts:
		return slices.Insert(slices.Clone(v), i, value), nil
	case op == "remove" && len(tokens) == 1:
		return slices.Delete(slices.Clone(v), i, i+1), nil
	}
	changed := slices.Clone(v)
	changed[i], err = edit(v[i], tokens[1:], op, value)
	return changed, err
}
