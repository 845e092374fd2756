package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/kernel"
)

type runFlags struct {
	input, config, each, env string
	record                   string
	asJSON, tolerate, wait   bool
	fresh, durable           bool
	concurrency              int
	labels                   map[string]string
	reload                   time.Duration
}

func runCommand() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run FILE",
		Short: "Run a pipeline or a system, once or for every line of a file",
		Long: `Run a pipeline, once or for every line of a file of JSON objects, or a system of
pipelines. A system that follows entities is given {entity, entity_id, to_state,
reason?, payload?} as its input.

The operator's configuration (modules, grants, hooks, ports) is --config, or else
hexdag.yaml beside FILE. With --json, a single run prints one line, a JSON document
{status, run_id, node_results, output, error, events}; a run with --each prints
each event as a line, and ends with the report as one.`,
		Example: `hexdag run pipeline.yaml --input '{"id": "T-1"}'
hexdag run pipeline.yaml --each tickets.jsonl`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return runPipeline(cmd, args[0], f) },
	}
	cmd.Flags().StringVar(&f.input, "input", "", "the run's input: JSON, @file, or @- for standard input")
	cmd.Flags().StringVar(&f.config, "config", "", "the operator's configuration")
	cmd.Flags().StringVar(&f.each, "each", "", "run once for every line of this file of JSON objects")
	cmd.Flags().IntVar(&f.concurrency, "concurrency", 4, "with --each, how many runs at once")
	cmd.Flags().BoolVar(&f.tolerate, "tolerate-failures", false, "with --each, exit with 0 also where some lines failed")
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "print JSON")
	cmd.Flags().StringVar(&f.record, "record", "", "a folder for cases: the first call of every module at each extension point")
	cmd.Flags().StringVar(&f.env, "env", "", "of several pipelines in FILE, the one with this metadata.namespace")
	cmd.Flags().StringToStringVar(&f.labels, "label", nil, "NAME=VALUE, what is said of the run; integrity=untrusted and confidentiality=internal or secret are its input's labels")
	cmd.Flags().BoolVar(&f.fresh, "no-cache", false, "have every node work, whatever is kept of it (cache), and keep what it answers")
	cmd.Flags().BoolVar(&f.durable, "durable", false, "keep a journal of each run: one whose host dies goes on with 'hexdag resume --crashed', and 'hexdag replay' does it again")
	cmd.Flags().BoolVar(&f.wait, "wait", false, "where the run waits for an event, stay until the time to wait is over")
	cmd.Flags().DurationVar(&f.reload, "reload-policies", 0, "how often to look at the files of governance: once they change, calls are decided by the new rules")
	cmd.MarkFlagsMutuallyExclusive("input", "each")
	return cmd
}

func runPipeline(cmd *cobra.Command, file string, f runFlags) error {
	err := withHost(cmd, file, f, func(ctx context.Context, h *host.Host, system bool) error {
		if system {
			return runSystem(ctx, cmd, h, file, f)
		}
		p, err := h.Load(ctx, file, host.LoadOptions{Environment: f.env})
		if err != nil {
			return err
		}
		printWarnings(cmd.ErrOrStderr(), p.Warnings)
		if f.each != "" {
			return runEach(ctx, cmd, p, f)
		}
		return runOnce(ctx, cmd, h, p, f)
	})
	var already shown
	if err != nil && f.asJSON && f.each == "" && !errors.As(err, &already) {
		return notRun(cmd, err)
	}
	return err
}

// notRun reports a run that could not begin in the same form as one that failed.
func notRun(cmd *cobra.Command, err error) error {
	var e *kernel.Error
	if !errors.As(err, &e) {
		e = &kernel.Error{Code: kernel.CodeInternal, What: err.Error()}
	}
	doc := document{Result: &host.Result{Status: "failed", Error: e, NodeResults: map[string]kernel.Value{}, Output: map[string]kernel.Value{}}, Events: []*host.Event{}}
	printError(cmd.ErrOrStderr(), err)
	return errors.Join(writeJSON(cmd.OutOrStdout(), doc), shown{err})
}

// document is what run --json ends with.
type document struct {
	*host.Result
	Events []*host.Event `json:"events"`
}

// withHost opens the host for a pipeline's or a system's file.
func withHost(cmd *cobra.Command, file string, f runFlags, use func(ctx context.Context, h *host.Host, system bool) error) (err error) {
	ctx := cmd.Context()
	cfg, err := configFor(file, f.config)
	if err != nil {
		return err
	}
	read, err := host.Validate(file, host.LoadOptions{Environment: f.env})
	if err != nil {
		return err // before anything is opened
	}
	opts := hostOptions(cmd)
	opts.RecordCases = f.record
	h, err := host.New(ctx, cfg, opts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Close(context.WithoutCancel(ctx))) }()
	if f.reload > 0 {
		watching, stop := context.WithCancel(ctx)
		var watcher sync.WaitGroup
		watcher.Go(func() { h.WatchGovernance(watching, f.reload, nil) })
		defer watcher.Wait()
		defer stop()
	}
	after, err := listening(ctx, cmd, h)
	if err != nil {
		return err
	}
	return errors.Join(use(traced(ctx), h, read.System != nil), after())
}

// configFor returns the configuration: the named one, hexdag.yaml beside the
// pipeline, or none. Where it says nothing of telemetry, the environment may.
func configFor(file, config string) (*host.Config, error) {
	cfg, err := configOf(file, config)
	if err == nil {
		host.TelemetryOfEnvironment(cfg)
	}
	return cfg, err
}

func configOf(file, config string) (*host.Config, error) {
	beside := filepath.Join(filepath.Dir(file), "hexdag.yaml")
	if config == "" {
		if _, err := os.Stat(beside); errors.Is(err, fs.ErrNotExist) {
			return &host.Config{File: beside, Env: []string{"*"}, Endpoints: []string{"**"}}, nil // who runs is the operator
		}
		config = beside
	}
	return host.LoadConfig(config)
}

func runOnce(ctx context.Context, cmd *cobra.Command, h *host.Host, p *host.Pipeline, f runFlags) error {
	input, err := readInput(cmd, f)
	if err != nil {
		return err
	}
	recorder := &host.Recorder{}
	opts := host.RunOptions{Recorder: recorder, Labels: f.labels, Fresh: f.fresh, Durable: f.durable}
	stop := func() {}
	if !f.asJSON {
		opts.Observer, stop = watch(cmd.ErrOrStderr(), p, 0)
	}
	result := p.Run(ctx, input, opts)
	stop()
	if f.wait {
		if result, err = await(ctx, h, result, opts); err != nil {
			return err
		}
	}
	if f.asJSON {
		if err := writeJSON(cmd.OutOrStdout(), document{result, recorder.Events()}); err != nil {
			return err
		}
		if result.Err != nil {
			return shown{result.Err}
		}
		return nil
	}
	if err := printResult(cmd.OutOrStdout(), result); err != nil {
		return err
	}
	return result.Err
}

func readInput(cmd *cobra.Command, f runFlags) (any, error) {
	input, err := readValue(cmd, "input", f.input)
	if input == nil {
		input = map[string]any{}
	}
	return input, err
}

// await stays with a run that waits until its time to wait is over.
func await(ctx context.Context, h *host.Host, result *host.Result, opts host.RunOptions) (*host.Result, error) {
	for result.Status == engine.Suspended && h.Distributed() {
		went, err := h.Await(ctx, result.RunID, opts)
		switch {
		case err == nil:
			result = went
		case ctx.Err() == nil:
			return nil, err
		default:
			return result, nil // ^C: it goes on waiting
		}
	}
	for result.Status == engine.Suspended {
		ctx, cancel := context.WithCancel(ctx)
		var went *host.Result
		var problem error
		h.WatchWaits(ctx, time.Second, opts, func(r *host.Result, err error) {
			if err != nil || r.RunID == result.RunID {
				went, problem = r, err
				cancel()
			}
		})
		cancel()
		if problem != nil {
			return nil, problem
		}
		if went == nil {
			return result, nil // ^C: it goes on waiting
		}
		result = went
	}
	return result, nil
}

// runSystem runs a system, or moves one of its entities.
func runSystem(ctx context.Context, cmd *cobra.Command, h *host.Host, file string, f runFlags) error {
	if f.each != "" || f.wait {
		return &kernel.Error{Code: kernel.CodeInput, What: "a system runs once", Fix: "leave out --each and --wait"}
	}
	s, err := h.LoadSystem(ctx, file, host.LoadOptions{Environment: f.env})
	if err != nil {
		return err
	}
	defer s.Close(context.WithoutCancel(ctx))
	printWarnings(cmd.ErrOrStderr(), s.Warnings)
	input, err := readInput(cmd, f)
	if err != nil {
		return err
	}
	recorder := &host.Recorder{}
	if len(s.Machines) > 0 {
		return moveEntity(ctx, cmd, s, input, recorder, f)
	}
	result := s.Run(ctx, input, host.RunOptions{Recorder: recorder, Labels: f.labels, Fresh: f.fresh, Durable: f.durable})
	if f.asJSON {
		err = writeJSON(cmd.OutOrStdout(), struct {
			*host.SystemResult
			Events []*host.Event `json:"events"`
		}{result, recorder.Events()})
	} else {
		for _, name := range result.Order {
			fmt.Fprintf(cmd.OutOrStdout(), "process %s\n", kernel.Quote(name))
			err = errors.Join(err, printResult(cmd.OutOrStdout(), result.Processes[name]))
		}
		fmt.Fprintf(cmd.OutOrStdout(), "system %s %s\n", kernel.Quote(s.Name), result.Status)
	}
	if err == nil && result.Err != nil && f.asJSON {
		return shown{result.Err}
	}
	return errors.Join(err, result.Err)
}

func moveEntity(ctx context.Context, cmd *cobra.Command, s *host.System, input any, recorder *host.Recorder, f runFlags) error {
	var move host.Move
	v, err := kernel.ToValue(input)
	if err == nil {
		err = kernel.FromValue(v, &move)
	}
	if err != nil || move.Entity == "" || move.ID == "" || move.To == "" {
		return &kernel.Error{Code: kernel.CodeInput, What: "this system follows entities, and the input moves none", Why: fmt.Sprint(err), Fix: `pass {"entity": ..., "entity_id": ..., "to_state": ..., "reason"?: ..., "payload"?: ...}`}
	}
	result, err := s.Transition(ctx, move, host.RunOptions{Recorder: recorder, Labels: f.labels, Fresh: f.fresh, Durable: f.durable})
	if f.asJSON {
		doc := struct {
			Moved  bool          `json:"moved"`
			Result *host.Result  `json:"result"`
			Events []*host.Event `json:"events"`
		}{err == nil, result, recorder.Events()}
		if werr := writeJSON(cmd.OutOrStdout(), doc); werr != nil || err == nil {
			return werr
		}
		return err
	}
	if result != nil {
		if perr := printResult(cmd.OutOrStdout(), result); perr != nil {
			return perr
		}
	}
	if err == nil {
		fmt.Fprintf(cmd.OutOrStdout(), "%s %s is %s\n", kernel.Quote(move.Entity), kernel.Quote(move.ID), kernel.Quote(move.To))
	}
	return err
}

// printWarnings writes what works and is likely not meant.
func printWarnings(w io.Writer, warnings []*kernel.Error) {
	for _, e := range warnings {
		fmt.Fprintf(w, "warning: %s: %s", e.Where, e.What)
		if e.Fix != "" {
			fmt.Fprintf(w, " (%s)", e.Fix)
		}
		fmt.Fprintln(w)
	}
}

// printResult writes a run's output, or the results of its nodes where the
// pipeline names no output.
func printResult(w io.Writer, result *host.Result) error {
	shown := map[string]any{}
	for name, v := range result.Output {
		shown[name] = v
	}
	if len(shown) == 0 {
		for name, v := range result.NodeResults {
			shown[name] = v
		}
	}
	text, err := kernel.EncodeJSON(shown)
	if err != nil {
		return err
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, text, "", "  "); err != nil {
		return err
	}
	if _, err = fmt.Fprintf(w, "%s\nrun %s %s\n", indented.String(), result.RunID, result.Status); err != nil {
		return err
	}
	for _, wait := range result.Waits {
		fmt.Fprintf(w, "waits for %s (hexdag resume %s --data JSON)\n", kernel.Quote(wait.EventKey), result.RunID)
	}
	return nil
}

func runEach(ctx context.Context, cmd *cobra.Command, p *host.Pipeline, f runFlags) error {
	lines, total, err := openLines(f.each)
	if err != nil {
		return err
	}
	defer lines.Close()
	opts := host.BatchOptions{File: f.each, Concurrency: f.concurrency, RunOptions: host.RunOptions{Labels: f.labels, Fresh: f.fresh, Durable: f.durable}}
	stop := func() {}
	if f.asJSON {
		opts.Recorder = host.Tell(eventLines(cmd.OutOrStdout()))
	} else {
		var view *view
		view, stop = newView(cmd.ErrOrStderr(), p, total)
		opts.Observer, opts.Finished = view.observe, view.finished
	}
	report, err := p.RunEach(ctx, lines, opts)
	stop()
	if f.asJSON {
		err = errors.Join(err, writeJSON(cmd.OutOrStdout(), report))
	} else {
		err = errors.Join(err, printReport(cmd.OutOrStdout(), report))
	}
	if err != nil {
		return err
	}
	if failed := report.Failed + report.Denied; failed > 0 && !f.tolerate {
		return shown{&kernel.Error{Code: kernel.CodeFailed, What: fmt.Sprintf("%d of %d lines did not complete", failed, report.Lines)}}
	}
	return nil
}

// openLines opens a file of lines and counts those that are not blank.
func openLines(file string) (*os.File, int, error) {
	unreadable := func(err error) error {
		return &kernel.Error{Code: kernel.CodeInput, What: "the file of lines cannot be read", Where: kernel.Where{File: file}, Why: err.Error(), Fix: "correct its path", Err: err}
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, 0, unreadable(err)
	}
	total, r := 0, bufio.NewReader(f)
	for blank := true; ; {
		c, err := r.ReadByte()
		if err != nil || c == '\n' {
			if !blank {
				total++
			}
			blank = true
		} else if c != ' ' && c != '\t' && c != '\r' {
			blank = false
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			f.Close()
			return nil, 0, unreadable(err)
		}
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		f.Close()
		return nil, 0, unreadable(err)
	}
	return f, total, nil
}

// eventLines returns an observer that writes each event as a line of JSON.
func eventLines(w io.Writer) func(*host.Event) {
	var mu sync.Mutex
	return func(e *host.Event) {
		mu.Lock()
		defer mu.Unlock()
		writeJSON(w, e) //nolint:errcheck // the report, which ends the output, tells of a broken pipe
	}
}
