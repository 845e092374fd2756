package pipeline

import (
	"slices"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline/source"
)

// PortSpec says what serves a port: an adapter with its configuration, or a pool
// of them, and the middleware around it.
type PortSpec struct {
	Adapter    string
	Config     map[string]any
	Pool       []PortSpec // not empty: these serve the port, by the strategy
	Strategy   string     // round_robin or failover
	Middleware []MiddlewareSpec
	Labels     *PortLabels // nil: nothing is said of them
	Where      kernel.Where
}

// MiddlewareSpec is one wrapper around a port; the first of a list is innermost.
type MiddlewareSpec struct {
	Name   string
	Params map[string]any
	Where  kernel.Where
}

// readPorts reads {port: spec}.
func (r *reader) readPorts(v *source.Value) map[string]PortSpec {
	if v == nil {
		return nil
	}
	s := r.Open(v, "ports")
	if s == nil {
		return nil
	}
	specs := map[string]PortSpec{}
	for _, name := range s.M.Names {
		if port := s.Member(name); port != nil {
			port.What = "port " + kernel.Quote(name)
			specs[name] = r.readPort(port)
		}
	}
	return specs
}

func (r *reader) readPort(s *source.Section) PortSpec {
	spec := PortSpec{Where: s.At.Where(), Strategy: s.Text("strategy")}
	pool := s.Get("adapters")
	switch {
	case pool != nil:
		r.readPool(s, &spec, pool)
	default:
		r.readAdapter(s, &spec)
		if v := s.Get("strategy"); v != nil {
			r.Add(v.Errorf(r.Code, "add adapters: [...], or remove it", "strategy is for a pool"))
		}
	}
	if v := s.Get("middleware"); v != nil {
		spec.Middleware = append(spec.Middleware, r.readMiddleware(v)...)
	}
	spec.Labels = r.readPortLabels(s.Member("labels"))
	s.Rest()
	return spec
}

func (r *reader) readPool(s *source.Section, spec *PortSpec, pool *source.Value) {
	for _, other := range []string{"adapter", "ref", "name", "config", "params"} {
		if v := s.Get(other); v != nil {
			r.Add(v.Errorf(r.Code, "remove it, or adapters", "%s and adapters exclude each other", other))
		}
	}
	items, _ := pool.V.([]*source.Value)
	if len(items) == 0 {
		r.Add(pool.Errorf(r.Code, "list at least one {adapter: ...}", "adapters must be a list that is not empty"))
	}
	for _, item := range items {
		if member := r.Open(item, "an adapter of the pool"); member != nil {
			inner := PortSpec{Where: item.Where()}
			r.readAdapter(member, &inner)
			member.Rest()
			spec.Pool = append(spec.Pool, inner)
		}
	}
	if known := []string{"round_robin", "failover"}; spec.Strategy == "" {
		spec.Strategy = known[0]
	} else if !slices.Contains(known, spec.Strategy) {
		r.Add(s.Get("strategy").Errorf(r.Code, kernel.DidYouMean(spec.Strategy, known), "there is no strategy %s", kernel.Quote(spec.Strategy)))
	}
}

// readAdapter reads adapter and config, a reference to a kind: Adapter, or the
// older name and params.
func (r *reader) readAdapter(s *source.Section, spec *PortSpec) {
	spec.Config = map[string]any{}
	name, ref := first(s, "adapter", "name"), s.Get("ref")
	config := first(s, "config", "params")
	switch {
	case ref != nil && name != nil:
		r.Add(ref.Errorf(r.Code, "remove one of them", "adapter and ref exclude each other"))
	case ref != nil:
		text, _ := ref.Text()
		known, ok := r.adapters[text]
		if !ok {
			names := make([]string, 0, len(r.adapters))
			for n := range r.adapters {
				names = append(names, n)
			}
			r.Add(ref.Errorf(r.Code, kernel.DidYouMean(text, names), "there is no kind: Adapter called %s", kernel.Quote(text)))
		}
		spec.Adapter, spec.Config = known.Adapter, known.Config
	case name == nil:
		r.Add(s.At.Errorf(r.Code, "add adapter: ...", "%s needs adapter", s.What))
	default:
		spec.Adapter = r.adapterName(name)
	}
	if config != nil {
		if plain, ok := config.Plain().(map[string]any); ok {
			merged := map[string]any{}
			for k, v := range spec.Config {
				merged[k] = v
			}
			for k, v := range plain {
				merged[k] = v
			}
			spec.Config = merged
		} else {
			r.Add(config.Errorf(r.Code, "write name: value lines", "config must be a mapping, this is %s", config.TypeName()))
		}
	}
}

// adapterName takes an adapter's alias, or the path of one of hexDAG's own classes.
func (r *reader) adapterName(v *source.Value) string {
	text, ok := v.Text()
	if !ok {
		r.Add(v.Errorf(r.Code, "write its name", "adapter must be a string, this is %s", v.TypeName()))
	}
	if class, std := stdClass(text); std {
		return class
	}
	if strings.Contains(text, ".") {
		r.Add(v.Errorf(r.Code, "name one of the adapters of README, Configuration; code of your own is a module", "adapter %s is an import path, and import paths run no code here", kernel.Quote(text)))
	}
	return text
}

// readMiddleware reads a list of names or {name: parameters}, one name, or the
// name of a kind: Middleware.
func (r *reader) readMiddleware(v *source.Value) []MiddlewareSpec {
	if text, ok := v.Text(); ok {
		if stack, named := r.stacks[text]; named {
			return stack
		}
		return []MiddlewareSpec{{Name: text, Where: v.Where()}}
	}
	items, ok := v.V.([]*source.Value)
	if !ok {
		r.Add(v.Errorf(r.Code, "write a list of names or {name: {parameter: value}}", "middleware must be a list, this is %s", v.TypeName()))
		return nil
	}
	var stack []MiddlewareSpec
	for _, item := range items {
		m, isMapping := item.V.(*source.Mapping)
		switch {
		case isMapping && len(m.Names) == 1:
			params, _ := m.Members[m.Names[0]].Plain().(map[string]any)
			stack = append(stack, MiddlewareSpec{Name: m.Names[0], Params: params, Where: item.Where()})
		case isMapping:
			r.Add(item.Errorf(r.Code, "write {name: {parameter: value}}", "a middleware has one name"))
		default:
			stack = append(stack, r.readMiddleware(item)...)
		}
	}
	return stack
}

// readAdapterDocument reads a document of kind: Adapter.
func (r *reader) readAdapterDocument(s *source.Section) {
	s.What = "adapter"
	s.Text("apiVersion")
	meta, spec := s.Member("metadata"), s.Member("spec")
	s.Rest()
	if meta == nil || spec == nil {
		r.Add(s.At.Errorf(kernel.CodePipeline, "add metadata: {name: ...} and spec: {class: ...}", "an Adapter needs metadata and spec"))
		return
	}
	a := PortSpec{Where: s.At.Where(), Config: map[string]any{}}
	if class := spec.Get("class"); class != nil {
		a.Adapter = r.adapterName(class)
	} else {
		r.Add(spec.At.Errorf(kernel.CodePipeline, "add class: ...", "an Adapter needs class"))
	}
	if c := spec.Get("config"); c != nil {
		a.Config, _ = c.Plain().(map[string]any)
	}
	spec.Get("capabilities")
	spec.Rest()
	r.adapters[meta.Required("name")] = a
}

// readMiddlewareDocument reads a document of kind: Middleware.
func (r *reader) readMiddlewareDocument(s *source.Section) {
	s.What = "middleware"
	s.Text("apiVersion")
	meta, spec := s.Member("metadata"), s.Member("spec")
	s.Rest()
	if meta == nil || spec == nil || spec.Get("stack") == nil {
		r.Add(s.At.Errorf(kernel.CodePipeline, "add metadata: {name: ...} and spec: {stack: [...]}", "a Middleware needs metadata and a stack"))
		return
	}
	r.stacks[meta.Required("name")] = r.readMiddleware(spec.Get("stack"))
	spec.Rest()
}
