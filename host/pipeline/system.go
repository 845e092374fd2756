package pipeline

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline/source"
)

// readSystem reads a document of kind: System and the pipelines that it names.
func (r *reader) readSystem(s *source.Section) *System {
	sys := &System{File: r.file, Where: s.At.Where(), OnEnter: map[string]string{}, OnEdge: map[string]string{}}
	s.What = "system"
	s.Text("apiVersion")
	if meta := s.Member("metadata"); meta != nil {
		sys.Name, sys.Description = meta.Required("name"), meta.Text("description")
	} else {
		r.Add(s.At.Errorf(kernel.CodePipeline, "add metadata: {name: ...}", "a system needs metadata"))
	}
	spec := s.Member("spec")
	s.Rest()
	if spec == nil {
		r.Add(s.At.Errorf(kernel.CodePipeline, "add spec: {processes: [...]}", "a system needs spec"))
		return sys
	}
	sys.Ports = r.readPorts(spec.Get("ports"))
	sys.Services = r.readServices(spec.Member("services"))
	sys.Machines = r.readMachines(spec.Member("state_machines"))
	for _, item := range spec.Items("processes") {
		if p := r.readProcess(item); p != nil {
			sys.Processes = append(sys.Processes, p)
		}
	}
	if len(sys.Processes) == 0 {
		r.Add(spec.At.Errorf(kernel.CodePipeline, "add processes: [{name: ..., pipeline: file.yaml}]", "a system needs processes"))
	}
	pipes := r.readPipes(sys, spec.Items("pipes"))
	r.readStates(sys, spec)
	if v := spec.Get("transaction"); v != nil {
		if mode, _ := v.Text(); mode != "unified" {
			r.Add(v.Errorf(kernel.CodeNotYet, "write transaction: unified, or leave it out", "transaction %s is not built yet: a process that fails leaves the entity in its old state", kernel.Quote(mode)))
		}
	}
	spec.Get("gc")
	spec.Get("memory")
	spec.Rest("observers")
	if len(sys.Machines) == 0 {
		r.order(sys, pipes)
	}
	return sys
}

func (r *reader) readProcess(v *source.Value) *Process {
	s := r.Open(v, "a process")
	if s == nil {
		return nil
	}
	p := &Process{Name: s.Required("name")}
	s.What = "process " + kernel.Quote(p.Name)
	file := s.Required("pipeline")
	for _, known := range []string{"input_schema", "output_schema", "ports", "policies"} {
		if extra := s.Get(known); extra != nil {
			r.warnAt(extra, "write it into the pipeline's own file", "%s of a process has no effect", known)
		}
	}
	s.Rest()
	if file == "" {
		return p
	}
	at := s.Get("pipeline")
	if !filepath.IsLocal(filepath.FromSlash(file)) {
		r.Add(at.Errorf(kernel.CodePipeline, "write a path relative to this file, below its folder", "pipeline %s lies outside this file's folder", kernel.Quote(file)))
		return p
	}
	opts := r.opts
	opts.nested, opts.outer = true, r.definitions
	pipeline, err := Load(filepath.Join(filepath.Dir(r.file), filepath.FromSlash(file)), opts)
	if err != nil {
		r.addAll(err, at)
		return p
	}
	p.Pipeline = pipeline
	return p
}

func (r *reader) process(sys *System, s *source.Section, name string) *Process {
	wanted := s.Required(name)
	names := make([]string, len(sys.Processes))
	for i, p := range sys.Processes {
		if p.Name == wanted {
			return p
		}
		names[i] = p.Name
	}
	if at := s.Get(name); at != nil {
		r.Add(at.Errorf(kernel.CodePipeline, kernel.DidYouMean(wanted, names), "there is no process %s", kernel.Quote(wanted)))
	}
	return nil
}

// readPipes reads [{from, to, mapping}] and returns the edges by process.
func (r *reader) readPipes(sys *System, items []*source.Value) map[string][]string {
	edges := map[string][]string{}
	for _, item := range items {
		s := r.Open(item, "a pipe")
		if s == nil {
			continue
		}
		from, to := r.process(sys, s, "from"), r.process(sys, s, "to")
		pipe := &Pipe{}
		if m := s.Member("mapping"); m != nil {
			for _, field := range m.M.Names {
				pipe.Mapping = append(pipe.Mapping, r.readPipeField(sys, field, m.M.Members[field]))
			}
		}
		s.Rest()
		switch {
		case from == nil || to == nil:
		case from == to:
			r.Add(item.Errorf(kernel.CodePipeline, "name another process", "a pipe leads from process %s to itself", kernel.Quote(from.Name)))
		default:
			pipe.From = from.Name
			to.Pipes = append(to.Pipes, pipe)
			edges[to.Name] = append(edges[to.Name], from.Name)
		}
	}
	return edges
}

func (r *reader) readPipeField(sys *System, name string, v *source.Value) PipeField {
	text, isText := v.Text()
	f := PipeField{Name: name, isText: isText, literal: v.Plain()}
	if !isText {
		return f
	}
	f.Template = parseTemplate(text, v)
	for _, ref := range f.Template.refs {
		p := slices.IndexFunc(sys.Processes, func(p *Process) bool { return p.Name == ref.Path[0] })
		if p < 0 || len(ref.Path) != 2 {
			r.Add(v.Errorf(kernel.CodePipeline, "write {{ process.node }}", "mapping %s names %s, which is no node of a process", kernel.Quote(name), kernel.Quote(ref.text())))
			continue
		}
		if pl := sys.Processes[p].Pipeline; pl != nil && pl.Node(ref.Path[1]) == nil {
			r.Add(v.Errorf(kernel.CodePipeline, kernel.DidYouMean(ref.Path[1], nodeNames(pl.Graph)), "process %s has no node %s", kernel.Quote(ref.Path[0]), kernel.Quote(ref.Path[1])))
		}
	}
	return f
}

// order sorts the processes: one after all that it is piped from, and by name
// among those that could be next. Without pipes the file's order stays.
func (r *reader) order(sys *System, edges map[string][]string) {
	if len(edges) == 0 {
		return
	}
	left := slices.Clone(sys.Processes)
	slices.SortFunc(left, func(a, b *Process) int { return strings.Compare(a.Name, b.Name) })
	var sorted []*Process
	done := map[string]bool{}
	for len(left) > 0 {
		next := slices.IndexFunc(left, func(p *Process) bool {
			return !slices.ContainsFunc(edges[p.Name], func(from string) bool { return !done[from] })
		})
		if next < 0 {
			r.Add(&kernel.Error{Code: kernel.CodePipeline, What: "the pipes of system " + kernel.Quote(sys.Name) + " go in a circle", Where: sys.Where, Fix: "remove one of them"})
			return
		}
		done[left[next].Name] = true
		sorted = append(sorted, left[next])
		left = slices.Delete(left, next, next+1)
	}
	sys.Processes = sorted
}

// readStates reads what happens to an entity that enters a state, or goes from one to another: by the names of states, of all types that
// have them, or by TYPE.STATE.
func (r *reader) readStates(sys *System, spec *source.Section) {
	if states := spec.Member("states"); states != nil {
		for _, name := range states.M.Names {
			if s := states.Member(name); s != nil {
				r.readState(sys, name, s)
			}
		}
	}
	if edges := spec.Member("on_transition"); edges != nil {
		for _, name := range edges.M.Names {
			if s := edges.Member(name); s != nil {
				r.readEdgeProcess(sys, name, s)
			}
		}
	}
}

func (r *reader) readState(sys *System, name string, s *source.Section) {
	of, state := sys.having(name)
	switch {
	case len(of) == 0:
		r.Add(s.At.Errorf(kernel.CodePipeline, "name a state of one of the state_machines", "there is no state %s", kernel.Quote(name)))
	case len(of) > 1:
		r.warnAt(s.At, "write "+kernel.Quote(of[0].Entity+"."+state)+" for one of them", "state %s is of %d types of entities, and what is said of it of all of them", kernel.Quote(name), len(of))
	}
	if s.Get("on_enter") != nil {
		if p := r.process(sys, s, "on_enter"); p != nil {
			sys.OnEnter[name] = p.Name
		}
	}
	requires, terminal := s.Texts("requires"), s.Flag("terminal")
	s.Rest("on_exit")
	for _, m := range of {
		m.Requires[state] = append(m.Requires[state], requires...)
		if terminal {
			m.Terminal = append(m.Terminal, state)
		}
	}
}

func (r *reader) readEdgeProcess(sys *System, name string, s *source.Section) {
	from, to, ok := strings.Cut(name, "->")
	from, to = strings.TrimSpace(from), strings.TrimSpace(to)
	of, state := sys.having(from)
	of = slices.DeleteFunc(of, func(m *Machine) bool { return !slices.Contains(m.States, to) })
	if !ok || len(of) == 0 {
		r.Add(s.At.Errorf(kernel.CodePipeline, `write "FROM -> TO" with states of the state_machines`, "on_transition %s is no transition", kernel.Quote(name)))
	}
	if len(of) > 1 {
		r.warnAt(s.At, "write "+kernel.Quote(of[0].Entity+"."+state+" -> "+to)+" for one of them", "on_transition %s is of %d types of entities, and its process of all of them", kernel.Quote(name), len(of))
	}
	if p := r.process(sys, s, "process"); p != nil {
		sys.OnEdge[from+" -> "+to] = p.Name
	}
	s.Rest()
}

// having returns the machines that have a state, and the state's name without that of its type.
func (s *System) having(name string) (of []*Machine, state string) {
	for _, m := range s.Machines {
		if slices.Contains(m.States, name) {
			of = append(of, m)
		}
	}
	if of != nil {
		return of, name
	}
	for _, m := range s.Machines {
		if own, ok := strings.CutPrefix(name, m.Entity+"."); ok && slices.Contains(m.States, own) {
			return []*Machine{m}, own
		}
	}
	return nil, name
}

// ProcessOf returns the process that a transition asks for; "" is none. What is said of the one type wins over what is said of all, and a
// transition over the state that it leads to.
func (s *System) ProcessOf(entity, from, to string) string {
	for _, name := range []string{s.OnEdge[entity+"."+from+" -> "+to], s.OnEdge[from+" -> "+to], s.OnEnter[entity+"."+to], s.OnEnter[to]} {
		if name != "" {
			return name
		}
	}
	return ""
}
