package pipeline

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
)

// Pipeline is a checked graph. It is immutable and can run any number of times at once.
type Pipeline struct {
	File        string
	Name        string
	Description string
	Nodes       []*Node // in the file's order
	Ports       map[string]PortSpec
	Concurrency int           // nodes of one run at once
	NodeTimeout time.Duration // of nodes that name none
	Timeout     time.Duration // of a run; 0 means none

	output map[string]reference
}

// PortSpec says which adapter serves a port, with what configuration.
type PortSpec struct {
	Adapter string
	Config  map[string]any
	Where   kernel.Where
}

// Defaults of hexDAG's orchestrator.
const (
	defaultConcurrency = 10
	defaultNodeTimeout = 60 * time.Second
)

// Waves returns how many layers the graph has.
func (p *Pipeline) Waves() int {
	waves := 0
	for _, n := range p.Nodes {
		waves = max(waves, n.Wave)
	}
	return waves
}

// Output picks the pipeline's output from the nodes' results; what is missing is null.
func (p *Pipeline) Output(results map[string]kernel.Value) map[string]kernel.Value {
	out := make(map[string]kernel.Value, len(p.output))
	for alias, ref := range p.output {
		v, _ := ref.resolve(&Scope{Results: results})
		out[alias] = v
	}
	return out
}

// Load reads and checks a pipeline file. Its error joins everything that is
// wrong with the file.
func Load(file string) (*Pipeline, error) {
	docs, err := readFile(file)
	if err != nil {
		return nil, err
	}
	return read(file, docs)
}

// Parse is Load for text that has been read already; file names it in errors.
func Parse(file string, text []byte) (*Pipeline, error) {
	docs, err := parse(file, text)
	if err != nil {
		return nil, err
	}
	return read(file, docs)
}

func read(file string, docs []*value) (*Pipeline, error) {
	p := &problems{code: kernel.CodePipeline}
	var found *section
	for _, doc := range docs {
		s := p.open(doc, "a document")
		if s == nil {
			continue
		}
		switch kind := s.required("kind"); kind {
		case "Pipeline":
			if found != nil {
				p.add(doc.errorf(kernel.CodeNotYet, "keep one pipeline in a file", "several pipelines in a file are not built yet"))
			}
			found = s
		case "System", "Macro", "Adapter", "Middleware":
			p.add(s.get("kind").errorf(kernel.CodeNotYet, "README lists under 'Not yet' what is still to come", "kind %s is part of hexDAG and not built yet", kind))
		case "Config":
			p.add(s.get("kind").errorf(kernel.CodePipeline, "keep it in a file of its own and pass it with --config", "a Config is the operator's, not part of a pipeline's file"))
		case "":
		default:
			p.add(s.get("kind").errorf(kernel.CodePipeline, didYouMean(kind, []string{"Pipeline", "System", "Macro", "Config", "Adapter", "Middleware"}), "there is no kind %s", kernel.Quote(kind)))
		}
	}
	if found == nil {
		if len(p.list) == 0 {
			p.add(&kernel.Error{Code: kernel.CodeSyntax, What: "the file holds no pipeline", Where: kernel.Where{File: file}, Fix: "start it with apiVersion: hexdag/v1 and kind: Pipeline"})
		}
		return nil, p.err()
	}
	pipeline := p.readPipeline(file, found)
	if err := p.err(); err != nil {
		return nil, err
	}
	return pipeline, nil
}

func (p *problems) readPipeline(file string, s *section) *Pipeline {
	pl := &Pipeline{File: file, Concurrency: defaultConcurrency, NodeTimeout: defaultNodeTimeout}
	s.text("apiVersion")
	if meta := s.member("metadata"); meta != nil {
		pl.Name, pl.Description = meta.required("name"), meta.text("description")
	} else {
		p.add(s.at.errorf(kernel.CodePipeline, "add metadata: {name: ...}", "a pipeline needs metadata"))
	}
	spec := s.member("spec")
	if spec == nil {
		p.add(s.at.errorf(kernel.CodePipeline, "add spec: {nodes: [...]}", "a pipeline needs spec"))
		return pl
	}
	s.rest()
	if spec.get("nodes") == nil {
		p.add(spec.at.errorf(kernel.CodePipeline, "add nodes: [...]", "spec needs nodes"))
	}
	for _, item := range spec.items("nodes") {
		if n := p.readNode(item); n != nil {
			pl.Nodes = append(pl.Nodes, n)
		}
	}
	p.connect(pl.Nodes)
	p.readOrchestrator(pl, spec.member("orchestrator"))
	pl.Ports = p.readPorts(spec)
	pl.output = p.readOutput(spec)
	spec.rest("type_ports", "policies", "aliases", "custom_types", "services", "state_machines", "observers", "input_schema", "output_schema", "limits", "caps", "variables", "environments", "outputs")
	return pl
}

func (p *problems) readOrchestrator(pl *Pipeline, s *section) {
	if s == nil {
		return
	}
	if n := s.positive("max_concurrent_nodes"); n > 0 {
		pl.Concurrency = max(int(n), 1)
	}
	if d := s.seconds("default_node_timeout"); d > 0 {
		pl.NodeTimeout = d
	}
	pl.Timeout = s.seconds("pipeline_timeout")
	s.flag("strict_validation")
	s.rest()
}

func (p *problems) readPorts(spec *section) map[string]PortSpec {
	v := spec.get("ports")
	if v == nil {
		return nil
	}
	s := p.open(v, "ports")
	if s == nil {
		return nil
	}
	specs := map[string]PortSpec{}
	for _, name := range s.m.names {
		port := s.member(name)
		if port == nil {
			continue
		}
		ps := PortSpec{Where: port.at.where(), Adapter: port.required("adapter"), Config: map[string]any{}}
		if c := port.member("config"); c != nil {
			ps.Config, _ = c.at.plain().(map[string]any)
		}
		port.rest("ref", "adapters", "strategy", "middleware", "name", "params")
		specs[name] = ps
	}
	return specs
}

func (p *problems) readOutput(spec *section) map[string]reference {
	s := spec.member("output")
	if s == nil {
		return nil
	}
	refs := map[string]reference{}
	for _, alias := range s.m.names {
		text := s.text(alias)
		ref, ok := parseReference(text)
		if !ok {
			p.add(s.m.members[alias].errorf(kernel.CodePipeline, "write node.field", "output %s must be a path", kernel.Quote(alias)))
			continue
		}
		refs[alias] = ref
	}
	return refs
}

// String describes the graph: the nodes of each wave, and what they depend on.
func (p *Pipeline) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d nodes in %d waves\n", p.Name, len(p.Nodes), p.Waves())
	nodes := slices.SortedFunc(slices.Values(p.Nodes), func(a, b *Node) int {
		if a.Wave != b.Wave {
			return a.Wave - b.Wave
		}
		return strings.Compare(a.Name, b.Name)
	})
	for _, n := range nodes {
		fmt.Fprintf(&b, "  %d  %-20s %s", n.Wave, n.Name, n.Kind)
		if len(n.DependsOn) > 0 {
			b.WriteString(" after " + strings.Join(n.DependsOn, ", "))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// Modules returns the names of the modules that the nodes run, sorted.
func (p *Pipeline) Modules() []string {
	names := map[string]bool{}
	for _, n := range p.Nodes {
		if f, ok := n.Body.(*Function); ok {
			names[f.Module] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}
