package lint

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline"
	"github.com/hexdag/hexdag/host/pipeline/source"
)

// places finds the value of a file that a node was read from.
type places struct {
	values map[kernel.Where]*source.Value
}

// note remembers the mappings in v, and tells file of the files that they stand in.
func (p *places) note(v *source.Value, file func(string)) {
	if p.values == nil {
		p.values = map[kernel.Where]*source.Value{}
	}
	file(v.File)
	switch t := v.V.(type) {
	case []*source.Value:
		for _, item := range t {
			p.note(item, file)
		}
	case *source.Mapping:
		if p.values[v.Where()] == nil {
			p.values[v.Where()] = v
		}
		for _, name := range t.Names {
			p.note(t.Members[name], file)
		}
	}
}

// member returns the place of a member of the mapping at a place, or else that place.
func (p *places) member(at kernel.Where, path ...string) kernel.Where {
	found := p.values[kernel.Where{File: at.File, Line: at.Line, Column: at.Column}]
	for _, name := range path {
		if found != nil {
			found = found.Member(name)
		}
	}
	if found == nil {
		return at
	}
	where := found.Where()
	where.Node = at.Node
	return where
}

// pipeline applies the rules that need a checked pipeline.
func (l *linter) pipeline(p *pipeline.Pipeline) {
	if p == nil {
		return
	}
	p.Walk(func(n *pipeline.Node) { // the files of bodies, which the pipeline's own does not include
		if !slices.Contains(l.scanned, n.Where.File) {
			l.load(n.Where.File)
		}
	})
	if !slices.Contains(l.scanned, p.File) {
		l.load(p.File)
	}
	l.warned(p.Warnings)
	if p.Description == "" && p.Where.Line > 0 {
		l.add(Description, l.sources.member(p.Where, "metadata"), "pipeline "+kernel.Quote(p.Name)+" has no description", "add metadata: {description: ...}")
	}
	l.lock(p.Lock)
	l.graph(p, p.Graph, p.NodeTimeout)
	l.unused(p.Graph, outputs(p))
}

// graph applies the rules to the nodes of a graph and of the bodies in it. timeout
// is that of nodes that name none.
func (l *linter) graph(p *pipeline.Pipeline, g *pipeline.Graph, timeout time.Duration) {
	for _, n := range g.Nodes {
		at := n.Where
		at.Node = n.Name
		l.named(n, at)
		l.lock(n.Lock)
		switch b := n.Body.(type) {
		case *pipeline.LLM, *pipeline.Agent:
			l.asking(p, n, at, timeout)
		case *pipeline.Composite:
			inner := p.NodeTimeout
			if b.NodeTimeout > 0 {
				inner = b.NodeTimeout
			}
			for _, body := range b.Bodies() {
				if body.Graph != nil {
					l.graph(p, body.Graph, inner)
					l.unused(body.Graph, nil)
				}
			}
		}
	}
}

// lock finds one that is waited for as long as the run lives.
func (l *linter) lock(lock *pipeline.Lock) {
	if lock != nil && lock.Timeout == nil {
		l.add(Lock, lock.Where, "the lock "+kernel.Quote(lock.Name.Source())+" has no timeout", "write lock: {name: ..., timeout: seconds}: a run that cannot have the lock then says so, and who holds it")
	}
}

var snakeCase = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)

func (l *linter) named(n *pipeline.Node, at kernel.Where) {
	if n.Description == "" {
		l.add(Description, l.sources.member(at, "metadata"), "node "+kernel.Quote(n.Name)+" has no description", "add metadata: {description: ...}")
	}
	if !snakeCase.MatchString(n.Name) {
		l.add(Name, l.sources.member(at, "metadata", "name"), "the name of node "+kernel.Quote(n.Name)+" is not in snake_case", "write lower-case letters, digits and single _, such as "+kernel.Quote(snake(n.Name)))
	}
}

// snake suggests a name.
func snake(name string) string {
	var b strings.Builder
	for i, c := range name {
		upper := c >= 'A' && c <= 'Z'
		if c == '-' {
			c = '_'
		}
		if upper && i > 0 && name[i-1] >= 'a' && name[i-1] <= 'z' {
			b.WriteByte('_')
		}
		b.WriteString(strings.ToLower(string(c)))
	}
	parts := strings.FieldsFunc(b.String(), func(c rune) bool { return c == '_' })
	return strings.Join(parts, "_")
}

// asking applies the rules about nodes that ask a model. What the pipeline itself
// puts around its llm port counts.
func (l *linter) asking(p *pipeline.Pipeline, n *pipeline.Node, at kernel.Where, timeout time.Duration) {
	var stack []string
	for _, ports := range []map[string]pipeline.PortSpec{p.NodePorts[n.Name], p.TypePorts[n.Kind], p.Ports} {
		if spec, ok := ports["llm"]; ok {
			for _, m := range spec.Middleware {
				stack = append(stack, plain(m.Name))
			}
			break
		}
	}
	if n.Timeout == 0 && timeout == 0 && !slices.Contains(stack, "timeout") {
		l.add(Timeout, at, "node "+kernel.Quote(n.Name)+" asks a model and has no timeout", "add timeout: 60 to its spec, or default_node_timeout to spec.orchestrator")
	}
	if b, is := n.Body.(*pipeline.Agent); is && b.Central != nil {
		return // what it has started it would start again
	}
	if n.Retry.Attempts < 2 && !slices.Contains(stack, "retrywithbackoff") {
		l.add(Retry, at, "node "+kernel.Quote(n.Name)+" asks a model and is not tried again when that fails", "add max_retries: 3 to its spec, or RetryWithBackoff to the middleware of its llm port")
	}
}

// plain is how the names of a middleware are compared: by their last part alone.
func plain(name string) string {
	return strings.ToLower(strings.ReplaceAll(name[strings.LastIndexByte(name, '.')+1:], "_", ""))
}

// outputs returns the nodes that the pipeline's output names.
func outputs(p *pipeline.Pipeline) []string {
	var names []string
	for _, path := range p.OutputPaths() {
		names = append(names, path[0])
	}
	return names
}

// unused reports the nodes that are there for their result alone, and whose result
// nothing uses. Without an output, what nothing waits for is a result.
func (l *linter) unused(g *pipeline.Graph, output []string) {
	used := map[string]bool{}
	for _, name := range output {
		used[name] = true
	}
	for _, n := range g.Nodes {
		n.References(func(ref pipeline.Reference) {
			if ref.Path[0] != n.Name {
				used[ref.Path[0]] = true
			}
		})
		if takesAll(n) {
			for _, name := range n.Receives() {
				used[name] = true
			}
		}
	}
	for _, n := range g.Nodes {
		if used[n.Name] || hasEffect(n) || len(output) == 0 && len(n.Dependents()) == 0 {
			continue
		}
		at := n.Where
		at.Node = n.Name
		l.add(Unused, at, "nothing uses the result of node "+kernel.Quote(n.Name), "name it in another node or in spec.output, or remove the node")
	}
}

// takesAll reports whether a node uses what it is given without naming it: a
// function, a service and an agent take it whole, and a field of the one result
// that it is given is named without the node's name.
func takesAll(n *pipeline.Node) bool {
	switch b := n.Body.(type) {
	case *pipeline.Function, *pipeline.Agent:
		return true
	case *pipeline.ServiceCall, *pipeline.ToolCall, *pipeline.ToolExecutor, *pipeline.ToolResults:
		return n.MappedNames() == nil
	case *pipeline.Compute:
		if b.Merge != nil {
			return true
		}
	case *pipeline.Composite:
		if slices.ContainsFunc(b.Bodies(), func(i pipeline.NamedInner) bool {
			return i.Function != nil || i.Graph != nil && slices.ContainsFunc(i.Graph.Nodes, takesAll)
		}) {
			return true
		}
	}
	if n.MappedNames() != nil || len(n.DependsOn) != 1 {
		return false
	}
	field := false
	n.References(func(ref pipeline.Reference) {
		switch root := ref.Path[0]; {
		case root == "ctx", root == "input", strings.HasPrefix(root, "$"), root == n.DependsOn[0]:
		default:
			field = true
		}
	})
	return field
}

// hasEffect reports whether a node does more than to answer.
func hasEffect(n *pipeline.Node) bool {
	switch b := n.Body.(type) {
	case *pipeline.Data, *pipeline.Compute, *pipeline.LLM, *pipeline.ToolParser, *pipeline.ToolResults:
		return false
	case *pipeline.Composite:
		return b.Route || slices.ContainsFunc(b.Bodies(), func(i pipeline.NamedInner) bool {
			return i.Function != nil || i.Graph != nil && slices.ContainsFunc(i.Graph.Nodes, hasEffect)
		})
	}
	return true
}
