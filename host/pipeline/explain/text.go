package explain

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline"
)

// Write writes the plan for a reader. What the file's author wrote is escaped.
func (p *Plan) Write(w io.Writer) error {
	t := &writer{}
	t.line(0, "pipeline %s%s  %s", kernel.Quote(p.Name), inBrackets(p.Environment), kernel.Quote(p.File))
	if p.Description != "" {
		t.line(1, "%s", kernel.Quote(p.Description))
	}
	t.line(1, "%d nodes in %d waves, %d at once%s%s", len(p.Nodes), len(p.Waves), p.Concurrency, timed(", timeout of a node ", p.NodeTimeout), timed(", of the run ", p.Timeout))
	if p.Config != "" {
		t.line(1, "configured by %s", kernel.Quote(p.Config))
	}
	t.lock(1, p.Lock)
	wave := 0
	for i := range p.Nodes {
		if n := &p.Nodes[i]; n.Wave != wave {
			wave = n.Wave
			t.line(0, "")
			t.line(0, "wave %d", wave)
		}
		t.node(1, &p.Nodes[i])
	}
	t.needs(p)
	_, err := w.Write(t.Bytes())
	return err
}

type writer struct{ bytes.Buffer }

// line writes a line, indented by two spaces a level.
func (t *writer) line(level int, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	t.WriteString(strings.TrimRight(strings.Repeat("  ", level)+text, " ") + "\n")
}

// field writes a line of a name and its value; nothing for an empty one.
func (t *writer) field(level int, name, value string) {
	if value != "" {
		t.line(level, "%-9s %s", name, value)
	}
}

func inBrackets(text string) string {
	if text == "" {
		return ""
	}
	return " (" + kernel.Quote(text) + ")"
}

func timed(before string, seconds float64) string {
	if seconds == 0 {
		return ""
	}
	return before + time.Duration(seconds*float64(time.Second)).String()
}

func (t *writer) node(level int, n *Node) {
	t.line(level, "%s  %s%s", kernel.Quote(n.Name), kernel.Quote(n.Kind), before("  ", n.Does))
	level++
	t.field(level, "about", kernel.Quote(n.Description))
	for i, d := range n.DependsOn {
		name := "after"
		if i > 0 {
			name = ""
		}
		reasons := make([]string, len(d.Reasons))
		for j, r := range d.Reasons {
			reasons[j] = r.words()
		}
		t.line(level, "%-9s %s: %s", name, kernel.Quote(d.Node), strings.Join(reasons, ", "))
	}
	t.field(level, "when", kernel.Quote(n.When))
	t.field(level, "on_error", kernel.Quote(n.OnError))
	bounds := timed("timeout ", n.Timeout)
	if n.Attempts > 1 {
		bounds = strings.TrimPrefix(bounds+fmt.Sprintf(", %d attempts", n.Attempts), ", ")
	}
	t.field(level, "bounds", bounds)
	t.lock(level, n.Lock)
	t.cache(level, n.Cache)
	t.field(level, "hooks", hookNames(n.Hooks))
	for _, c := range n.Operations {
		served := "served by nothing that is known here"
		if c.Adapter != "" {
			served = "by " + kernel.Quote(c.Adapter) + " (" + c.From + ")"
		}
		labels := ""
		if c.Labels != nil {
			labels = c.Labels.String()
		}
		t.field(level, "calls", kernel.Quote(c.Operation)+" "+served+before(", inside ", hookNames(c.Hooks))+before("; its answer is ", labels))
	}
	t.field(level, "may", strings.Join(n.Relabel, ", "))
	t.field(level, "runs", kernel.Quote(strings.Join(n.Tools, ", ")))
	for _, b := range n.Bodies {
		t.line(level, "%s%s%s", b.Name, before("  if ", b.When), before("  ", b.Does))
		for i := range b.Nodes {
			t.node(level+1, &b.Nodes[i])
		}
	}
}

func (t *writer) lock(level int, l *Lock) {
	if l == nil {
		return
	}
	text := kernel.Quote(l.Name)
	if l.Permits > 1 {
		text += fmt.Sprintf(", %d at once", l.Permits)
	}
	if l.Timeout == nil {
		text += ", waited for as long as the run may take"
	} else {
		text += fmt.Sprintf(", waited for %s", time.Duration(*l.Timeout*float64(time.Second)))
	}
	t.field(level, "lock", text+timed(", ends after ", l.TTL)+" by "+kernel.Quote(l.Adapter)+" ("+l.From+")"+before(", inside ", hookNames(l.Hooks)))
}

func (t *writer) cache(level int, c *Cache) {
	if c == nil {
		return
	}
	counts := "all that it is given"
	if c.Key != "" {
		counts = "the key " + kernel.Quote(c.Key)
	}
	text := "works once for " + counts + ", its configuration, the rules of governance"
	if len(c.Modules) > 0 {
		text += " and " + kernel.Quote(strings.Join(c.Modules, ", "))
	}
	text += map[pipeline.CacheScope]string{pipeline.CacheForRun: ", in each run", pipeline.CacheForTenant: ", for the whole tenant"}[c.Scope]
	if c.SideEffects {
		text += ", its effects outside included"
	}
	t.field(level, "cache", text+timed("; its answer is good for ", c.TTL))
}

// before returns what stands before a text, and the text; nothing without one.
func before(words, text string) string {
	if text == "" {
		return ""
	}
	return words + kernel.Quote(text)
}

// words says why a node waits for another.
func (r *Reason) words() string {
	switch r.Cause {
	case pipeline.Declared, pipeline.Awaited:
		return string(r.Cause)
	case pipeline.Named:
		at := ""
		if r.Line > 0 {
			at = " (line " + strconv.Itoa(r.Line) + ")"
		}
		if r.Member == "" {
			return "named" + at
		}
		return "named by " + kernel.Quote(r.Member) + at
	case pipeline.Routed:
		return "it routes here"
	case pipeline.Handler:
		return "this handles its errors"
	case pipeline.Invoked:
		return "the macro waits for it"
	}
	return "the node before it in the file"
}

func hookNames(hooks []Hook) string {
	names := make([]string, len(hooks))
	for i, h := range hooks {
		names[i] = h.Module
		if h.Failure == "open" {
			names[i] += " (failure: open)"
		}
	}
	return kernel.Quote(strings.Join(names, ", "))
}

// needs writes what the nodes need together, and what the run may spend.
func (t *writer) needs(p *Plan) {
	if len(p.Capabilities)+len(p.Operations) > 0 {
		t.line(0, "")
		t.line(0, "needs")
	}
	for _, c := range p.Capabilities {
		verdict := ""
		if !c.Allowed {
			verdict = "  DENIED by the pipeline's caps"
		}
		t.line(1, "%s%s", c.Name, verdict)
	}
	for _, op := range p.Operations {
		t.line(1, "%s  %s", kernel.Quote(op.Name), kernel.Quote(strings.Join(op.Nodes, ", ")))
	}
	if len(p.Modules) > 0 {
		t.line(0, "")
		t.line(0, "modules")
	}
	for _, m := range p.Modules {
		switch {
		case m.Configured && len(m.Grants) == 0:
			t.line(1, "%s  %s, granted nothing", kernel.Quote(m.Name), kernel.Quote(m.Path))
		case m.Configured:
			t.line(1, "%s  %s, granted %s", kernel.Quote(m.Name), kernel.Quote(m.Path), kernel.Quote(strings.Join(m.Grants, "; ")))
		case p.Config != "":
			t.line(1, "%s  NOT CONFIGURED", kernel.Quote(m.Name))
		default:
			t.line(1, "%s", kernel.Quote(m.Name))
		}
	}
	for _, m := range p.Modules {
		for _, words := range m.Labels {
			t.line(1, "%s  labels: %s", kernel.Quote(m.Name), kernel.Quote(words))
		}
	}
	t.bounds(p)
	if len(p.Output) > 0 {
		t.line(0, "")
		t.line(0, "output")
	}
	for _, alias := range slices.Sorted(maps.Keys(p.Output)) {
		t.line(1, "%s  %s", kernel.Quote(alias), kernel.Quote(p.Output[alias]))
	}
}

func (t *writer) bounds(p *Plan) {
	var limits []string
	for _, l := range []struct {
		name  string
		value *float64
	}{{"max_llm_calls", p.Limits.LLMCalls}, {"max_tool_calls", p.Limits.ToolCalls}, {"max_total_tokens", p.Limits.Tokens}, {"max_cost_usd", p.Limits.CostUSD}} {
		if l.value != nil {
			limits = append(limits, l.name+" "+strconv.FormatFloat(*l.value, 'f', -1, 64))
		}
	}
	var caps []string
	if p.Caps.Allowed != nil {
		caps = append(caps, "only "+names(p.Caps.Allowed))
	}
	if len(p.Caps.Denied) > 0 {
		caps = append(caps, "not "+names(p.Caps.Denied))
	}
	if p.RunLimits != nil {
		limits = append(limits, fmt.Sprintf("and by the configuration: fuel %d, host_calls %d%s (0: no limit)", p.RunLimits.Fuel, p.RunLimits.HostCalls, timed(", deadline ", p.RunLimits.Deadline)))
	}
	if len(limits)+len(caps) > 0 {
		t.line(0, "")
	}
	t.field(0, "limits", strings.Join(limits, ", "))
	t.field(0, "caps", strings.Join(caps, ", "))
}

func names(list []kernel.Capability) string {
	if len(list) == 0 {
		return "none"
	}
	texts := make([]string, len(list))
	for i, c := range list {
		texts[i] = string(c)
	}
	return strings.Join(texts, ", ")
}
