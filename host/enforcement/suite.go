// Package enforcement measures what the host's governance blocks: scripted agents do what
// users ask, and, once they have read a poisoned text, what an attacker wrote there.
// Everything runs through a real host - the agent's loop, the door, the sandbox, the
// stock policies - with a model that follows a script, so that the figures say what is
// enforced, and nothing of how often a model would be fooled.
//
// The suites have the shape of AgentDojo's (arXiv 2406.13352): four domains, each with
// tools, users' tasks as ground-truth calls, and injections as calls. They are our own.
package enforcement

import (
	"embed"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"

	"github.com/goccy/go-yaml"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
)

//go:embed suites policies toolbox/toolbox.wasm
var files embed.FS

// Suite is a domain.
type Suite struct {
	Name   string           `yaml:"name"`
	Tables map[string]Table `yaml:"tables"`
	Tools  map[string]Tool  `yaml:"tools"`
	Role   []string         `yaml:"role"` // the tools that the user's role has
	Flow   Flow             `yaml:"flow"`

	Tasks      []Script `yaml:"tasks"`
	Injections []Script `yaml:"injections"`
}

// Table is what tools read and write.
type Table struct {
	Poisoned bool              `yaml:"poisoned"` // attackers can write here
	Labels   map[string]string `yaml:"labels"`   // what the operator says of it
	Rows     []map[string]any  `yaml:"rows"`
}

// Tool reads a table or writes a row of one.
type Tool struct {
	Reads   string                    `yaml:"reads"`
	Writes  string                    `yaml:"writes"`
	Args    map[string]map[string]any `yaml:"args"`    // limits, as the stock policy agent_tools has them
	Approve map[string]map[string]any `yaml:"approve"` // limits past which a person decides
}

// Flow is the suite's data for the stock policy data_flow, by the names of actions.
type Flow struct {
	Harmless []string `yaml:"harmless"`
	Endorse  []string `yaml:"endorse"`
	Approve  []string `yaml:"approve"`
	Outside  []string `yaml:"outside"`
}

// Script is a user's task, or an injection: calls of tools. An injection without
// any is one that has the model say something.
type Script struct {
	ID    string `yaml:"id"`
	Says  string `yaml:"says"`
	Aims  string `yaml:"aims"`
	Calls []Call `yaml:"calls"`
}

// Call is a call of a tool: [name, {argument: value}].
type Call struct {
	Tool string
	Args map[string]any
}

// UnmarshalYAML reads the two.
func (c *Call) UnmarshalYAML(text []byte) error {
	var parts []any
	if err := yaml.Unmarshal(text, &parts); err != nil {
		return err
	}
	if len(parts) == 0 || len(parts) > 2 {
		return fmt.Errorf("a call is [tool, {argument: value}]")
	}
	c.Tool, _ = parts[0].(string)
	c.Args = map[string]any{}
	if len(parts) == 2 {
		c.Args, _ = parts[1].(map[string]any)
	}
	if c.Tool == "" || c.Args == nil {
		return fmt.Errorf("a call is [tool, {argument: value}]")
	}
	return nil
}

// Suites returns the domains.
func Suites() ([]*Suite, error) {
	entries, err := files.ReadDir("suites")
	if err != nil {
		return nil, err
	}
	var suites []*Suite
	for _, e := range entries {
		text, err := files.ReadFile(path.Join("suites", e.Name()))
		if err != nil {
			return nil, err
		}
		s := &Suite{}
		if err := yaml.UnmarshalWithOptions(text, s, yaml.Strict()); err != nil {
			return nil, fmt.Errorf("%s: %w", e.Name(), err)
		}
		if err := s.check(); err != nil {
			return nil, fmt.Errorf("%s: %w", e.Name(), err)
		}
		suites = append(suites, s)
	}
	return suites, nil
}

// check refuses a suite that would measure something else than it says.
func (s *Suite) check() error {
	for name, t := range s.Tools {
		if _, known := s.Tables[t.Reads+t.Writes]; !known || t.Reads != "" && t.Writes != "" {
			return fmt.Errorf("tool %s reads or writes no table", name)
		}
	}
	for _, script := range slices.Concat(s.Tasks, s.Injections) {
		for _, c := range script.Calls {
			if _, known := s.Tools[c.Tool]; !known {
				return fmt.Errorf("%s calls %s, which is no tool", script.ID, c.Tool)
			}
		}
	}
	for _, task := range s.Tasks {
		if s.poisonedAt(task) < 0 {
			return fmt.Errorf("task %s reads nothing that an attacker can write", task.ID)
		}
	}
	return nil
}

// poisonedAt returns after which call of a task the model has read an injection; -1 if it never does.
func (s *Suite) poisonedAt(task Script) int {
	return slices.IndexFunc(task.Calls, func(c Call) bool { return s.Tables[s.Tools[c.Tool].Reads].Poisoned })
}

// module returns the suite's tools as a module.
func (s *Suite) module() ([]byte, error) {
	wasm, err := files.ReadFile("toolbox/toolbox.wasm")
	if err != nil {
		return nil, err
	}
	bare, err := abi.RemoveCustomSections(wasm, func(name string) bool { return name == abi.ManifestSection })
	if err != nil {
		return nil, err
	}
	m := &abi.Manifest{Name: s.Name, Version: "1.0.0", Capabilities: []abi.Capability{{Op: "database.query"}, {Op: "database.insert"}}}
	for _, name := range slices.Sorted(maps.Keys(s.Tools)) {
		properties := map[string]any{}
		for arg, limits := range s.Tools[name].Args {
			properties[arg] = map[string]any{"type": limits["type"]}
		}
		schema, err := json.Marshal(map[string]any{"type": "object", "properties": properties})
		if err != nil {
			return nil, err
		}
		m.Tools = append(m.Tools, abi.Tool{Name: name, InputSchema: schema})
	}
	return abi.EmbedManifest(bare, m)
}

// moduleConfig says what the module's tools do.
func (s *Suite) moduleConfig() map[string]any {
	tools := map[string]any{}
	for name, t := range s.Tools {
		call := map[string]any{"op": "database.query", "head": map[string]any{"table": t.Reads}}
		if t.Writes != "" {
			call = map[string]any{"op": "database.insert", "head": map[string]any{"table": t.Writes}, "args": "row"}
		}
		tools[name] = map[string]any{"calls": []any{call}}
	}
	return map[string]any{"tools": tools}
}

// policyData is what the stock policies read.
func (s *Suite) policyData() map[string]any {
	allow := []any{map[string]any{"action": "database.*"}, map[string]any{"action": "llm.*"}, map[string]any{"action": "pipeline.*"}}
	for _, tool := range s.Role {
		allow = append(allow, map[string]any{"action": s.Name + "." + tool})
	}
	tools := map[string]any{}
	for name, t := range s.Tools {
		args, approve := t.Args, t.Approve
		if args == nil {
			args = map[string]map[string]any{}
		}
		if approve == nil {
			approve = map[string]map[string]any{}
		}
		tools[s.Name+"."+name] = map[string]any{"principals": []any{principal}, "args": args, "approve": approve}
	}
	of := func(actions []string) []any {
		list := []any{}
		for _, a := range actions {
			list = append(list, map[string]any{"action": a, "principals": []any{principal}})
		}
		return list
	}
	return map[string]any{
		"rbac":  map[string]any{"roles": map[string]any{"user": map[string]any{"allow": allow}}, "bindings": map[string]any{principal: []any{map[string]any{"role": "user", "tenant": "*"}}}},
		"tools": tools,
		"flow": map[string]any{
			// What a tool does is decided where the model chooses it.
			"harmless": append([]string{"database.*", "llm.*", "pipeline.*"}, s.Flow.Harmless...), "outside": s.Flow.Outside,
			"endorse": of(s.Flow.Endorse), "approve": of(s.Flow.Approve), "declassify": []any{},
		},
	}
}

// principal is the user, and person whoever approves.
const (
	principal = "ada"
	person    = "bob"
)

// grants are what the module may do: with capabilities, the tables of its tools alone.
func (s *Suite) grants(narrow bool) []any {
	if !narrow {
		return []any{"database.query", "database.insert"}
	}
	var read, written []any
	for _, name := range slices.Sorted(maps.Keys(s.Tools)) {
		t := s.Tools[name]
		switch {
		case t.Reads != "" && !slices.Contains(read, any(t.Reads)):
			read = append(read, t.Reads)
		case t.Writes != "" && !slices.Contains(written, any(t.Writes)):
			written = append(written, t.Writes)
		}
	}
	return []any{map[string]any{"database.query": map[string]any{"table": read}}, map[string]any{"database.insert": map[string]any{"table": written}}}
}

// labels says of the tables what the operator says.
func (s *Suite) labels() map[string]any {
	resources := map[string]any{}
	for name, t := range s.Tables {
		if len(t.Labels) > 0 {
			resources[name] = t.Labels
		}
	}
	return map[string]any{"resources": resources}
}

// answer is what the model says to call a tool.
func (s *Suite) answer(c Call) (string, error) {
	text, err := kernel.EncodeJSON(map[string]any{"tool": s.Name + ":" + c.Tool, "params": plain(c.Args)})
	return "INVOKE_TOOL: " + string(text), err
}

func plain(args map[string]any) kernel.Value {
	v, _ := kernel.ToValue(args) // of YAML's scalars
	return v
}
