package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/kernel"
)

func moduleCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "module", Short: "Look at modules, and call them by themselves", Args: cobra.NoArgs, RunE: help}
	cmd.AddCommand(inspectCommand(), callCommand(), moduleTestCommand(), moduleBenchCommand(), tckCommand())
	return cmd
}

func inspectCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "inspect FILE.wasm", Short: "Say what a module is, what it imports and what it asks for", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			info, err := host.InspectModule(cmd.Context(), args[0], hostOptions(cmd))
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), info)
			}
			return printModule(cmd.OutOrStdout(), info)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// guarded are the arguments by which an operation can be granted.
func guarded(guards []string) string {
	if len(guards) == 0 {
		return ""
	}
	return " (" + strings.Join(guards, ", ") + ")"
}

func printModule(w io.Writer, m *host.ModuleInfo) error {
	var b strings.Builder
	row := func(name, text string) { fmt.Fprintf(&b, "%-14s %s\n", name, orNone(text)) }
	row("name", strings.TrimSpace(kernel.Quote(m.Name)+" "+kernel.Quote(m.Version)))
	if m.Description != "" {
		row("", kernel.Quote(m.Description))
	}
	row("digest", m.Digest)
	row("size", fmt.Sprintf("%d bytes, %d functions", m.Size, m.Functions))
	row("memory", fmt.Sprintf("%s, at most %s", mebibytes(m.Memory), mebibytes(m.MemoryMax)))
	made := make([]string, len(m.Producers))
	for i, p := range m.Producers {
		made[i] = strings.TrimSpace(p.Field + ": " + p.Name + " " + p.Version)
	}
	row("made by", quoteAll(made))
	row("dialect", m.Dialect)
	points := make([]string, len(m.Points))
	for i, p := range m.Points {
		points[i] = string(p)
	}
	row("can be used as", strings.Join(points, ", "))
	row("imports", quoteAll(m.Imports))
	row("exports", quoteAll(m.Exports))
	asks := make([]string, len(m.Capabilities))
	for i, c := range m.Capabilities {
		asks[i] = c.String()
	}
	row("asks for", quoteAll(asks))
	for _, t := range m.Tools {
		row("tool", kernel.Quote(t.Name)+": "+kernel.Quote(t.Description))
	}
	for _, o := range m.Operations {
		row("operation", kernel.Quote(o.Name)+guarded(o.Guards)+": "+kernel.Quote(o.Description))
	}
	l := m.Limits
	row("limits", fmt.Sprintf("deadline %s, fuel %d, memory %s, document %d, body %d, host_calls %d,", l.Deadline, l.Fuel, mebibytes(l.Memory), l.Document, l.Body, l.HostCalls))
	fmt.Fprintf(&b, "%-14s bytes_in %d, bytes_out %d, log_lines %d, log_line %d, instances %d, waiting %d\n", "", l.BytesIn, l.BytesOut, l.LogLines, l.LogLine, l.Instances, l.Waiting)
	static := make([]string, 0, len(m.StaticLimits))
	for _, name := range slices.Sorted(maps.Keys(m.StaticLimits)) {
		static = append(static, fmt.Sprintf("%s %d", name, m.StaticLimits[name]))
	}
	const perLine = 6
	for i, line := range slices.Collect(slices.Chunk(static, perLine)) {
		row([]string{"static limits", ""}[min(i, 1)], strings.Join(line, ", "))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}

func quoteAll(list []string) string {
	quoted := make([]string, len(list))
	for i, s := range list {
		quoted[i] = kernel.Quote(s)
	}
	return strings.Join(quoted, "\n               ")
}

type callFlags struct {
	input, config string
	isolation     string
	engine        string
	dialect       string
	grants        []string
	timeout       time.Duration
	memory        uint64
	fuel          int64
	bench         int
	record        string
	asJSON        bool
}

func callCommand() *cobra.Command {
	var f callFlags
	cmd := &cobra.Command{
		Use:   "call FILE.wasm EXPORT",
		Short: "Call an extension point of a module by itself",
		Long: `Call an extension point of a module by itself, with in-memory ports that start empty.

A grant is an operation, port.method, or port.method:argument=pattern,...`,
		Example: `hexdag module call redact.wasm node_before --input '{"input": {"text": "mail ann@example.com"}}' --grant metrics.count`,
		Args:    cobra.ExactArgs(2),
		RunE:    func(cmd *cobra.Command, args []string) error { return callModule(cmd, args[0], args[1], f) },
	}
	cmd.Flags().StringVar(&f.input, "input", "{}", "the message: JSON, @file, or @- for standard input")
	cmd.Flags().StringVar(&f.config, "config", "", "the module's configuration: JSON or @file")
	cmd.Flags().StringArrayVar(&f.grants, "grant", nil, "what the module may do; may be repeated")
	cmd.Flags().DurationVar(&f.timeout, "timeout", 0, "the call's deadline (default 1s)")
	cmd.Flags().Uint64Var(&f.memory, "memory", 0, "the bytes of memory that the module may have (default 64 MiB)")
	cmd.Flags().Int64Var(&f.fuel, "fuel", 0, "the instructions that the call may take (default 2,000,000,000)")
	cmd.Flags().StringVar(&f.isolation, "isolation", "", "what one call can leave to the next of --bench: call (nothing), run or shared")
	cmd.Flags().StringVar(&f.engine, "engine", "", "wazero, interpreter, or wasmtime in a program that is built with it (default: wazero)")
	cmd.Flags().StringVar(&f.dialect, "dialect", "", "native, extism or wasi-command (default: what the module looks like)")
	cmd.Flags().StringVar(&f.record, "record", "", "write the call and what came of it to this file, a case for 'hexdag module test'")
	cmd.Flags().IntVar(&f.bench, "bench", 0, "call this many times more, and tell the median time")
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "print JSON")
	return cmd
}

func callModule(cmd *cobra.Command, file, export string, f callFlags) error {
	call := host.ModuleCall{Export: export}
	call.Limits.Deadline, call.Limits.Memory, call.Limits.Fuel = f.timeout, f.memory, f.fuel
	call.Isolation, call.Bench, call.Dialect, call.Record = f.isolation, f.bench, f.dialect, f.record
	var err error
	if call.Input, err = readValue(cmd, "input", f.input); err != nil {
		return err
	}
	if call.Config, err = readValue(cmd, "config", f.config); err != nil {
		return err
	}
	for _, text := range f.grants {
		g, err := parseGrant(text)
		if err != nil {
			return &kernel.Error{Code: kernel.CodeConfig, What: "--grant " + kernel.Quote(text) + " cannot be read", Why: err.Error(), Fix: "write port.method, or port.method:argument=pattern,argument=pattern", Err: err}
		}
		call.Grants = append(call.Grants, g)
	}
	opts := hostOptions(cmd)
	opts.Engine = f.engine
	out, err := host.CallModule(cmd.Context(), file, call, opts)
	if err != nil {
		return err
	}
	if err := printOutcome(cmd, out, f.asJSON); err != nil {
		return err
	}
	return verdictError(out)
}

// parseGrant reads port.method:argument=pattern,...
func parseGrant(text string) (abi.Capability, error) {
	op, rest, restricted := strings.Cut(text, ":")
	if !restricted {
		return abi.ParseCapability(op)
	}
	args := map[string]any{}
	for _, part := range strings.Split(rest, ",") {
		name, pattern, ok := strings.Cut(part, "=")
		if !ok || name == "" {
			return abi.Capability{}, fmt.Errorf("%q is not argument=pattern", part)
		}
		args[name] = pattern
	}
	return abi.ParseCapability(map[string]any{op: args})
}

func printOutcome(cmd *cobra.Command, out *host.ModuleOutcome, asJSON bool) error {
	w := cmd.OutOrStdout()
	if asJSON {
		return writeJSON(w, out)
	}
	after := ""
	if out.Verdict == abi.RetryAfter.String() {
		after = fmt.Sprintf(" %d ms", out.RetryAfterMS)
	}
	fmt.Fprintf(w, "verdict  %s%s\n", out.Verdict, after)
	for _, part := range []struct {
		name  string
		value any
	}{{"patched", out.Patched}, {"output", out.Output}} {
		if part.value == nil {
			continue
		}
		text, err := kernel.EncodeJSON(part.value)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%-8s %s\n", part.name, text)
	}
	u := out.Usage
	if out.Bench != nil {
		fmt.Fprintf(w, "bench    %d calls, median %s, slowest %s\n", out.Bench.Calls, out.Bench.Median, out.Bench.Slowest)
	}
	_, err := fmt.Fprintf(w, "used     %d fuel, %s, %s of memory, %d host calls, %d log lines, %d bytes in, %d bytes out\n", u.Fuel, u.Wall.Round(time.Microsecond), mebibytes(u.Memory), u.HostCalls, u.LogLines, u.BytesIn, u.BytesOut)
	return err
}

// verdictError makes the exit code follow the verdict.
func verdictError(out *host.ModuleOutcome) error {
	switch out.Verdict {
	case abi.Deny.String():
		return shown{&kernel.Error{Code: kernel.CodeDenied, What: "the module denied"}}
	case abi.Error.String(), abi.RetryAfter.String():
		return shown{&kernel.Error{Code: kernel.CodeFailed, What: "the module failed"}}
	}
	return nil
}
