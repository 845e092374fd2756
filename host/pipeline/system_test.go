package pipeline

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/host/kernel"
)

// folder writes files by name and returns the path of one of them.
func folder(t *testing.T, files map[string]string) func(name string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return func(name string) string { return filepath.Join(dir, name) }
}

// wantProblem checks an error's code and that it says all the words.
func wantProblem(t *testing.T, err error, code kernel.Code, words ...string) {
	t.Helper()
	if kernel.CodeOf(err) != code {
		t.Errorf("code %q, want %q: %v", kernel.CodeOf(err), code, err)
		return
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%v does not say %q", err, word)
		}
	}
}

// What a system and a body name is a pipeline: a system in it would lead round in
// circles that nothing ends.
func TestSystemInASystem(t *testing.T) {
	at := folder(t, map[string]string{
		"self.yaml": "kind: System\nmetadata: {name: s}\nspec: {processes: [{name: a, pipeline: self.yaml}]}\n",
		"a.yaml":    "kind: System\nmetadata: {name: s}\nspec: {processes: [{name: a, pipeline: b.yaml}]}\n",
		"b.yaml":    "kind: System\nmetadata: {name: s}\nspec: {processes: [{name: a, pipeline: a.yaml}]}\n",
		"body.yaml": "kind: System\nmetadata: {name: s}\nspec: {processes: [{name: a, pipeline: p.yaml}]}\n",
		"p.yaml":    spec("    - {kind: composite_node, metadata: {name: c}, spec: {mode: times, count: 1, body_pipeline: body.yaml}}\n"),
	})
	for _, name := range []string{"self.yaml", "a.yaml", "body.yaml", "p.yaml"} {
		_, err := Read(at(name), Options{})
		wantProblem(t, err, kernel.CodePipeline, "holds a system, not a pipeline", ".yaml")
	}
}

// readSystem reads a folder with a system of these lines of spec, and the pipelines that
// its processes run: p.yaml has the nodes a and b.
func readSystem(t *testing.T, text string) (*System, error) {
	t.Helper()
	at := folder(t, map[string]string{
		"s.yaml":       "kind: System\nmetadata: {name: s}\nspec:\n" + text,
		"p.yaml":       spec(data("a", "") + data("b", "")),
		"bad.yaml":     spec("    - {kind: nope, metadata: {name: x}}\n"),
		"sub/env.yaml": "kind: Pipeline\nmetadata: {name: dev, namespace: dev}\nspec: {nodes: []}\n---\nkind: Pipeline\nmetadata: {name: prod, namespace: prod}\nspec: {nodes: []}\n",
	})
	f, err := Read(at("s.yaml"), Options{Environment: ""})
	if err != nil {
		return nil, err
	}
	return f.System, nil
}

// processes lists processes of p.yaml.
func processes(names ...string) string {
	text := "  processes:\n"
	for _, name := range names {
		text += "    - {name: " + name + ", pipeline: p.yaml}\n"
	}
	return text
}

// Processes run in the file's order, or, with pipes, each after those that it is
// piped from and by name among those that could be next.
func TestSystemOrder(t *testing.T) {
	pipe := func(pairs ...string) string {
		text := "  pipes:\n"
		for _, pair := range pairs {
			from, to, _ := strings.Cut(pair, ">")
			text += "    - {from: " + from + ", to: " + to + "}\n"
		}
		return text
	}
	for name, tc := range map[string]struct{ spec, want string }{
		"without pipes":       {processes("z", "a", "m"), "z a m"},
		"a chain":             {processes("a", "b", "c") + pipe("c>b", "b>a"), "c b a"},
		"by name":             {processes("z", "y", "x", "w") + pipe("z>w"), "x y z w"},
		"a diamond":           {processes("d", "c", "b", "a") + pipe("a>b", "a>c", "b>d", "c>d"), "a b c d"},
		"two pipes between":   {processes("b", "a") + pipe("a>b", "a>b"), "a b"},
		"one beside the rest": {processes("c", "b", "a") + pipe("b>a"), "b a c"},
	} {
		s, err := readSystem(t, tc.spec)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var got []string
		for _, p := range s.Processes {
			got = append(got, p.Name)
		}
		if strings.Join(got, " ") != tc.want {
			t.Errorf("%s: %v, want %s", name, got, tc.want)
		}
	}
}

// A mapping that is one reference keeps the value's type; in a text it is shown,
// and what is missing is nothing.
func TestPipeFields(t *testing.T) {
	s, err := readSystem(t, processes("one", "two")+`  pipes:
    - from: one
      to: two
      mapping: {whole: "{{ one.a }}", text: "a {{ one.a }} and {{ one.b }}.", missing: "{{ one.b }}", literal: 7, list: [1], plain: text}
`)
	if err != nil {
		t.Fatal(err)
	}
	results := func(process, node string) kernel.Value {
		if process == "one" && node == "a" {
			return map[string]any{"v": true}
		}
		return nil
	}
	got := map[string]any{}
	for _, f := range s.Processes[1].Pipes[0].Mapping {
		got[f.Name] = f.Value(results)
	}
	text, err := kernel.EncodeJSON(got)
	if want := `{"list":[1],"literal":7,"missing":null,"plain":"text","text":"a {'v': True} and .","whole":{"v":true}}`; err != nil || string(text) != want {
		t.Errorf("got  %s\nwant %s (%v)", text, want, err)
	}
}

func TestSystemRules(t *testing.T) {
	machine := "  state_machines: {t: {initial: A, transitions: {A: [B, {to: C, guard: x > 1}], B: A}}}\n"
	for name, tc := range map[string]struct {
		spec string
		says []string // nothing: it is taken
		warn string
	}{
		"no processes":                   {"  pipes: []\n", []string{"a system needs processes"}, ""},
		"a process without a name":       {"  processes: [{pipeline: p.yaml}]\n", []string{"needs name"}, ""},
		"a process without a pipeline":   {"  processes: [{name: a}]\n", []string{"process a needs pipeline"}, ""},
		"a file that is not there":       {"  processes: [{name: a, pipeline: no.yaml}]\n", []string{"no.yaml", "cannot be read"}, ""},
		"a file outside":                 {"  processes: [{name: a, pipeline: ../p.yaml}]\n", []string{"lies outside this file's folder"}, ""},
		"an absolute file":               {"  processes: [{name: a, pipeline: /etc/passwd}]\n", []string{"lies outside this file's folder"}, ""},
		"a pipeline that is wrong":       {"  processes: [{name: a, pipeline: bad.yaml}]\n", []string{"bad.yaml:6:", "no node kind nope"}, ""},
		"an unknown member of a process": {"  processes: [{name: a, pipeline: p.yaml, pipline: x}]\n", []string{"process a has no member pipline", "did you mean pipeline?"}, ""},
		"an unknown member":              {processes("a") + "  pipse: []\n", []string{"has no member pipse", "known are gc"}, ""},
		"a pipe to itself":               {processes("a") + "  pipes: [{from: a, to: a}]\n", []string{"a pipe leads from process a to itself"}, ""},
		"a pipe from nowhere":            {processes("first", "second") + "  pipes: [{from: frist, to: second}]\n", []string{"there is no process frist", "known are first, second"}, ""},
		"a pipe without an end":          {processes("a", "b") + "  pipes: [{from: a}]\n", []string{"needs to"}, ""},
		"pipes in a circle":              {processes("a", "b") + "  pipes: [{from: a, to: b}, {from: b, to: a}]\n", []string{"the pipes of system s go in a circle"}, ""},
		"a mapping of no process":        {processes("a", "b") + "  pipes: [{from: a, to: b, mapping: {x: '{{ c.a }}'}}]\n", []string{"mapping x names c.a, which is no node of a process", "write {{ process.node }}"}, ""},
		"a mapping of no node":           {processes("a", "b") + "  pipes: [{from: a, to: b, mapping: {x: '{{ a.z }}'}}]\n", []string{"process a has no node z"}, ""},
		"a mapping of a field":           {processes("a", "b") + "  pipes: [{from: a, to: b, mapping: {x: '{{ a.a.v }}'}}]\n", []string{"write {{ process.node }}"}, ""},
		"what has no effect":             {"  processes: [{name: a, pipeline: p.yaml, input_schema: {x: int}}]\n", nil, "input_schema of a process has no effect"},
		"saga":                           {processes("a") + machine + "  transaction: saga\n", []string{"transaction saga is not built yet", "transaction: unified"}, ""},
		"unified":                        {processes("a") + machine + "  transaction: unified\n  gc: {}\n  memory: {}\n", nil, ""},
		"a state that there is not":      {processes("a") + machine + "  states: {Z: {on_enter: a}}\n", []string{"there is no state Z"}, ""},
		"a state's process":              {processes("a") + machine + "  states: {B: {on_enter: z}}\n", []string{"there is no process z"}, ""},
		"a transition that is none":      {processes("a") + machine + "  on_transition: {'A to B': {process: a}}\n", []string{"on_transition A to B is no transition", `write "FROM -> TO"`}, ""},
		"a transition of no state":       {processes("a") + machine + "  on_transition: {'A -> Z': {process: a}}\n", []string{"on_transition A -> Z is no transition"}, ""},
		"a transition's process":         {processes("a") + machine + "  on_transition: {'A -> B': {process: z}}\n", []string{"there is no process z"}, ""},
		"what is not built yet":          {processes("a") + machine + "  states: {B: {on_exit: a}}\n", []string{"on_exit"}, ""},
		"several environments":           {"  processes: [{name: a, pipeline: sub/env.yaml}]\n", nil, "the file holds 2 pipelines; the first was taken"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := readSystem(t, tc.spec)
			if tc.says == nil {
				if err != nil {
					t.Fatal(err)
				}
				var warned []string
				for _, w := range s.Warnings {
					warned = append(warned, w.Error())
				}
				if all := strings.Join(warned, "\n"); !strings.Contains(all, tc.warn) || tc.warn == "" && all != "" {
					t.Errorf("it warns of %q, want %q", all, tc.warn)
				}
				return
			}
			if kernel.CodeOf(err).Class() != kernel.ClassBadInput {
				t.Fatalf("it is taken: %v", err)
			}
			for _, says := range append(tc.says, ".yaml:") {
				if !strings.Contains(err.Error(), says) {
					t.Errorf("%v does not say %q", err, says)
				}
			}
		})
	}
}

func TestLifecycle(t *testing.T) {
	s, err := readSystem(t, processes("one", "two")+`  state_machines:
    ticket: {initial: OPEN, transitions: {OPEN: [SEEN, {to: DONE, guard: payload.ok}], SEEN: DONE}, handlers: {on_transition: m.tool}}
    order: {initial_state: NEW, states: [NEW, DONE], transitions: {NEW: DONE}}
  states: {SEEN: {on_enter: one}, DONE: {terminal: true, requires: summary}}
  on_transition: {"OPEN->DONE": {process: two}}
`)
	if err != nil {
		t.Fatal(err)
	}
	ticket, order := s.Machines[0], s.Machines[1]
	if ticket.Initial != "OPEN" || strings.Join(ticket.States, " ") != "DONE OPEN SEEN" || len(ticket.Edges["OPEN"]) != 2 || ticket.Edges["OPEN"][1].Guard.Text != "payload.ok" || ticket.Edges["SEEN"][0].To != "DONE" || ticket.OnChange.String() != "m.tool" {
		t.Errorf("ticket read as %+v", ticket)
	}
	if order.Initial != "NEW" || strings.Join(order.Terminal, " ") != "DONE" || strings.Join(order.Requires["DONE"], " ") != "summary" {
		t.Errorf("order read as %+v", order)
	}
	if s.OnEnter["SEEN"] != "one" || s.OnEdge["OPEN -> DONE"] != "two" || len(s.OnEnter) != 1 {
		t.Errorf("on_enter %v, on_transition %v", s.OnEnter, s.OnEdge)
	}
}

// TestStatesOfTypes: two types may have states of one name; what is said by TYPE.STATE is said of the one alone.
func TestStatesOfTypes(t *testing.T) {
	const machines = `  state_machines:
    ticket: {initial: OPEN, transitions: {OPEN: [SEEN, DONE], SEEN: DONE}}
    order: {initial: OPEN, transitions: {OPEN: [SEEN, DONE]}}
`
	s, err := readSystem(t, processes("one", "two")+machines+`  states: {ticket.SEEN: {on_enter: one, requires: by}, SEEN: {on_enter: two}, order.DONE: {terminal: true}}
  on_transition: {"order.OPEN -> DONE": {process: two}}
`)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range [][4]string{{"ticket", "OPEN", "SEEN", "one"}, {"order", "OPEN", "SEEN", "two"}, {"ticket", "OPEN", "DONE", ""}, {"order", "OPEN", "DONE", "two"}, {"ticket", "SEEN", "DONE", ""}} {
		if got := s.ProcessOf(c[0], c[1], c[2]); got != c[3] {
			t.Errorf("%v starts %q", c, got)
		}
	}
	ticket, order := s.Machines[0], s.Machines[1]
	if len(ticket.Terminal) > 0 || len(order.Terminal) != 1 || len(order.Requires["SEEN"]) > 0 || len(ticket.Requires["SEEN"]) != 1 {
		t.Errorf("%+v\n%+v", ticket, order)
	}
	if len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0].Error(), "state SEEN is of 2 types") {
		t.Errorf("it warns of %v", s.Warnings)
	}
	for _, wrong := range []string{"  states: {tickets.SEEN: {on_enter: one}}\n", "  states: {ticket.NONE: {on_enter: one}}\n", "  on_transition: {\"order.SEEN -> LOST\": {process: two}}\n"} {
		if _, err := readSystem(t, processes("one", "two")+machines+wrong); err == nil {
			t.Errorf("%s is taken", wrong)
		}
	}
}
