package pipeline

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/hexdag/hexdag/host/expr"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline/source"
	"github.com/hexdag/hexdag/host/template"
	"github.com/hexdag/hexdag/host/types"
)

// Options says how to read a file. The zero value is usable.
type Options struct {
	// Environment picks the pipeline of that metadata.namespace; "" takes the first.
	Environment string
	// Env answers for the environment variables that the file may read; nil has none.
	Env source.Env

	read   func(file string, text []byte) // is told of every file that is read; may be nil
	nested bool                           // a system or a body names the file, which then holds no system itself
	nodes  *int                           // how many were read, in this file and those that it names
}

// File is what a file holds: a pipeline or a system.
type File struct {
	Pipeline *Pipeline
	System   *System
}

// Load reads and checks a pipeline file. Its error joins everything that is
// wrong with the file.
func Load(file string, opts Options) (*Pipeline, error) {
	f, err := Read(file, opts)
	if err != nil {
		return nil, err
	}
	return f.only(file)
}

// Read is Load for a file that holds a pipeline or a system.
func Read(file string, opts Options) (*File, error) {
	docs, err := source.Load(file, opts.read)
	if err != nil {
		return nil, err
	}
	return read(file, docs, opts)
}

// Parse is Load for text that has been read already; file names it in errors.
func Parse(file string, text []byte, opts Options) (*Pipeline, error) {
	docs, err := source.Parse(file, text)
	if err != nil {
		return nil, err
	}
	f, err := read(file, docs, opts)
	if err != nil {
		return nil, err
	}
	return f.only(file)
}

func (f *File) only(file string) (*Pipeline, error) {
	if f.Pipeline == nil {
		return nil, &kernel.Error{Code: kernel.CodePipeline, What: "the file holds a system, not a pipeline", Where: kernel.Where{File: file}, Fix: "run it as a system, or name one of its pipelines"}
	}
	return f.Pipeline, nil
}

// reader reads the documents of one file.
type reader struct {
	*source.Problems
	file         string
	opts         Options
	aliases      map[string]string
	macros       map[string]*macro
	adapters     map[string]PortSpec
	stacks       map[string][]MiddlewareSpec
	types        *types.Registry
	serviceNames []string
	groupsByName map[string]*group
	warnings     []*kernel.Error
	files        []string               // the body files that are being read
	depth        int                    // of bodies and macros
	functions    []string               // of expressions
	definitions  func() (string, error) // see Node.definitions
}

func newReader(file string, opts Options) *reader {
	if opts.Env == nil {
		opts.Env = func(string) (string, bool) { return "", false }
	}
	if opts.nodes == nil {
		opts.nodes = new(int)
	}
	registry, _ := types.NewRegistry(nil) // without custom types nothing can be wrong
	return &reader{
		Problems: &source.Problems{Code: kernel.CodePipeline}, file: file, opts: opts, types: registry, aliases: map[string]string{}, macros: map[string]*macro{},
		functions: expr.Functions(), adapters: map[string]PortSpec{}, stacks: map[string][]MiddlewareSpec{}, groupsByName: map[string]*group{},
	}
}

func (r *reader) warn(n *Node, what, fix string) {
	where := n.Where
	where.Node = n.Name
	r.warnings = append(r.warnings, &kernel.Error{Code: kernel.CodePipeline, What: what, Where: where, Fix: fix})
}

func (r *reader) warnAt(v *source.Value, fix, format string, args ...any) {
	r.warnings = append(r.warnings, v.Errorf(kernel.CodePipeline, fix, format, args...))
}

func read(file string, docs []*source.Value, opts Options) (*File, error) {
	r := newReader(file, opts)
	f := r.readDocuments(docs)
	if err := r.Err(); err != nil {
		return nil, err
	}
	switch {
	case f.Pipeline != nil:
		f.Pipeline.Warnings = r.warnings
	case f.System != nil:
		f.System.Warnings = r.warnings
		for _, p := range f.System.Processes {
			f.System.Warnings = append(f.System.Warnings, p.Pipeline.Warnings...)
		}
	}
	return f, nil
}

// kindsOfDocuments are hexDAG's.
func kindsOfDocuments() []string {
	return []string{"Pipeline", "System", "Macro", "Config", "Adapter", "Middleware"}
}

// readDocuments reads what pipelines refer to first, then the one that is wanted.
func (r *reader) readDocuments(docs []*source.Value) *File {
	var pipelines, systems []*source.Section
	others := false
	resolved := make([]*source.Value, 0, len(docs))
	for _, doc := range docs {
		doc = r.Substitute(doc, r.opts.Env)
		if textOf(doc.Member("kind")) == "Pipeline" {
			doc = r.renderDocument(doc)
		}
		resolved = append(resolved, doc)
		s := r.Open(doc, "a document")
		if s == nil {
			others = true
			continue
		}
		switch kind := s.Required("kind"); kind {
		case "Pipeline":
			pipelines = append(pipelines, s)
		case "System":
			systems = append(systems, s)
		case "Macro":
			r.readMacro(s)
			others = true
		case "Adapter":
			r.readAdapterDocument(s)
		case "Middleware":
			r.readMiddlewareDocument(s)
		case "Config":
			r.Add(s.Get("kind").Errorf(kernel.CodePipeline, "keep it in a file of its own and pass it with --config", "a Config is the operator's, not part of a pipeline's file"))
		case "":
		default:
			r.Add(s.Get("kind").Errorf(kernel.CodePipeline, kernel.DidYouMean(kind, kindsOfDocuments()), "there is no kind %s", kernel.Quote(kind)))
		}
	}
	r.definitions = definitionsOf(resolved)
	switch {
	case len(systems) > 0 && r.opts.nested:
		return &File{} // whoever names the file says that it is no pipeline
	case len(systems) > 0:
		return &File{System: r.readSystem(systems[0])}
	case len(pipelines) > 0:
		if chosen := r.choose(pipelines); chosen != nil {
			return &File{Pipeline: r.readPipeline(chosen)}
		}
	case others && r.Err() == nil:
		return &File{Pipeline: &Pipeline{File: r.file, Name: r.file, Graph: &Graph{}, Concurrency: defaultConcurrency}}
	case r.Err() == nil:
		r.Add(&kernel.Error{Code: kernel.CodeSyntax, What: "the file holds no pipeline", Where: kernel.Where{File: r.file}, Fix: "start it with apiVersion: hexdag/v1 and kind: Pipeline"})
	}
	return &File{}
}

// textOf returns a string; "" for anything else.
func textOf(v *source.Value) string {
	if v == nil {
		return ""
	}
	text, _ := v.Text()
	return text
}

// choose picks the pipeline of the wanted environment.
func (r *reader) choose(pipelines []*source.Section) *source.Section {
	var names []string
	for _, s := range pipelines {
		name := ""
		if meta := s.M.Members["metadata"]; meta != nil {
			name = textOf(meta.Member("namespace"))
		}
		if r.opts.Environment != "" && name == r.opts.Environment {
			return s
		}
		names = append(names, name)
	}
	if r.opts.Environment != "" {
		names = slices.DeleteFunc(names, func(n string) bool { return n == "" })
		r.Add(pipelines[0].At.Errorf(kernel.CodePipeline, "the file has "+or(strings.Join(names, ", "), "none: give its pipelines a metadata.namespace"), "there is no environment %s", kernel.Quote(r.opts.Environment)))
		return nil
	}
	if len(pipelines) > 1 {
		r.warnAt(pipelines[0].At, "name one with --env: "+strings.Join(names, ", "), "the file holds %d pipelines; the first was taken", len(pipelines))
	}
	return pipelines[0]
}

// renderDocument fills in the build-time templates of a pipeline's document, with
// the document itself in scope. The specs of its nodes are left for the run.
func (r *reader) renderDocument(doc *source.Value) *source.Value {
	plain, _ := doc.Plain().(map[string]any)
	return r.renderIn(doc, expr.Map(plain), true)
}

func (r *reader) renderIn(v *source.Value, scope expr.Scope, top bool) *source.Value {
	switch t := v.V.(type) {
	case string:
		return r.renderString(v, t, scope)
	case []*source.Value:
		list := make([]*source.Value, len(t))
		for i, item := range t {
			list[i] = r.renderIn(item, scope, false)
		}
		return v.With(list)
	case *source.Mapping:
		_, isNode := t.Members["kind"]
		m := source.NewMapping()
		for _, name := range t.Names {
			item := t.Members[name]
			if left := name == "outputs" || isNode && !top && name == "spec"; !left {
				item = r.renderIn(item, scope, false)
			}
			m.Put(name, t.Keys[name], item)
		}
		return v.With(m)
	}
	return v
}

func (r *reader) renderString(v *source.Value, text string, scope expr.Scope) *source.Value {
	if !strings.Contains(text, "{{") && !strings.Contains(text, "{%") {
		return v
	}
	t, err := template.Parse(text)
	if err == nil {
		var rendered string
		if rendered, err = t.Render(scope); err == nil {
			return v.With(template.Coerce(rendered))
		}
	}
	r.Add(placed(err, v))
	return v
}

// bodyFile reads the pipeline that a body_pipeline names: a file below this one's folder.
func (r *reader) bodyFile(v *source.Value) *Inner {
	name, ok := v.Text()
	if !ok || !filepath.IsLocal(filepath.FromSlash(name)) {
		r.Add(v.Errorf(kernel.CodePipeline, "write a path relative to this file, below its folder", "body_pipeline must name a file"))
		return nil
	}
	file := filepath.Join(filepath.Dir(r.file), filepath.FromSlash(name))
	if slices.Contains(r.files, file) || len(r.files) >= maxNested {
		r.Add(v.Errorf(kernel.CodePipeline, "remove one of them", "body_pipelines go in a circle: %s", kernel.Quote(strings.Join(append(r.files, file), " -> "))))
		return nil
	}
	docs, err := source.Load(file, r.opts.read)
	if err != nil {
		r.Add(placed(err, v))
		return nil
	}
	opts := r.opts
	opts.nested = true
	inner := newReader(file, opts)
	inner.files = append(slices.Clone(r.files), r.file, file)
	f := inner.readDocuments(docs)
	r.warnings = append(r.warnings, inner.warnings...)
	if err := inner.Err(); err != nil {
		r.Join(inner.Problems)
		return nil
	}
	p, err := f.only(file)
	if err != nil {
		r.Add(placed(err, v))
		return nil
	}
	return &Inner{Name: name, Graph: p.Graph, Output: p.output}
}
