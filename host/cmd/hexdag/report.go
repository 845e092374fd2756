package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"charm.land/lipgloss/v2/table"

	"github.com/hexdag/hexdag/host"
)

// printReport writes what a batch came to.
func printReport(w io.Writer, r *host.Report) error {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%d lines in %s: %d completed, %d denied, %d failed\n", r.Lines, r.Duration.Round(time.Millisecond), r.Completed, r.Denied, r.Failed)
	if len(r.Decisions) > 0 {
		t := table.New().Headers("decision on", "effect", "runs", "by the rules", "for example")
		for _, d := range r.Decisions {
			t.Row(d.Action, d.Effect, fmt.Sprint(d.Count), d.Rules, d.Example)
		}
		fmt.Fprintf(&b, "\nWhat governance decided\n%s\n", t)
	}
	if len(r.Modules) > 0 {
		t := table.New().Headers("module", "digest", "calls", "failures", "host calls", "fuel", "time", "peak memory")
		for _, m := range r.Modules {
			t.Row(m.Name, strings.TrimPrefix(m.Digest, "sha256:")[:12], fmt.Sprint(m.Calls), fmt.Sprint(m.Failures), fmt.Sprint(m.HostCalls), fmt.Sprint(m.Fuel), m.Wall.Round(time.Microsecond*100).String(), mebibytes(m.Memory))
		}
		fmt.Fprintf(&b, "\nWhat the modules used\n%s\n", t)
	}
	t := table.New().Headers("spent", "")
	t.Row("LLM calls", fmt.Sprint(r.Usage.LLMCalls))
	t.Row("input tokens", fmt.Sprint(r.Usage.InputTokens))
	t.Row("output tokens", fmt.Sprint(r.Usage.OutputTokens))
	t.Row("tool calls", fmt.Sprint(r.Usage.ToolCalls))
	t.Row("port calls", fmt.Sprint(r.Usage.PortCalls))
	for _, name := range slices.Sorted(maps.Keys(r.Counters)) {
		t.Row(strings.ReplaceAll(name, "_", " "), fmt.Sprint(r.Counters[name]))
	}
	fmt.Fprintf(&b, "\nTotals\n%s\n", t)
	if len(r.Problems) > 0 {
		fmt.Fprintf(&b, "\nWhat did not complete\n")
		for _, p := range r.Problems {
			fmt.Fprintf(&b, "  line %d %s\n    %s\n", p.Line, p.Label, p.Error)
		}
	}
	fmt.Fprintf(&b, "\naudit log  %s  (check it: hexdag audit verify %s)\nstate      %s\n", r.AuditDir, r.AuditDir, r.StateDir)
	for _, where := range slices.Sorted(maps.Keys(r.Stores)) {
		fmt.Fprintf(&b, "%-10s %s\n", where, r.Stores[where])
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func mebibytes(n uint64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
