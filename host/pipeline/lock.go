package pipeline

import (
	"math"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline/source"
)

// Lock is the lock that a node, or a whole run, holds while it works.
type Lock struct {
	Name    *Template
	Timeout *float64      // seconds to wait for it, 0 not at all; nil until the run's time is up
	TTL     time.Duration // after which it ends if this host dies; 0 is the port's default
	Permits int           // how many may hold it at once; 0 is 1
	Where   kernel.Where
}

func (l *Lock) visit(f func(Reference)) {
	if l != nil {
		l.Name.visit(f)
	}
}

// readLock reads lock, a name or {name, timeout, ttl, permits}; nil without one.
func (r *reader) readLock(v *source.Value) *Lock {
	if v == nil {
		return nil
	}
	l := &Lock{Where: v.Where()}
	if text, ok := v.V.(string); ok {
		l.Name = parseTemplate(text, v)
		return l
	}
	s := r.Open(v, "lock")
	if s == nil {
		return nil
	}
	if l.Name = r.template(s, "name"); l.Name == nil {
		r.Add(v.Errorf(r.Code, "add name: ...", "lock needs name"))
		l.Name = parseTemplate("", v)
	}
	l.Timeout, l.TTL, l.Permits = s.Bound("timeout"), s.Seconds("ttl"), s.Amount("permits")
	if l.Permits > math.MaxInt32 {
		r.Add(s.Get("permits").Errorf(r.Code, "give a smaller number", "permits is too large"))
	}
	s.Rest()
	return l
}

// checkLocks refuses locks that a run would wait for in vain, and those that nobody can hold for long.
func (r *reader) checkLocks(pl *Pipeline) {
	pl.Walk(func(n *Node) {
		if _, waits := n.Body.(*Wait); waits && n.Lock != nil {
			r.Add(&kernel.Error{Code: kernel.CodePipeline, What: "node " + kernel.Quote(n.Name) + " holds no lock while it waits", Where: n.Lock.Where, Why: "a run that waits for an event is suspended, and holds none", Fix: "give the lock to the nodes that work"})
		}
	})
	if pl.Lock == nil || pl.Lock.Permits > 1 {
		return
	}
	pl.Walk(func(n *Node) {
		if n.Lock != nil && n.Lock.Name.Source() == pl.Lock.Name.Source() {
			r.Add(&kernel.Error{Code: kernel.CodePipeline, What: "node " + kernel.Quote(n.Name) + " waits for the lock that its run holds", Where: n.Lock.Where, Why: "the pipeline has lock " + kernel.Quote(pl.Lock.Name.Source()) + ", too", Fix: "remove one of them"})
		}
	})
}
