package pipeline

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/hexdag/hexdag/host/expr"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline/source"
	"github.com/hexdag/hexdag/host/ports/eventbus"
)

// TriggerSpec has events start runs of a pipeline.
type TriggerSpec struct {
	Name     string
	On       []string // patterns of topics
	Pipeline string   // the file
	When     *expr.Program
	Input    []TriggerField // empty: the event's data, if that is an object, else {event: ...}

	Concurrency int           // runs at once; 0 is 1
	Retries     int           // of a run that failed
	PerMinute   int           // runs that begin within a minute at most; 0 is no limit
	Dedup       *expr.Program // of events that are equal in it, one starts a run
	Window      time.Duration // ... within this time
	Beginning   bool          // a new trigger begins with the events that are kept
	Principal   string        // who runs; "" means the configuration's
	Where       kernel.Where
}

// TriggerField is a member of a run's input.
type TriggerField struct {
	Name    string
	Program *expr.Program // nil: Literal
	Literal kernel.Value
}

// SubscriptionSpec has a module's observe export called with events.
type SubscriptionSpec struct {
	Module      string
	On          []string
	Group       string // "" is the module's name
	Concurrency int
	Beginning   bool
	Where       kernel.Where
}

// EventNames are what a trigger's expressions see of an event.
func EventNames() []string {
	return []string{"data", "topic", "type", "key", "id", "source", "time", "run_id", "tenant", "hops", "labels", "dead"}
}

func (r *reader) readTriggers(c *Config, items []*source.Value) {
	names := map[string]bool{}
	for _, item := range items {
		s := r.Open(item, "a trigger")
		if s == nil {
			continue
		}
		t := r.readTrigger(c, s)
		if t.Name != "" && names[t.Name] {
			r.Add(s.At.Errorf(r.Code, "give each a name of its own: it keeps its place under it", "there are two triggers %s", kernel.Quote(t.Name)))
		}
		names[t.Name] = true
		c.Triggers = append(c.Triggers, t)
	}
}

func (r *reader) readTrigger(c *Config, s *source.Section) TriggerSpec {
	t := TriggerSpec{Name: s.Required("name"), Where: s.At.Where(), Principal: s.Text("principal")}
	s.What = "trigger " + kernel.Quote(t.Name)
	if t.Name != "" && eventbus.Part(t.Name) != t.Name {
		r.Add(s.Get("name").Errorf(r.Code, "use at most 64 letters, digits, _ and -", "the name %s cannot be used", kernel.Quote(t.Name)))
	}
	t.On = s.Texts("on")
	r.checkPatterns(s, t.On)
	if file := s.Required("pipeline"); file != "" {
		t.Pipeline = c.resolve(file)
	}
	t.When = r.eventExpression(s.Get("when"))
	if input := s.Member("input"); input != nil {
		for _, name := range input.M.Names {
			v := input.M.Members[name]
			f := TriggerField{Name: name}
			if _, isText := v.Text(); isText {
				f.Program = r.eventExpression(v)
			} else {
				f.Literal = v.Plain()
			}
			t.Input = append(t.Input, f)
		}
	}
	t.Concurrency, t.Retries, t.PerMinute = s.Amount("concurrency"), s.Amount("retries"), s.Amount("max_per_minute")
	if d := s.Member("dedup"); d != nil {
		t.Dedup, t.Window = r.eventExpression(d.Get("key")), d.Seconds("window")
		if t.Dedup == nil || t.Window == 0 {
			r.Add(d.At.Errorf(r.Code, "write dedup: {key: data.order_id, window: 10m}", "dedup needs key and window"))
		}
		d.Rest()
	}
	t.Beginning = r.oneOf(s, "start", "new", "beginning") == "beginning"
	s.Rest()
	return t
}

func (r *reader) checkPatterns(s *source.Section, on []string) {
	if len(on) == 0 {
		r.Add(s.At.Errorf(r.Code, "add on: hexdag.pipeline.NAME.completed, or another pattern of topics", "%s needs on", s.What))
	}
	for _, p := range on {
		if err := eventbus.CheckPattern(p); err != nil {
			var e *kernel.Error
			errors.As(err, &e)
			r.Add(s.M.Members["on"].Errorf(r.Code, e.Fix, "%s: %s", e.What, e.Why))
		}
	}
}

// eventExpression reads an expression over an event.
func (r *reader) eventExpression(v *source.Value) *expr.Program {
	if v == nil {
		return nil
	}
	text, ok := v.Text()
	if !ok {
		text = expr.Repr(v.Plain())
	}
	p, err := expr.Compile(text)
	if err != nil {
		r.addAll(err, v)
		return nil
	}
	for _, ref := range p.References() {
		if names := EventNames(); !slices.Contains(names, ref.Path[0]) {
			r.Add(v.Errorf(r.Code, "it sees "+strings.Join(names, ", ")+" of the event; a text is written with quotes of its own: \"'text'\"", "there is no %s", kernel.Quote(ref.Path[0])))
		}
	}
	return p
}

func (r *reader) readSubscriptions(c *Config, items []*source.Value) {
	names := make([]string, len(c.Modules))
	for i, m := range c.Modules {
		names[i] = m.Name
	}
	for _, item := range items {
		s := r.Open(item, "a subscription")
		if s == nil {
			continue
		}
		spec := SubscriptionSpec{Module: s.Required("module"), Group: s.Text("group"), Where: s.At.Where()}
		s.What = "subscription of " + kernel.Quote(spec.Module)
		if spec.Module != "" && !slices.Contains(names, spec.Module) {
			r.Add(s.Get("module").Errorf(r.Code, kernel.DidYouMean(spec.Module, names), "there is no module %s", kernel.Quote(spec.Module)))
		}
		spec.On, spec.Concurrency = s.Texts("on"), s.Amount("concurrency")
		r.checkPatterns(s, spec.On)
		spec.Beginning = r.oneOf(s, "start", "new", "beginning") == "beginning"
		s.Rest()
		c.Subscriptions = append(c.Subscriptions, spec)
	}
}
