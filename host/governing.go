package host

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/hexdag/hexdag/host/extension/policy"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline"
	"github.com/hexdag/hexdag/host/ports/governance"
	"github.com/hexdag/hexdag/host/ports/governance/driver"
)

// governing is who decides: the backends that the configuration names, as they are open.
type governing struct {
	host *Host
	spec pipeline.PortSpec
	port *governance.Port

	changing sync.Mutex // one change after the other
	tree     *backends  // what the port asks

	mu      sync.Mutex     // of the nodes' uses
	retired sync.WaitGroup // trees that were replaced, until they are closed
}

// backends are those that decide together: one, or those within it. They are closed
// together, but for those that the next ones share.
type backends struct {
	root  driver.Driver
	nodes map[string]*backendNode // by their names, as "" or "platform" or "live/platform"
}

// backendNode is one backend.
type backendNode struct {
	driver driver.Driver
	policy *policy.Policy // of an adapter rego
	key    string         // the file of the key that its file has to be signed with
	files  []string       // files and folders that it was read from
	close  []func() error
	uses   int
}

// revision is "" where the backend cannot tell.
func (n *backendNode) revision() string {
	if r, ok := n.driver.(driver.Revisioner); ok {
		return r.Revision()
	}
	return ""
}

// changed returns the names of the backends whose rules are not those of an older tree, or may
// not be: all of them, those that a shadow's answer does not depend on, too.
func (b *backends) changed(old *backends) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(b.nodes)) {
		n, was := b.nodes[name], old.nodes[name]
		if n != was && (was == nil || n.revision() == "" || n.revision() != was.revision()) {
			names = append(names, name)
		}
	}
	return names
}

func (n *backendNode) closing(f func() error) { n.close = append(n.close, f) }

// deciding opens the backends of a tree.
type deciding struct {
	host  *Host
	ctx   context.Context
	where kernel.Where
	tree  *backends
	name  string       // of the backend that is opened
	node  *backendNode // it
	// old is what the tree takes the place of; nil at first. Of its backends are kept, as they
	// are, those that keep says.
	old   *backends
	keep  func(name string) bool
	patch func(*policy.Policy) (*policy.Policy, error) // of a policy that is not kept; nil reads it anew
}

func openGoverning(ctx context.Context, h *Host, spec pipeline.PortSpec) (*governing, error) {
	g := &governing{host: h, spec: spec}
	tree, err := g.open(deciding{ctx: ctx})
	if err != nil {
		return nil, err
	}
	g.tree, g.port = tree, governance.New(tree.root, governance.Options{Auditor: h.audit, Arguments: h.config.Audit.Arguments})
	return g, nil
}

// open opens a tree of backends, all or none.
func (g *governing) open(o deciding) (*backends, error) {
	o.host, o.where, o.tree = g.host, g.spec.Where, &backends{nodes: map[string]*backendNode{}}
	d, err := o.open("", orElse(g.spec.Adapter, "allow_all"), g.spec.Config)
	if err != nil {
		err = place(err, g.spec.Where)
		if unreleased := g.release(o.tree); unreleased != nil {
			err = errors.Join(err, unreleased)
		}
		return nil, err
	}
	o.tree.root = d
	return o.tree, nil
}

// open opens a backend within another, or keeps the one that there was.
func (o deciding) open(name, adapter string, config map[string]any) (driver.Driver, error) {
	open, known := deciders()[adapter]
	if !known {
		return nil, &kernel.Error{Code: kernel.CodeConfig, What: "port governance has no adapter " + kernel.Quote(adapter), Fix: "known are " + strings.Join(slices.Sorted(maps.Keys(deciders())), ", ")}
	}
	if o.name = strings.TrimPrefix(o.name+"/"+name, "/"); o.old != nil && o.keep(o.name) {
		return o.kept(), nil
	}
	if _, twice := o.tree.nodes[o.name]; twice {
		return nil, &kernel.Error{Code: kernel.CodeConfig, What: "two policies have the name " + kernel.Quote(o.name), Fix: "give each a name of its own"}
	}
	o.node = &backendNode{uses: 1}
	o.tree.nodes[o.name] = o.node
	d, err := open(o, config)
	o.node.driver = d
	return d, err
}

// kept takes over a backend and those within it.
func (o deciding) kept() driver.Driver {
	g := o.host.governing
	g.mu.Lock()
	defer g.mu.Unlock()
	for name, n := range o.old.nodes {
		if partOf(name, o.name) {
			n.uses++
			o.tree.nodes[name] = n
		}
	}
	return o.old.nodes[o.name].driver
}

// partOf reports whether a backend is another, or within it.
func partOf(name, other string) bool {
	return other == "" || name == other || strings.HasPrefix(name, other+"/")
}

// release closes the backends that no tree has any more, the outer before the inner:
// a shadow still asks its candidate.
func (g *governing) release(tree *backends) error {
	var closing []*backendNode
	g.mu.Lock()
	for _, name := range slices.SortedFunc(maps.Keys(tree.nodes), func(a, b string) int { return cmp.Or(len(a)-len(b), cmp.Compare(a, b)) }) {
		n := tree.nodes[name]
		if n.uses--; n.uses == 0 {
			closing = append(closing, n)
		}
	}
	g.mu.Unlock()
	var problems []error
	for _, n := range closing {
		for _, f := range n.close {
			problems = append(problems, f())
		}
	}
	return errors.Join(problems...)
}

// close closes what decides.
func (g *governing) close(ctx context.Context) error {
	g.changing.Lock()
	defer g.changing.Unlock()
	if g.tree == nil {
		return nil
	}
	tree := g.tree
	g.tree = nil
	err := g.release(tree)
	g.retired.Wait()
	if g.host.policies != nil {
		err = errors.Join(err, g.host.policies.Close(ctx))
	}
	return err
}
