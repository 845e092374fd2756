package host

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/extension"
	"github.com/hexdag/hexdag/host/kernel"
)

// maxLine is how many bytes one line of a batch may have.
const maxLine = 1 << 20

// BatchOptions says how to run a pipeline over the lines of a file.
type BatchOptions struct {
	RunOptions
	File        string // names the lines in errors
	Concurrency int    // runs at once; 0 means 4
	// Started and Finished are told of every line, from several goroutines.
	Started  func(Line)
	Finished func(Line, *Result)
}

// Line is one item of a batch.
type Line struct {
	Number int
	Label  string // the value of the member "id", if there is one
}

// Report sums up a batch.
type Report struct {
	Lines     int                  `json:"lines"`
	Completed int                  `json:"completed"`
	Failed    int                  `json:"failed"`
	Denied    int                  `json:"denied"`
	Problems  []Problem            `json:"problems"`  // by line
	Decisions []Decision           `json:"decisions"` // what governance answered to the pipeline
	Usage     kernel.UsageSnapshot `json:"usage"`
	Counters  map[string]int64     `json:"counters"`
	Modules   []ModuleReport       `json:"modules"`
	AuditDir  string               `json:"audit_dir"`
	StateDir  string               `json:"state_dir"`
	Stores    map[string]string    `json:"stores"` // where ports keep what they keep
	Duration  time.Duration        `json:"duration_ns"`
	decided   map[decisionKey]*Decision
}

// Problem is a line that did not complete.
type Problem struct {
	Line  int           `json:"line"`
	Label string        `json:"label,omitempty"`
	RunID string        `json:"run_id,omitempty"`
	Error *kernel.Error `json:"error"`
}

// Decision counts the answers of governance to one action for one set of rules.
type Decision struct {
	Action  string `json:"action"`
	Effect  string `json:"effect"`
	Rules   string `json:"rules"`
	Example string `json:"example"` // the reasons of one of the runs, the first in alphabetical order
	Count   int64  `json:"count"`
}

type decisionKey struct{ action, effect, rules string }

// ModuleReport is what a module used.
type ModuleReport struct {
	Name   string `json:"name"`
	Digest string `json:"digest"`
	extension.Stats
}

// RunEach runs the pipeline for every line of JSON in r. A line that cannot be
// used, or whose run fails, is a problem of the report; the others go on. The
// error is about r itself, or about ctx.
func (p *Pipeline) RunEach(ctx context.Context, r io.Reader, opts BatchOptions) (*Report, error) {
	b := batch{pipeline: p, opts: opts, report: &Report{Counters: map[string]int64{}, decided: map[decisionKey]*Decision{}}}
	if opts.Concurrency <= 0 {
		opts.Concurrency = 4
	}
	start := time.Now()
	lines := make(chan numbered)
	var workers sync.WaitGroup
	for range opts.Concurrency {
		workers.Go(func() {
			for l := range lines {
				b.run(ctx, l)
			}
		})
	}
	err := b.read(ctx, r, lines)
	close(lines)
	workers.Wait()
	return b.finish(start), err
}

type numbered struct {
	number  int
	text    []byte
	tooLong bool
}

type batch struct {
	pipeline *Pipeline
	opts     BatchOptions
	mu       sync.Mutex
	report   *Report
}

func (b *batch) read(ctx context.Context, r io.Reader, lines chan<- numbered) error {
	reader := bufio.NewReaderSize(r, 64<<10)
	for number := 1; ; number++ {
		text, tooLong, err := readLine(reader)
		ended := errors.Is(err, io.EOF)
		if err != nil && !ended {
			return &kernel.Error{Code: kernel.CodeInput, What: "the lines cannot be read on", Where: kernel.Where{File: b.opts.File, Line: number}, Why: err.Error(), Fix: "see the reason", Err: err}
		}
		if text = bytes.TrimSpace(text); len(text) > 0 {
			select {
			case lines <- numbered{number, text, tooLong}:
			case <-ctx.Done():
				return kernel.ContextError(ctx)
			}
		}
		if ended {
			return nil
		}
	}
}

// readLine reads up to the end of a line. Of one that is too long it keeps the
// beginning.
func readLine(r *bufio.Reader) (text []byte, tooLong bool, err error) {
	for {
		part, err := r.ReadSlice('\n')
		if room := maxLine - len(text); len(part) > room {
			part, tooLong = part[:room], true
		}
		text = append(text, part...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return text, tooLong, err
		}
	}
}

func (b *batch) run(ctx context.Context, l numbered) {
	where := kernel.Where{File: b.opts.File, Line: l.number}
	line := Line{Number: l.number}
	input, err := l.decode()
	if err == nil {
		fields, ok := input.(map[string]any)
		if !ok {
			err = fmt.Errorf("it is no JSON object")
		} else if id, ok := fields["id"].(string); ok {
			line.Label = kernel.Quote(id)
		}
	}
	if b.opts.Started != nil {
		b.opts.Started(line)
	}
	var result *Result
	if err != nil {
		bad := &kernel.Error{Code: kernel.CodeInput, What: "the line cannot be an input", Where: where, Why: err.Error(), Fix: "write one JSON object on the line", Err: err}
		result = &Result{Status: engine.Failed, Error: bad, Err: bad}
	} else {
		opts := b.opts.RunOptions
		opts.Recorder = Tell(b.observe)
		result = b.pipeline.Run(ctx, input, opts)
	}
	b.add(line, result)
	if b.opts.Finished != nil {
		b.opts.Finished(line, result)
	}
}

func (l numbered) decode() (kernel.Value, error) {
	if l.tooLong {
		return nil, fmt.Errorf("it has more than %d bytes", maxLine)
	}
	return kernel.DecodeJSON(l.text)
}

func (b *batch) observe(e *Event) {
	if e.Type == kernel.GovernanceDecided {
		b.decided(e)
	}
	if b.opts.Recorder != nil {
		b.opts.Recorder.Observe(e)
	}
}

func (b *batch) decided(e *Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	key := decisionKey{e.Op, e.Action, strings.Join(e.Rules, ", ")}
	d := b.report.decided[key]
	if d == nil {
		d = &Decision{Action: key.action, Effect: key.effect, Rules: key.rules, Example: e.Reason}
		b.report.decided[key] = d
	}
	d.Count++
	d.Example = min(d.Example, e.Reason)
}

func (b *batch) add(line Line, result *Result) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.report
	r.Lines++
	switch result.Status {
	case engine.Completed:
		r.Completed++
	case engine.Denied:
		r.Denied++
	default:
		r.Failed++
	}
	if result.Err != nil {
		var e *kernel.Error
		errors.As(result.Err, &e)
		r.Problems = append(r.Problems, Problem{Line: line.Number, Label: line.Label, RunID: result.RunID, Error: e})
	}
	r.Usage = r.Usage.Add(result.Usage)
	for name, n := range result.Counters {
		r.Counters[name] += n
	}
}

func (b *batch) finish(start time.Time) *Report {
	r := b.report
	h := b.pipeline.host
	r.Duration, r.AuditDir, r.StateDir, r.Stores = time.Since(start), h.AuditDir(), h.StateDir(), h.Stores()
	slices.SortFunc(r.Problems, func(a, b Problem) int { return a.Line - b.Line })
	for _, d := range r.decided {
		r.Decisions = append(r.Decisions, *d)
	}
	slices.SortFunc(r.Decisions, func(a, b Decision) int {
		return cmp.Or(cmp.Compare(a.Action, b.Action), cmp.Compare(a.Effect, b.Effect), cmp.Compare(a.Rules, b.Rules))
	})
	for _, m := range h.Modules() {
		r.Modules = append(r.Modules, ModuleReport{Name: m.Name(), Digest: m.Digest(), Stats: m.Stats()})
	}
	return r
}
