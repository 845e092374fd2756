package pipeline

import (
	"slices"
	"strings"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline/source"
	"github.com/hexdag/hexdag/host/types"
)

// Node is one checked node of a graph.
type Node struct {
	Name        string
	Kind        string
	Description string
	Where       kernel.Where
	Index       int      // in the graph's Nodes
	DependsOn   []string // sorted
	Wave        int      // from 1
	Retry       Retry
	Timeout     time.Duration // of each attempt; 0 means the pipeline's default
	When        *Condition    // nil: always
	OnError     string        // the node that goes on where this one fails
	Critical    bool          // to be skipped is to fail
	Required    []string      // fields of what it is given that must not be null
	Hooks       []string      // modules around this node, outermost first
	Lock        *Lock         // what it holds while it works; may be nil
	Cache       *Caching      // where its answer is kept for the next time; may be nil
	Input       *types.Object // what it is given is held to; may be nil
	Output      *types.Object // what it answers is held to; may be nil
	Body        Body

	deps      []int
	next      []int
	spec      *source.Section
	explicit  bool     // it names its dependencies itself
	declared  []string // what dependencies names, in the order of the file
	waits     []string // what wait_for names
	mapping   *mapped  // of input_mapping; nil without one
	strict    bool
	group     *group   // the macro that it comes from
	names     []string // what its body names first in paths
	ancestors []string // all that it depends on, however indirectly; for a mapping that adds
	services  []string
	// definitions digests what its file holds beside nodes.
	definitions func() (string, error)

	reads      []int // see Reads
	readsInput bool
}

// Dependencies returns the indexes of the nodes that this one waits for.
func (n *Node) Dependencies() []int { return n.deps }

// Dependents returns the indexes of the nodes that wait for this one.
func (n *Node) Dependents() []int { return n.next }

// Condition is a when clause.
type Condition struct {
	*Expression
	Text string
}

// Retry says how often and when a node is tried again.
type Retry struct {
	Attempts int // in all, at least 1
	Delay    time.Duration
	Backoff  float64
	MaxDelay time.Duration
}

// After returns how long to wait after a failed attempt, counted from 1.
func (r Retry) After(attempt int) time.Duration {
	d := float64(r.Delay)
	for range attempt - 1 {
		if d *= r.Backoff; d >= float64(r.MaxDelay) {
			break
		}
	}
	return min(time.Duration(d), r.MaxDelay)
}

// Body is what a node does.
type Body interface {
	// visit calls f with every reference of the body.
	visit(f func(Reference))
}

// kind reads the spec of a node.
type kind func(r *reader, n *Node) Body

// kinds maps every name of a node kind to its reader.
func kinds() map[string]kind {
	return map[string]kind{
		"llm_node": readLLM, "agent_node": readAgent, "central_agent_node": readCentralAgent, "function_node": readFunctionNode, "expression_node": readExpression, "data_node": readData,
		"service_call_node": readServiceCall, "tool_call_node": readToolCall, "api_call_node": readAPICall, "composite_node": readComposite, "transition": readTransition, "wait_node": readWait,
		"tool_parser_node": readToolParser, "tool_executor_node": readToolExecutor, "tool_results_node": readToolResults,
	}
}

// kindAliases maps the other names that hexDAG has for node kinds.
func kindAliases() map[string]string {
	return map[string]string{
		"re_act_agent_node": "agent_node", "static_node": "data_node", "transition_node": "transition", "macro_node": macroKind, "macro_invocation": macroKind,
	}
}

// macroKind is the kind of a node that stands for a macro's.
const macroKind = "macro_invocation"

func kindNames() []string {
	names := []string{macroKind}
	for name := range kinds() {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// resolveKind returns the built-in name of a kind: through the file's aliases,
// which win, hexDAG's own, a core: prefix, or a class of hexDAG's by its path.
func (r *reader) resolveKind(name string) string {
	if target, ok := r.aliases[name]; ok && target != name {
		name = target
	}
	name = strings.TrimPrefix(name, "core:")
	if class, ok := stdClass(name); ok {
		name = snake(class)
	}
	if target, ok := kindAliases()[name]; ok {
		return target
	}
	return name
}

// stdClass returns the class that a dotted path into hexDAG's own packages names.
func stdClass(path string) (string, bool) {
	if !strings.HasPrefix(path, "hexdag.") {
		return "", false
	}
	return path[strings.LastIndexByte(path, '.')+1:], true
}

// snake turns LLMNode into llm_node.
func snake(class string) string {
	var b strings.Builder
	upper := func(i int) bool { return i >= 0 && i < len(class) && class[i] >= 'A' && class[i] <= 'Z' }
	for i := range len(class) {
		c := class[i]
		if upper(i) {
			if i > 0 && (!upper(i-1) || i+1 < len(class) && !upper(i+1)) {
				b.WriteByte('_')
			}
			c += 'a' - 'A'
		}
		b.WriteByte(c)
	}
	return b.String()
}

// readNode reads one entry of a list of nodes; nil if it is no node at all.
func (r *reader) readNode(v *source.Value) *Node {
	s := r.Open(v, "a node")
	if s == nil {
		return nil
	}
	n := &Node{Where: v.Where(), services: r.serviceNames, definitions: r.definitions}
	written := s.Required("kind")
	n.Kind = r.resolveKind(written)
	if meta := s.Member("metadata"); meta != nil {
		n.Name, n.Description = meta.Required("name"), meta.Text("description")
	} else {
		r.Add(v.Errorf(kernel.CodePipeline, "add metadata: {name: ...}", "a node needs metadata"))
	}
	r.checkName(n, s)
	explicit, waits := s.Get("dependencies"), s.Texts("wait_for")
	settings := s.Get("settings")
	r.checkNodeLevel(s)
	n.spec = r.specOf(n, s, settings)
	read, known := kinds()[n.Kind]
	if !known && written != "" {
		r.unknownKind(s, written)
		return n
	}
	if n.spec == nil || read == nil {
		return n
	}
	r.readCommon(n)
	if explicit == nil {
		explicit = n.spec.Get("dependencies")
	}
	waits = append(waits, n.spec.Texts("wait_for")...)
	n.Body = read(r, n)
	n.spec.Rest()
	r.checkCaching(n)
	if explicit != nil {
		n.explicit = true
		n.declared = r.names(explicit, "dependencies")
	}
	n.waits = waits
	n.DependsOn = slices.Concat(waits, n.declared)
	return n
}

func (r *reader) unknownKind(s *source.Section, written string) {
	at := s.Get("kind")
	if r.notBuilt(at, r.resolveKind(written)) {
		return
	}
	if strings.Contains(written, ".") {
		r.Add(at.Errorf(kernel.CodeUnknownKind, "build it as a module that exports node_run, configure the module, and write kind: function_node with fn: module", "there is no node kind %s; import paths run no code here", kernel.Quote(written)))
		return
	}
	known := kindNames()
	known = append(known, r.macroNames()...)
	r.Add(at.Errorf(kernel.CodeUnknownKind, kernel.DidYouMean(written, known), "there is no node kind %s", kernel.Quote(written)))
}

// names reads a list of names that is not a member of an open section any more.
func (r *reader) names(v *source.Value, what string) []string {
	m := source.NewMapping()
	m.Put(what, nil, v)
	return (&source.Section{Problems: r.Problems, At: v, M: m, What: what}).Texts(what)
}

func (r *reader) checkName(n *Node, s *source.Section) {
	switch n.Name {
	case "":
	case "ctx", "input", "$input", "state":
		r.Add(s.At.Errorf(kernel.CodePipeline, "choose another", "%s is a reserved name", n.Name))
	default:
		path := parsePath(strings.ReplaceAll(n.Name, "-", "_"))
		if len(path) != 1 || strings.HasPrefix(n.Name, "$") {
			r.Add(s.At.Errorf(kernel.CodePipeline, "use letters, digits, _ and -", "%s is no name for a node", kernel.Quote(n.Name)))
		}
	}
}

// checkNodeLevel refuses at node level what belongs inside spec.
func (r *reader) checkNodeLevel(s *source.Section) {
	legal := []string{"kind", "metadata", "spec", "settings", "dependencies", "wait_for"}
	for _, name := range s.M.Names {
		if !slices.Contains(legal, name) {
			at := s.M.Keys[name]
			if at == nil {
				at = s.At
			}
			r.Add(at.Errorf(kernel.CodePipeline, "move it inside spec", "%s is not a valid node-level field", kernel.Quote(name)))
		}
	}
}

// specOf returns the spec with the settings under it.
func (r *reader) specOf(n *Node, s *source.Section, settings *source.Value) *source.Section {
	what := "spec of node " + kernel.Quote(n.Name)
	v := s.Get("spec")
	if v == nil {
		v = s.At.With(source.NewMapping())
	}
	spec := r.Open(v, what)
	if spec == nil || settings == nil {
		return spec
	}
	if under := r.Open(settings, "settings"); under != nil {
		merged := spec.M.Clone()
		merged.Merge(settings)
		spec.M = merged
	}
	return spec
}

// readCommon reads the members that every kind of node has.
func (r *reader) readCommon(n *Node) {
	s := n.spec
	n.Retry = Retry{Attempts: max(int(s.Positive("max_retries")), 1), Delay: s.Seconds("retry_delay"), Backoff: s.Positive("retry_backoff"), MaxDelay: s.Seconds("retry_max_delay")}
	if n.Retry.Delay == 0 {
		n.Retry.Delay = time.Second
	}
	if n.Retry.Backoff == 0 {
		n.Retry.Backoff = 2
	}
	if n.Retry.MaxDelay == 0 {
		n.Retry.MaxDelay = time.Minute
	}
	if n.Kind != "wait_node" { // whose timeout is how long it waits
		n.Timeout = s.Seconds("timeout")
	}
	n.OnError, n.Critical, n.Required, n.Hooks = s.Text("on_error"), s.Flag("critical"), s.Texts("required_inputs"), s.Texts("hooks")
	n.Lock, n.Cache = r.readLock(s.Get("lock")), r.readCaching(s.Get("cache"))
	if v := s.Get("when"); v != nil {
		n.When = r.condition(v, "when")
	}
	if v := s.Get("input_schema"); v != nil {
		n.Input = r.object(v, "input_schema")
	}
	n.strict = s.Flag("strict_mapping")
	r.readMapping(n)
}

func (r *reader) readMapping(n *Node) {
	s := n.spec
	if v := s.Get("input_mapping"); v != nil {
		if _, ok := v.V.(*source.Mapping); !ok {
			r.Add(v.Errorf(kernel.CodePipeline, "write name: path lines", "input_mapping must be a mapping, this is %s", v.TypeName()))
		} else {
			n.mapping = r.parseMapped(v)
		}
	}
	if n.strict && n.mapping == nil {
		r.Add(s.At.Errorf(kernel.CodePipeline, "add input_mapping, or remove strict_mapping", "strict_mapping needs input_mapping"))
	}
}

// condition reads an expression that counts as true or false. YAML's own booleans
// are taken too.
func (r *reader) condition(v *source.Value, what string) *Condition {
	text, ok := v.Text()
	if b, isBool := v.V.(bool); isBool {
		text, ok = map[bool]string{true: "True", false: "False"}[b], true
	}
	if !ok {
		r.Add(v.Errorf(kernel.CodePipeline, "write an expression in quotes", "%s must be an expression, this is %s", what, v.TypeName()))
		return nil
	}
	program := r.expression(v, text)
	if program == nil {
		return nil
	}
	return &Condition{Expression: program, Text: text}
}

func (c *Condition) visit(f func(Reference)) {
	if c != nil {
		c.Expression.visit(f)
	}
}

// first returns the first member of these names that is there.
func first(s *source.Section, names ...string) *source.Value {
	var found *source.Value
	for _, name := range names {
		if v := s.Get(name); v != nil && found == nil {
			found = v
		}
	}
	return found
}

// template reads the first member of these names as a template; nil without one.
func (r *reader) template(s *source.Section, names ...string) *Template {
	v := first(s, names...)
	if v == nil {
		return nil
	}
	text, ok := v.Text()
	if !ok {
		r.Add(v.Errorf(kernel.CodePipeline, "write text", "%s must be a string, this is %s", names[0], v.TypeName()))
	}
	return parseTemplate(text, v)
}

// object reads a schema: {field: type}, or a JSON Schema of an object.
func (r *reader) object(v *source.Value, what string) *types.Object {
	m, ok := v.V.(*source.Mapping)
	if !ok {
		r.Add(v.Errorf(kernel.CodePipeline, "write field: type lines", "%s must be a mapping, this is %s", what, v.TypeName()))
		return nil
	}
	plain, _ := v.Plain().(map[string]any)
	o, err := r.types.Object(plain, m.Names)
	if err != nil {
		r.addAll(err, v)
		return nil
	}
	return o
}
