package pipeline

import (
	"slices"
	"strings"
	"time"

	"github.com/hexdag/hexdag/host/expr"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline/source"
)

// Composite runs bodies: by a condition, or again and again.
type Composite struct {
	Mode       string
	Condition  *Condition  // if-else, while
	Items      *Expression // for-each
	Count      *Expression // times
	Body, Else *Inner      // nil: none
	Branches   []Branch    // switch
	ElseAction string
	Route      bool // the targets of actions run or are skipped

	ItemVar, IndexVar string
	Concurrency       int
	MaxIterations     int
	InitialState      *Filled
	StateUpdate       []Variable

	Collect     string
	KeyField    string
	Reducer     *Function
	FailFast    bool
	Nodes       int           // of one body at once
	NodeTimeout time.Duration // of a body's nodes; 0 means the pipeline's
}

// The modes.
const (
	IfElse  = "if-else"
	Switch  = "switch"
	ForEach = "for-each"
	Times   = "times"
	While   = "while"
)

// Branch is one branch of a switch: a body, or the name of a node.
type Branch struct {
	Condition *Condition
	Body      *Inner
	Action    string
	at        *source.Value
}

// Inner is a body: a graph, or a function.
type Inner struct {
	Name     string // as events show it
	Graph    *Graph
	Function *Function
	Output   map[string]Path // of a body_pipeline that names its output
}

// Results picks the output of a body that names it.
func (b *Inner) Results(results Results) map[string]kernel.Value { return pick(b.Output, results) }

func (b *Composite) visit(f func(Reference)) {
	own := []string{"state", b.ItemVar, b.IndexVar, "iteration"}
	outer := func(r Reference) {
		if !slices.Contains(own, r.Path[0]) {
			f(r)
		}
	}
	b.Condition.visit(outer)
	b.Items.visit(f)
	b.Count.visit(f)
	b.InitialState.visit(f)
	for _, v := range b.StateUpdate {
		v.Program.visit(outer)
	}
	for _, branch := range b.Branches {
		branch.Condition.visit(f)
		branch.Body.visit(outer)
	}
	b.Body.visit(outer)
	b.Else.visit(outer)
}

// visit calls f with what a body names beyond its own nodes.
func (b *Inner) visit(f func(Reference)) {
	if b == nil || b.Graph == nil {
		return
	}
	for _, n := range b.Graph.Nodes {
		n.visit(func(r Reference) {
			if b.Graph.byName[r.Path[0]] == nil {
				f(r)
			}
		})
	}
}

func readComposite(r *reader, n *Node) Body {
	s := n.spec
	b := &Composite{
		Mode: s.Required("mode"), ItemVar: or(s.Text("item_var"), "item"), IndexVar: or(s.Text("index_var"), "index"),
		Concurrency: max(int(s.Positive("concurrency")), 1), MaxIterations: max(int(s.Positive("max_iterations")), 0), Nodes: int(s.Positive("max_concurrent_nodes")), NodeTimeout: s.Seconds("default_node_timeout"),
		Route: s.Flag("route_downstream"), ElseAction: s.Text("else_action"), KeyField: s.Text("key_field"), Reducer: r.function(s.Get("reducer"), "reducer"),
		InitialState: fill(s.Get("initial_state")),
	}
	s.Flag("strict_validation")
	if b.MaxIterations == 0 {
		b.MaxIterations = 100
	}
	if v := s.Get("condition"); v != nil {
		b.Condition = r.condition(v, "condition")
	}
	b.Items, b.Count = r.iterated(s, "items"), r.iterated(s, "count")
	b.Body = r.body(s, "body", "body_pipeline")
	b.Else = r.body(s, "else_body", "")
	for _, item := range s.Items("branches") {
		b.Branches = append(b.Branches, r.branch(item))
	}
	if update := s.Member("state_update"); update != nil {
		for _, name := range update.M.Names {
			b.StateUpdate = append(b.StateUpdate, r.readVariable(name, update.M.Members[name]))
		}
	}
	b.Collect = r.oneOf(s, "collect", "list", "last", "first", "dict", "reduce")
	b.FailFast = r.oneOf(s, "error_handling", "fail_fast", "continue", "collect") == "fail_fast"
	r.checkComposite(s, b)
	return b
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// oneOf reads a word from a list whose first is the default.
func (r *reader) oneOf(s *source.Section, name string, known ...string) string {
	word := or(s.Text(name), known[0])
	if !slices.Contains(known, word) {
		r.Add(s.Get(name).Errorf(kernel.CodePipeline, kernel.DidYouMean(word, known), "%s cannot be %s", name, kernel.Quote(word)))
	}
	return word
}

// iterated reads an expression, or a number or a list that YAML has written out.
func (r *reader) iterated(s *source.Section, name string) *Expression {
	v := s.Get(name)
	if v == nil {
		return nil
	}
	text, ok := v.Text()
	if !ok {
		text = expr.Repr(v.Plain())
	} else if only, single := parseTemplate(text, v).only(); single {
		text = only.text()
	}
	return r.expression(v, text)
}

func (r *reader) branch(v *source.Value) Branch {
	s := r.Open(v, "a branch")
	b := Branch{at: v}
	if s == nil {
		return b
	}
	if c := s.Get("condition"); c != nil {
		b.Condition = r.condition(c, "condition")
	} else {
		r.Add(v.Errorf(kernel.CodePipeline, "add condition: ...", "a branch needs condition"))
	}
	b.Action, b.Body = s.Text("action"), r.body(s, "body", "body_pipeline")
	if (b.Action == "") == (b.Body == nil) {
		r.Add(v.Errorf(kernel.CodePipeline, "give it one of them", "a branch has an action or a body"))
	}
	s.Rest()
	return b
}

// body reads a body: a list of nodes, the name of a module's export, or a file.
func (r *reader) body(s *source.Section, name, file string) *Inner {
	v := s.Get(name)
	var path *source.Value
	if file != "" {
		path = s.Get(file)
	}
	switch {
	case v != nil && path != nil:
		r.Add(path.Errorf(kernel.CodePipeline, "remove one of them", "%s and %s exclude each other", name, file))
	case path != nil:
		return r.bodyFile(path)
	case v != nil:
		if items, ok := v.V.([]*source.Value); ok {
			return &Inner{Name: "inline", Graph: r.inlineGraph(items)}
		}
		return &Inner{Name: "inline", Function: r.function(v, name)}
	}
	return nil
}

// inlineGraph reads a body's nodes. They are chained by what they name, not by
// their order.
func (r *reader) inlineGraph(items []*source.Value) *Graph {
	if r.depth++; r.depth > maxNested {
		r.Add(items[0].Errorf(kernel.CodePipeline, "flatten them", "bodies nest deeper than %d", maxNested))
		r.depth--
		return &Graph{}
	}
	defer func() { r.depth-- }()
	nodes := r.readNodes(items)
	return r.connect(nodes, false)
}

// maxNested is how deep bodies and macros may nest.
const maxNested = 10

func (r *reader) checkComposite(s *source.Section, b *Composite) {
	need := func(there bool, what string) {
		if !there {
			r.Add(s.At.Errorf(kernel.CodePipeline, "add "+what+": ...", "mode %s requires %s", b.Mode, what))
		}
	}
	switch b.Mode {
	case "":
	case IfElse:
		need(b.Condition != nil || s.Get("condition") != nil, "condition")
	case Switch:
		need(len(b.Branches) > 0, "branches")
	case ForEach:
		need(b.Items != nil || s.Get("items") != nil, "items")
		need(b.Body != nil, "body or body_pipeline")
	case Times:
		need(b.Count != nil || s.Get("count") != nil, "count")
		need(b.Body != nil, "body or body_pipeline")
		r.checkCount(s, b)
	case While:
		need(b.Condition != nil || s.Get("condition") != nil, "condition")
		need(b.Body != nil, "body or body_pipeline")
	default:
		known := []string{IfElse, Switch, ForEach, Times, While}
		r.Add(s.Get("mode").Errorf(kernel.CodePipeline, kernel.DidYouMean(b.Mode, known), "there is no mode %s", kernel.Quote(b.Mode)))
	}
	if b.Collect == "reduce" && b.Reducer == nil && (b.Mode == ForEach || b.Mode == Times || b.Mode == While) {
		r.Add(s.At.Errorf(kernel.CodePipeline, "add reducer: module.tool, which is given {items: [...]}", "collect: reduce needs a reducer"))
	}
}

// checkCount refuses a number that is written out and not above zero.
func (r *reader) checkCount(s *source.Section, b *Composite) {
	v := s.Get("count")
	if v == nil || b.Count == nil {
		return
	}
	if _, text := v.Text(); !text || len(b.Count.References()) == 0 {
		s.Positive("count")
	}
}

// actions returns the nodes that a switch routes to.
func (b *Composite) actions() []string {
	var names []string
	for _, branch := range b.Branches {
		if branch.Action != "" {
			names = append(names, branch.Action)
		}
	}
	if b.ElseAction != "" {
		names = append(names, b.ElseAction)
	}
	return names
}

// routed is the condition under which a switch routes to a node.
func routed(router, target string) string {
	return router + ".result == '" + strings.ReplaceAll(target, "'", `\'`) + "'"
}
