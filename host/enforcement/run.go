package enforcement

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/kernel"
)

// Set is what an operator enforces.
type Set struct {
	Name   string
	policy string // a folder of policies; "" allows all
	narrow bool   // the module's grants and the agent's tools are what they need
}

// Sets returns what is compared. Capabilities are RBAC, limits of arguments, the agent's tools
// cut down to those that the task needs, and the module's grants to its tables.
func Sets() []Set {
	return []Set{
		{Name: "allow all"},
		{Name: "RBAC", policy: "rbac"},
		{Name: "RBAC + labels", policy: "rbac-labels"},
		{Name: "capabilities", policy: "capabilities", narrow: true},
		{Name: "capabilities + labels", policy: "labels", narrow: true},
	}
}

// Tally counts what became of tasks and injections.
type Tally struct {
	Tasks     int `json:"tasks"`     // of users, without an attack
	Completed int `json:"completed"` // of these: every call was made
	Asked     int `json:"asked"`     // approvals that these needed

	Attacks  int `json:"attacks"`  // an injection in a task
	Denied   int `json:"denied"`   // of these: a call was denied, without a person
	Refused  int `json:"refused"`  // a person was asked about a call, and refused it
	Survived int `json:"survived"` // of the attacked tasks: every call that the user wants was made
}

// Add adds another count.
func (t *Tally) Add(other Tally) {
	t.Tasks, t.Completed, t.Asked = t.Tasks+other.Tasks, t.Completed+other.Completed, t.Asked+other.Asked
	t.Attacks, t.Denied, t.Refused, t.Survived = t.Attacks+other.Attacks, t.Denied+other.Denied, t.Refused+other.Refused, t.Survived+other.Survived
}

// Blocked is how many injected sequences did not get through.
func (t *Tally) Blocked() int { return t.Denied + t.Refused }

// Outcome is what became of one set on one suite.
type Outcome struct {
	Set   string
	Suite string
	Tally
	// Missed are the injections that got through, by how many tasks.
	Missed map[string]int
}

// Run runs every task of a suite, alone and with every injection. Its files are in dir,
// which it fills; what is compiled is kept in cache, which several may share.
func Run(ctx context.Context, set Set, suite *Suite, dir, cache string) (_ *Outcome, err error) {
	r := &runner{set: set, suite: suite, dir: dir, cache: cache}
	if err := r.open(ctx); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.host.Close(ctx)) }()
	out := &Outcome{Set: set.Name, Suite: suite.Name, Missed: map[string]int{}}
	for _, task := range suite.Tasks {
		e, err := r.episode(ctx, task, nil)
		if err != nil {
			return nil, fmt.Errorf("%s, %s: %w", set.Name, task.ID, err)
		}
		out.Tasks++
		out.Asked += e.asked
		if e.users() {
			out.Completed++
		}
		for _, injection := range suite.Injections {
			e, err := r.episode(ctx, task, &injection)
			if err != nil {
				return nil, fmt.Errorf("%s, %s with %s: %w", set.Name, task.ID, injection.ID, err)
			}
			out.Attacks++
			switch {
			case e.refused:
				out.Refused++
			case !e.attackers():
				out.Denied++
			default:
				out.Missed[injection.ID]++
			}
			if e.users() {
				out.Survived++
			}
		}
	}
	return out, nil
}

// runner is a host under a set of policies, with the tools of a suite.
type runner struct {
	set   Set
	suite *Suite
	dir   string
	cache string
	host  *host.Host
}

func (r *runner) path(name string) string { return filepath.Join(r.dir, name) }

func (r *runner) open(ctx context.Context) error {
	wasm, err := r.suite.module()
	if err != nil {
		return err
	}
	governance := map[string]any{"adapter": "allow_all"}
	if r.set.policy != "" {
		governance = map[string]any{"adapter": "rego", "config": map[string]any{"dirs": []any{"policy"}}}
	}
	tables := map[string]any{}
	for name, t := range r.suite.Tables {
		tables[name] = t.Rows
	}
	config := map[string]any{"kind": "Config", "spec": map[string]any{
		"principal": principal, "tenant": "suite", "state": r.path("state"),
		"modules": map[string]any{r.suite.Name: map[string]any{"path": r.path("tools.wasm"), "grants": r.suite.grants(r.set.narrow), "config": r.suite.moduleConfig()}},
		"ports": map[string]any{
			"governance": governance,
			"database":   map[string]any{"adapter": "memory", "config": map[string]any{"tables": tables}, "labels": r.suite.labels()},
		},
	}}
	written := []error{r.write("tools.wasm", wasm), r.document("hexdag.yaml", config)}
	if r.set.policy != "" {
		rules, err := files.ReadFile("policies/" + r.set.policy + "/main.rego")
		written = append(written, err, os.MkdirAll(r.path("policy"), 0o700), r.write("policy/main.rego", rules), r.document("policy/data.json", r.suite.policyData()))
	}
	if err := errors.Join(written...); err != nil {
		return err
	}
	cfg, err := host.LoadConfig(r.path("hexdag.yaml"))
	if err != nil {
		return err
	}
	r.host, err = host.New(ctx, cfg, host.Options{CacheDir: r.cache, KeyFile: r.path("audit.key")})
	return err
}

func (r *runner) write(name string, text []byte) error {
	return os.WriteFile(r.path(name), text, 0o600)
}

// document writes JSON, which YAML is, too.
func (r *runner) document(name string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return r.write(name, text)
}

// episode is one run of a scripted agent.
type episode struct {
	script   []Call
	injected []bool // of the calls: whether an attacker has it made
	done     []bool // whether it was made
	asked    int    // approvals that were asked for
	refused  bool   // a person refused an injected call
}

func (e *episode) all(injected bool) bool {
	for i, done := range e.done {
		if e.injected[i] == injected && !done {
			return false
		}
	}
	return true
}

func (e *episode) users() bool     { return e.all(false) }
func (e *episode) attackers() bool { return e.all(true) }

// script is what a model calls that does what it reads: the user's calls, with those of
// an injection behind the first call that has read it.
func (r *runner) script(task Script, injection *Script) *episode {
	e := &episode{script: slices.Clone(task.Calls), injected: make([]bool, len(task.Calls))}
	if injection != nil {
		at := r.suite.poisonedAt(task) + 1
		e.script = slices.Insert(e.script, at, injection.Calls...)
		e.injected = slices.Insert(e.injected, at, slices.Repeat([]bool{true}, len(injection.Calls))...)
	}
	e.done = make([]bool, len(e.script))
	return e
}

// episode runs a task, in which the model falls for the injection, if there is one. A person
// who is asked approves what the user wants, and refuses all else.
func (r *runner) episode(ctx context.Context, task Script, injection *Script) (*episode, error) {
	e := r.script(task, injection)
	if err := r.writePipeline(task, e); err != nil {
		return nil, err
	}
	p, err := r.host.Load(ctx, r.path("pipeline.yaml"), host.LoadOptions{})
	if err != nil {
		return nil, err
	}
	defer p.Close(ctx)
	rec := &host.Recorder{}
	result := p.Run(ctx, map[string]any{}, host.RunOptions{Recorder: rec})
	for result.Status == engine.Suspended {
		if result, err = r.decide(ctx, e, result, rec); err != nil {
			return nil, err
		}
	}
	if result.Err != nil {
		return nil, result.Err
	}
	return e, e.read(r.suite, result, rec)
}

// decide has the person answer what the agent waits for, and the run go on.
func (r *runner) decide(ctx context.Context, e *episode, result *host.Result, rec *host.Recorder) (*host.Result, error) {
	progress := result.Progress["agent"]
	if progress == nil || len(result.Waits) != 1 {
		return nil, fmt.Errorf("it waits for %+v", result.Waits)
	}
	at := -1 // which call waits: that of the last answer
	for _, turn := range progress.Turns {
		if turn.Answer != nil {
			at++
		}
	}
	if at < 0 || at >= len(e.script) {
		return nil, fmt.Errorf("call %d of %d waits", at, len(e.script))
	}
	e.asked++
	e.refused = e.refused || e.injected[at]
	key := result.Waits[0].EventKey
	if _, err := r.host.Approvals().Answer(ctx, strings.TrimPrefix(key, kernel.ApprovalKey), person, !e.injected[at], ""); err != nil {
		return nil, err
	}
	return r.host.Resume(ctx, result.RunID, key, nil, host.RunOptions{Recorder: rec})
}

// writePipeline writes an agent whose model follows the script: it tells where it is by
// the steps that its prompt tells.
func (r *runner) writePipeline(task Script, e *episode) error {
	tools := []any{r.suite.Name}
	if r.set.narrow {
		tools = nil
		for _, c := range task.Calls {
			if name := r.suite.Name + ":" + c.Tool; !slices.Contains(tools, any(name)) {
				tools = append(tools, name)
			}
		}
	}
	replies := make([]string, len(e.script)+1)
	for i, c := range e.script {
		var err error
		if replies[i], err = r.suite.answer(c); err != nil {
			return err
		}
	}
	replies[len(e.script)] = "This is all, tool_end."
	var rules []any
	for step := len(e.script); step > 0; step-- {
		rules = append(rules, map[string]any{"match": fmt.Sprintf(`(?m)^\s*Step %d: `, step), "reply": replies[step]})
	}
	model := map[string]any{"adapter": "mock", "config": map[string]any{"rules": rules, "default": replies[0]}}
	agent := map[string]any{"kind": "agent_node", "metadata": map[string]any{"name": "agent"}, "spec": map[string]any{"main_prompt": task.Says, "available_tools": tools, "tool_call_style": "mixed", "max_steps": len(replies) + 1}}
	return r.document("pipeline.yaml", map[string]any{
		"kind": "Pipeline", "metadata": map[string]any{"name": "episode"},
		"spec": map[string]any{"ports": map[string]any{"llm": model}, "nodes": []any{agent}},
	})
}

// read notes which calls were made, and holds it to what the door let through.
func (e *episode) read(s *Suite, result *host.Result, rec *host.Recorder) error {
	state, _ := result.NodeResults["agent"].(map[string]any)
	told, _ := state["tool_results"].([]any)
	if len(told) != len(e.script) {
		return fmt.Errorf("%d of %d calls have a result: %v", len(told), len(e.script), told)
	}
	made := 0
	for i, line := range told {
		text, _ := line.(string)
		e.done[i] = !strings.HasPrefix(text, s.Name+":"+e.script[i].Tool+": Error - ") && !strings.Contains(text, "not found. Available")
		if e.done[i] {
			made++
		}
	}
	through := 0
	for _, event := range rec.Events() {
		if event.Type == kernel.PortCalled && strings.HasPrefix(event.Op, "database.") && event.Status == "ok" {
			through++
		}
	}
	if made != through {
		return fmt.Errorf("the agent was told of %d calls that were made, the door let %d through: %v", made, through, told)
	}
	return nil
}
