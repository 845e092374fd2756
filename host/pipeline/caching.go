package pipeline

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline/source"
)

// Caching says that what a node answered is taken again where nothing has changed
// that its answer depends on.
type Caching struct {
	Key   *Template // what of that which the node is given counts; nil: all of it
	TTL   time.Duration
	Scope CacheScope
	// SideEffects says that a node's answer may be taken again though the node changes
	// something outside, which is then not done again.
	SideEffects bool
	Where       kernel.Where
}

// CacheScope says for whom an answer is kept. None reaches beyond the tenant.
type CacheScope string

// The scopes.
const (
	CacheForPrincipal CacheScope = "principal" // whoever the run is of; the default
	CacheForRun       CacheScope = "run"
	CacheForTenant    CacheScope = "tenant" // governance is asked at each hit
)

func (c *Caching) visit(f func(Reference)) {
	if c != nil {
		c.Key.visit(f)
	}
}

// readCaching reads cache: true, or {key, ttl, scope, side_effects}; nil without one.
func (r *reader) readCaching(v *source.Value) *Caching {
	if v == nil {
		return nil
	}
	c := &Caching{Where: v.Where(), Scope: CacheForPrincipal}
	if on, ok := v.V.(bool); ok {
		if !on {
			return nil
		}
		return c
	}
	s := r.Open(v, "cache")
	if s == nil {
		return nil
	}
	c.Key, c.TTL, c.SideEffects = r.template(s, "key"), s.Seconds("ttl"), s.Flag("side_effects")
	if scope := s.Text("scope"); scope != "" {
		c.Scope = CacheScope(scope)
	}
	known := []CacheScope{CacheForPrincipal, CacheForRun, CacheForTenant}
	if !slices.Contains(known, c.Scope) {
		r.Add(s.Get("scope").Errorf(r.Code, "write principal, run or tenant", "there is no scope %s", kernel.Quote(string(c.Scope))))
	}
	s.Rest()
	return c
}

// checkCaching refuses to keep what is different in each run, and what changes something outside.
func (r *reader) checkCaching(n *Node) {
	c := n.Cache
	if c == nil {
		return
	}
	refuse := func(why, fix string) {
		r.Add(&kernel.Error{Code: kernel.CodePipeline, What: "what node " + kernel.Quote(n.Name) + " answers cannot be kept", Where: c.Where, Why: why, Fix: fix})
	}
	if _, waits := n.Body.(*Wait); waits {
		refuse("it waits for an event, which comes once", "remove cache")
	}
	if does := n.changes(); does != "" && !c.SideEffects {
		refuse("it "+does+", which would not be done again", "remove cache, or write side_effects: true in it if once is enough")
	}
	if c.Key != nil || c.Scope == CacheForRun {
		return
	}
	n.visit(func(ref Reference) {
		if ref.Path[0] == "ctx" && (len(ref.Path) == 1 || ref.Path[1] == "run_id") {
			refuse("it names "+ref.text()+", which is another in each run", "write key: in cache with what of the node's input counts, or scope: run")
		}
	})
}

// changes says what a node of that kind changes outside; "" is nothing that can be
// told from the file.
func (n *Node) changes() string {
	switch b := n.Body.(type) {
	case *Transition:
		return "moves an entity"
	case *APICall:
		if b.Method != http.MethodGet && b.Method != http.MethodHead {
			return "sends a " + b.Method
		}
	}
	return ""
}

// Configuration returns the digest of all that the file says of how a node comes to its
// answer: its spec but for cache, those of the nodes inside of it, and what the file defines
// beside its nodes.
func (n *Node) Configuration() ([sha256.Size]byte, error) {
	all := sha256.New()
	if err := n.describe(func(v kernel.Value) error {
		text, err := kernel.AppendJSON(nil, v)
		all.Write(append(text, '\n'))
		return err
	}); err != nil {
		return [sha256.Size]byte{}, err
	}
	return [sha256.Size]byte(all.Sum(nil)), nil
}

func (n *Node) describe(write func(kernel.Value) error) error {
	spec := map[string]any{}
	if n.spec != nil {
		spec, _ = n.spec.At.With(n.spec.M).Plain().(map[string]any)
		delete(spec, "cache")
	}
	definitions, err := n.definitions()
	if err != nil {
		return err
	}
	key := ""
	if n.Cache != nil && n.Cache.Key != nil {
		key = n.Cache.Key.Source()
	}
	if err := write([]any{n.Kind, n.Name, spec, key, definitions}); err != nil {
		return err
	}
	b, ok := n.Body.(*Composite)
	if !ok {
		return nil
	}
	for _, inner := range b.inners() {
		if inner.Graph == nil {
			continue
		}
		for _, within := range inner.Graph.Nodes {
			if err := within.describe(write); err != nil {
				return err
			}
		}
	}
	return nil
}

// definitionsOf returns what digests what a file holds beside the nodes of its pipelines: ports,
// services, types, macros, adapters.
func definitionsOf(docs []*source.Value) func() (string, error) {
	return sync.OnceValues(func() (string, error) {
		all := sha256.New()
		for _, doc := range docs {
			fields, _ := doc.Plain().(map[string]any)
			if spec, ok := fields["spec"].(map[string]any); ok && fields["kind"] == "Pipeline" {
				for _, own := range []string{"nodes", "output", "outputs"} {
					delete(spec, own)
				}
				delete(fields, "metadata")
			}
			text, err := kernel.AppendJSON(nil, fields)
			if err != nil {
				return "", doc.Errorf(kernel.CodePipeline, "write values that JSON has", "the document is no JSON: %s", kernel.Quote(err.Error()))
			}
			all.Write(append(text, '\n'))
		}
		return hex.EncodeToString(all.Sum(nil)), nil
	})
}
