package pipeline

import (
	"slices"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline/source"
	"github.com/hexdag/hexdag/host/types"
)

// readPipeline reads a document of kind: Pipeline.
func (r *reader) readPipeline(s *source.Section) *Pipeline {
	pl := &Pipeline{File: r.file, Where: s.At.Where(), Graph: &Graph{}, Concurrency: defaultConcurrency}
	s.What = "pipeline"
	s.Text("apiVersion")
	if meta := s.Member("metadata"); meta != nil {
		pl.Name, pl.Namespace, pl.Description = meta.Required("name"), meta.Text("namespace"), meta.Text("description")
	} else {
		r.Add(s.At.Errorf(kernel.CodePipeline, "add metadata: {name: ...}", "a pipeline needs metadata"))
	}
	spec := s.Member("spec")
	if spec == nil {
		r.Add(s.At.Errorf(kernel.CodePipeline, "add spec: {nodes: [...]}", "a pipeline needs spec"))
		return pl
	}
	s.Rest()
	r.readDefinitions(pl, spec)
	if spec.Get("nodes") == nil {
		r.Add(spec.At.Errorf(kernel.CodePipeline, "add nodes: [...]", "spec needs nodes"))
	}
	nodes := r.readNodes(spec.Items("nodes"))
	before := len(r.List())
	pl.Graph = r.connect(nodes, true)
	r.readOrchestrator(pl, spec.Member("orchestrator"))
	r.readAllPorts(pl, spec)
	pl.output = r.readOutput(pl, spec)
	r.checkLocks(pl)
	if len(r.List()) == before {
		r.check(pl)
	}
	r.rest(spec)
	return pl
}

// rest warns of members that nobody knows: hexDAG lets a file carry its own.
func (r *reader) rest(spec *source.Section) {
	if v := spec.Get("common_field_mappings"); v != nil {
		r.Add(v.Errorf(kernel.CodePipeline, "write the mappings into the nodes' input_mapping", "common_field_mappings is no part of the format any more"))
	}
	if v := spec.Get("observers"); v != nil {
		r.Add(v.Errorf(kernel.CodeNotYet, "remove it; an embedding program passes an observer of its own", "observers of a pipeline are not built yet"))
	}
	if v := spec.Get("policies"); v != nil {
		r.warnAt(v, "have the operator configure it under ports: {governance: ...}", "policies has no effect: governance is the operator's, never part of a pipeline's file")
	}
	for _, name := range spec.Unasked() {
		if !slices.Contains([]string{"variables", "environments", "outputs"}, name) {
			at := spec.M.Keys[name]
			if at == nil {
				at = spec.At
			}
			r.warnAt(at, kernel.DidYouMean(name, spec.Asked()), "spec has the member %s, which has no effect", kernel.Quote(name))
		}
	}
}

// readDefinitions reads what the nodes refer to.
func (r *reader) readDefinitions(pl *Pipeline, spec *source.Section) {
	if aliases := spec.Member("aliases"); aliases != nil {
		for _, short := range aliases.M.Names {
			r.readAlias(short, aliases.M.Members[short])
		}
	}
	if v := spec.Get("custom_types"); v != nil {
		plain, _ := v.Plain().(map[string]any)
		registry, err := types.NewRegistry(plain)
		if err != nil {
			r.addAll(err, v)
		} else {
			r.types = registry
		}
	}
	if v := spec.Get("input_schema"); v != nil {
		pl.Input = r.object(v, "input_schema")
	}
	if v := spec.Get("output_schema"); v != nil {
		pl.OutputType = r.object(v, "output_schema")
	}
	pl.Services = r.readServices(spec.Member("services"))
	pl.Machines = r.readMachines(spec.Member("state_machines"))
	pl.Limits = r.readLimits(spec.Member("limits"))
	pl.Caps = r.readCaps(spec.Member("caps"))
	pl.Lock = r.readLock(spec.Get("lock"))
	for _, item := range spec.Items("hooks") {
		if h := r.Open(item, "a hook"); h != nil {
			pl.Hooks = append(pl.Hooks, r.readHook(h))
		}
	}
}

// readAlias takes another name for one of the built-in kinds, or for a macro.
func (r *reader) readAlias(short string, v *source.Value) {
	target, _ := v.Text()
	kind := or(r.macroName(target), r.resolveKind(target))
	if _, known := kinds()[kind]; !known && kind != macroKind && r.macroName(kind) == "" {
		r.Add(v.Errorf(kernel.CodeUnknownKind, "name one of "+strings.Join(kindNames(), ", ")+"; code of your own is a module, and its node a function_node", "alias %s names %s, which is no node kind; import paths run no code here", kernel.Quote(short), kernel.Quote(target)))
		return
	}
	r.aliases[short] = kind
}

func (r *reader) readOrchestrator(pl *Pipeline, s *source.Section) {
	if s == nil {
		return
	}
	if n := s.Positive("max_concurrent_nodes"); n > 0 {
		pl.Concurrency = max(int(n), 1)
	}
	pl.NodeTimeout, pl.Timeout = s.Seconds("default_node_timeout"), s.Seconds("pipeline_timeout")
	s.Flag("strict_validation") // schemas are always enforced
	s.Rest()
}

// readAllPorts reads the ports of the pipeline, of node kinds and of single nodes.
func (r *reader) readAllPorts(pl *Pipeline, spec *source.Section) {
	pl.Ports = r.readPorts(spec.Get("ports"))
	pl.TypePorts, pl.NodePorts = map[string]map[string]PortSpec{}, map[string]map[string]PortSpec{}
	if s := spec.Member("type_ports"); s != nil {
		for _, name := range s.M.Names {
			kind := r.resolveKind(name)
			if _, known := kinds()[kind]; !known {
				r.Add(s.M.Members[name].Errorf(kernel.CodeUnknownKind, kernel.DidYouMean(name, kindNames()), "there is no node kind %s", kernel.Quote(name)))
				continue
			}
			pl.TypePorts[kind] = r.readPorts(s.M.Members[name])
		}
	}
	if s := spec.Member("node_ports"); s != nil {
		for _, name := range s.M.Names {
			if pl.Node(name) == nil {
				r.Add(s.M.Members[name].Errorf(kernel.CodePipeline, kernel.DidYouMean(name, nodeNames(pl.Graph)), "node_ports names %s, which does not exist", kernel.Quote(name)))
				continue
			}
			pl.NodePorts[name] = r.readPorts(s.M.Members[name])
		}
	}
}

func nodeNames(g *Graph) []string {
	names := make([]string, len(g.Nodes))
	for i, n := range g.Nodes {
		names[i] = n.Name
	}
	return names
}

func (r *reader) readOutput(pl *Pipeline, spec *source.Section) map[string]Path {
	s := spec.Member("output")
	if s == nil {
		return nil
	}
	paths := map[string]Path{}
	for _, alias := range s.M.Names {
		at := s.M.Members[alias]
		text := s.Text(alias)
		if only, ok := parseTemplate(text, at).only(); ok {
			text = only.text()
		}
		path := parsePath(text)
		if path == nil {
			r.Add(at.Errorf(kernel.CodePipeline, "write node.field", "output %s must be a path", kernel.Quote(alias)))
			continue
		}
		if pl.Node(path[0]) == nil {
			r.warnAt(at, kernel.DidYouMean(path[0], nodeNames(pl.Graph)), "output %s names %s, which does not exist: it will be null", kernel.Quote(alias), kernel.Quote(path[0]))
		}
		paths[alias] = path
	}
	return paths
}

// readServices reads {name: {module: ...}}, or {class: ...} for hexDAG's own.
func (r *reader) readServices(s *source.Section) map[string]ServiceSpec {
	services := map[string]ServiceSpec{}
	if s != nil {
		for _, name := range s.M.Names {
			if item := s.Member(name); item != nil {
				services[name] = r.readService(name, item)
			}
		}
	}
	for name := range services {
		r.serviceNames = append(r.serviceNames, name)
	}
	slices.Sort(r.serviceNames)
	return services
}

func (r *reader) readService(name string, s *source.Section) ServiceSpec {
	s.What = "service " + kernel.Quote(name)
	spec := ServiceSpec{Where: s.At.Where(), Module: s.Text("module")}
	class := s.Get("class")
	s.Get("config")
	s.Rest()
	if class == nil {
		if spec.Module == "" {
			r.Add(s.At.Errorf(kernel.CodePipeline, "add module: name, a module whose tools are the service's methods", "%s needs module", s.What))
		}
		return spec
	}
	path, _ := class.Text()
	own, std := stdClass(path)
	builtin := snake(own)
	if !std {
		builtin = path
	}
	if !slices.Contains(builtins, builtin) {
		r.Add(class.Errorf(kernel.CodePipeline, "build it as a module whose tools are its methods, and write module: name", "class %s is an import path, and import paths run no code here", kernel.Quote(path)))
	}
	spec.Builtin = builtin
	return spec
}

// readLimits reads what a run may spend. 0 allows none.
func (r *reader) readLimits(s *source.Section) kernel.Limits {
	limits := kernel.Limits{Warning: 0.8}
	if s == nil {
		return limits
	}
	limits.LLMCalls, limits.ToolCalls, limits.Tokens, limits.CostUSD = s.Bound("max_llm_calls"), s.Bound("max_tool_calls"), s.Bound("max_total_tokens"), s.Bound("max_cost_usd")
	if w := s.Bound("warning_threshold"); w != nil {
		limits.Warning = *w
	}
	s.Rest()
	return limits
}

// readCaps reads what a run may do at all.
func (r *reader) readCaps(s *source.Section) kernel.CapSet {
	var set kernel.CapSet
	if s == nil {
		return set
	}
	if v := s.Get("default_set"); v != nil {
		set = kernel.CapSet{Allowed: r.capabilities(s.Texts("default_set"), v)}
	}
	if v := s.Get("deny"); v != nil {
		set.Denied = r.capabilities(s.Texts("deny"), v)
	}
	s.Get("profiles") // for whoever spawns: they name who may use which
	s.Rest()
	return set
}

func (r *reader) capabilities(names []string, at *source.Value) []kernel.Capability {
	list := make([]kernel.Capability, 0, len(names))
	for _, name := range names {
		if name == "*" {
			return kernel.Capabilities()
		}
		c := kernel.Capability(name)
		if !slices.Contains(kernel.Capabilities(), c) {
			known := make([]string, 0, 12)
			for _, k := range kernel.Capabilities() {
				known = append(known, string(k))
			}
			r.Add(at.Errorf(kernel.CodePipeline, kernel.DidYouMean(name, known), "there is no capability %s", kernel.Quote(name)))
			continue
		}
		list = append(list, c)
	}
	return list
}

// builtins are the services that the host has.
var builtins = []string{"pipeline_memory", "entity_state", "process_registry", "pipeline_spawner", "scheduler", "central_agent", "database_tools"}
