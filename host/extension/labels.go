package extension

import (
	"context"
	"slices"
	"sync"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/sandbox"
)

// Labels are what an operator says of a module's answers. They carry what went into
// the call and what the module read meanwhile in any case.
type Labels struct {
	Result *kernel.Labels            // of all that it answers; nil adds nothing
	Tools  map[string]*kernel.Labels // of single tools, in place of Result
	kernel.Relabel
	AnyTool *kernel.Labels // of tools, as the operator says of those of all modules
}

// ofTool returns the labels of what a tool answers. Those of all tools are not the module's where it endorses, nor a tool's of which something else
// is said.
func (l *Labels) ofTool(name string) *kernel.Labels {
	of, named := l.Tools[name]
	switch {
	case named:
		return of
	case l.Endorse:
		return l.Result
	}
	return l.Result.Join(l.AnyTool)
}

// checkLabels refuses labels of tools that the module does not have: somebody would
// rely on them.
func (m *version) checkLabels() error {
	var names []string
	if m.Manifest() != nil {
		for _, t := range m.Manifest().Tools {
			names = append(names, t.Name)
		}
	}
	for tool := range m.owner.spec.Labels.Tools {
		if !slices.Contains(names, tool) {
			return &kernel.Error{Code: kernel.CodeConfig, What: "labels of module " + kernel.Quote(m.Name()) + " name a tool that it does not have: " + kernel.Quote(tool), Fix: kernel.DidYouMean(tool, names)}
		}
	}
	return nil
}

// answered gives an answer of the module's own its labels: the module's word for it counts,
// if the operator lets it give one. An error is not its word, whatever it says.
func (m *version) answered(ctx context.Context, tool string, err error) {
	flow := kernel.FlowFrom(ctx)
	if flow == nil {
		return
	}
	l := &m.owner.spec.Labels
	if err == nil {
		flow.Relabel(l.Relabel)
	}
	said, source := l.Result, "module:"+m.Name()
	if tool != "" {
		said, source = l.ofTool(tool), "tool:"+m.Name()+"."+tool
	}
	if said != nil {
		flow.Join(said.From(source))
	}
}

// judged is answered for a hook: a value that it gives in place of another is its own.
func (m *version) judged(ctx context.Context, v *kernel.Verdict, err error) {
	if err == nil && (v.Action == kernel.Replace || v.Action == kernel.Skip) {
		m.answered(ctx, "", nil)
	}
}

// said are the labels of what the module answers as a port, or in the place of one. It
// takes none off there: the flow is its caller's.
func (m *version) said() *kernel.Labels {
	return m.owner.spec.Labels.Result.From("module:" + m.Name())
}

// residue is what the state of a module that is not put back after every call can
// hold: what one call learned the next may tell.
type residue struct {
	mu   sync.Mutex
	runs map[string]*kernel.Labels
	all  *kernel.Labels
}

func (r *residue) forget(run string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.runs, run)
}

// remind has a call learn what the module's state can hold. It is for while the call has its
// instance: by then whoever had it before has remembered.
func (m *Module) remind(ctx context.Context) {
	flow := kernel.FlowFrom(ctx)
	if flow == nil {
		return
	}
	m.residue.mu.Lock()
	defer m.residue.mu.Unlock()
	if m.spec.Isolation == sandbox.Shared {
		flow.Join(m.residue.all)
	} else if run := kernel.RunFrom(ctx); run != nil {
		flow.Join(m.residue.runs[run.RunID])
	}
}

// remember notes what a call has learned, before anybody else gets the instance.
func (m *Module) remember(ctx context.Context) {
	learned := kernel.FlowFrom(ctx).Labels()
	if learned == nil {
		return
	}
	m.residue.mu.Lock()
	defer m.residue.mu.Unlock()
	if m.spec.Isolation == sandbox.Shared {
		m.residue.all = m.residue.all.Join(learned)
		return
	}
	if run := kernel.RunFrom(ctx); run != nil {
		if m.residue.runs == nil {
			m.residue.runs = map[string]*kernel.Labels{}
		}
		m.residue.runs[run.RunID] = m.residue.runs[run.RunID].Join(learned)
	}
}
