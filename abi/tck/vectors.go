package tck

import (
	"bytes"
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"path"
	"strings"

	"github.com/hexdag/hexdag/abi"
)

//go:embed vectors/*.json
var files embed.FS

// Vector is one message to a probe and what has to come of it.
type Vector struct {
	Group  string          `json:"-"` // the file's name
	Name   string          `json:"name"`
	Point  abi.Point       `json:"point"`
	Input  json.RawMessage `json:"input"`
	Config json.RawMessage `json:"config"`
	Body   Bytes           `json:"body"`
	Ports  map[string]Port `json:"ports"`
	Clock  []int64         `json:"clock"`  // by clock; a clock that is not there is denied
	Random Bytes           `json:"random"` // repeated; denied if empty
	Want   Want            `json:"want"`
}

// Port is how a granted operation answers. With Reenter it calls the module again.
type Port struct {
	Status            string          `json:"status"`
	Value             json.RawMessage `json:"value"`
	Body              Bytes           `json:"body"`
	Code              string          `json:"code"`
	Message           string          `json:"message"`
	RetryMilliseconds int64           `json:"retry_ms"`
	Reenter           *Vector         `json:"reenter"`
}

// Want is what has to come of a vector.
type Want struct {
	Verdict string          `json:"verdict"`
	Arg     uint32          `json:"arg"`
	Patched json.RawMessage `json:"patched"`
	Output  json.RawMessage `json:"output"`
	Body    Bytes           `json:"body"`
	Log     []string        `json:"log"`
	Calls   []MadeCall      `json:"calls"`
}

// MadeCall is a call of a port that a guest made.
type MadeCall struct {
	Op   string          `json:"op"`
	Args json.RawMessage `json:"args"`
	Body Bytes           `json:"body"`
}

// Bytes are raw bytes. In a vector they are a text, or {"$hex": digits}.
type Bytes string

// UnmarshalJSON reads either form.
func (b *Bytes) UnmarshalJSON(text []byte) error {
	var form struct {
		Digits *string `json:"$hex"`
	}
	if err := json.Unmarshal(text, &form); err == nil && form.Digits != nil {
		raw, err := hex.DecodeString(*form.Digits)
		*b = Bytes(raw)
		return err
	}
	var s string
	err := json.Unmarshal(text, &s)
	*b = Bytes(s)
	return err
}

// Vectors returns the golden vectors, in the order of their files.
func Vectors() ([]Vector, error) {
	entries, err := files.ReadDir("vectors")
	if err != nil {
		return nil, err
	}
	var all []Vector
	for _, entry := range entries {
		text, err := files.ReadFile(path.Join("vectors", entry.Name()))
		if err != nil {
			return nil, err
		}
		group, err := parseVectors(strings.TrimSuffix(entry.Name(), ".json"), text)
		if err != nil {
			return nil, fmt.Errorf("vectors/%s: %w", entry.Name(), err)
		}
		all = append(all, group...)
	}
	return all, nil
}

func parseVectors(group string, text []byte) ([]Vector, error) {
	text, err := expand(text)
	if err != nil {
		return nil, err
	}
	var file struct {
		About   string   `json:"about"`
		Vectors []Vector `json:"vectors"`
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&file); err != nil {
		return nil, err
	}
	for i := range file.Vectors {
		v := &file.Vectors[i]
		v.Group = group
		if err := v.prepare(); err != nil {
			return nil, fmt.Errorf("%s: %w", v.Name, err)
		}
	}
	return file.Vectors, nil
}

// run is what every payload has, and those of the vectors do not repeat.
const run = `{"run_id":"r-1","pipeline":"tck","tenant":"acme","principal":"tester","labels":{"purpose":"conformance"},` +
	`"usage":{"llm_calls":1,"input_tokens":20,"output_tokens":3,"tool_calls":4,"port_calls":5}}`

// prepare fills in what vectors leave out.
func (v *Vector) prepare() error {
	if v.Point == "" {
		v.Point = abi.ToolCall
	}
	input := map[string]json.RawMessage{"run": json.RawMessage(run)}
	if v.Point == abi.ToolCall {
		input["tool"], input["args"] = json.RawMessage(`"probe"`), json.RawMessage(`{}`)
	}
	if v.Input != nil {
		if err := json.Unmarshal(v.Input, &input); err != nil {
			return err
		}
	}
	var err error
	if v.Input, err = json.Marshal(input); err != nil {
		return err
	}
	for op, port := range v.Ports {
		if _, err := statusNamed(port.Status); err != nil {
			return err
		}
		if port.Reenter != nil {
			if err := port.Reenter.prepare(); err != nil {
				return fmt.Errorf("%s: %w", op, err)
			}
		}
	}
	return nil
}

// expand replaces the macros of the files: objects of one member whose name
// starts with $. $hex is left to Bytes.
func expand(text []byte) ([]byte, error) {
	v, err := decode(text)
	if err != nil {
		return nil, err
	}
	if v, err = expandValue(v); err != nil {
		return nil, err
	}
	return encode(v)
}

func expandValue(v any) (any, error) {
	var err error
	switch v := v.(type) {
	case []any:
		for i := range v {
			if v[i], err = expandValue(v[i]); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for name := range v {
			if v[name], err = expandValue(v[name]); err != nil {
				return nil, err
			}
			if args, ok := v[name].([]any); ok && strings.HasPrefix(name, "$") {
				return macro(name, args)
			}
		}
	}
	return v, nil
}

func macro(name string, args []any) (any, error) {
	if len(args) != 2 {
		return nil, fmt.Errorf("%s takes two values", name)
	}
	first, second := args[0], args[1]
	number, isNumber := second.(json.Number)
	n, err := number.Int64()
	switch text, isText := first.(string); {
	case name == "$repeat" && isText && isNumber && err == nil:
		return strings.Repeat(text, int(n)), nil
	case name == "$nest" && isNumber && err == nil:
		for range n {
			first = []any{first}
		}
		return first, nil
	case name == "$sum" && isText:
		return sum(text, second)
	}
	return nil, fmt.Errorf("%s cannot be read", name)
}

// sum is a line that says of a long text its length in bytes and its checksum.
func sum(prefix string, v any) (string, error) {
	text, ok := v.(string)
	if !ok {
		encoded, err := encode(v)
		if err != nil {
			return "", err
		}
		text = string(encoded)
	}
	h := fnv.New32a()
	h.Write([]byte(text))
	return fmt.Sprintf("%s%d %d", prefix, len(text), h.Sum32()), nil
}
