// Package lint finds in a pipeline's file what is wrong, what works and is likely
// not meant, and what a reader would miss. Nothing of the file runs.
//
// The rules are hexDAG's:
//
//	E100  error    the dependencies go in a circle
//	E101  error    there is no such node kind
//	E102  error    the file does not load, for another reason
//	W200  warning  a node that asks a model has no timeout
//	W201  warning  a node that asks a model is not tried again
//	W202  warning  nothing uses a node's result
//	W203  warning  a secret is written into the file
//	W204  warning  what the loader itself warns of
//	W205  warning  a lock has no timeout
//	I300  info     a pipeline or a node has no description
//	I301  info     a node's name is not in snake_case
//
// W200, W201, W202, W205, I300 and I301 need a file that loads; W203 needs YAML alone.
package lint

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline"
	"github.com/hexdag/hexdag/host/pipeline/source"
)

// Rule is the name of a rule; its first letter says how severe it is.
type Rule string

// The rules.
const (
	Cycle       Rule = "E100"
	Kind        Rule = "E101"
	Load        Rule = "E102"
	Timeout     Rule = "W200"
	Retry       Rule = "W201"
	Unused      Rule = "W202"
	Secret      Rule = "W203"
	Warned      Rule = "W204"
	Lock        Rule = "W205"
	Description Rule = "I300"
	Name        Rule = "I301"
)

func rules() []Rule {
	return []Rule{Cycle, Kind, Load, Timeout, Retry, Unused, Secret, Warned, Lock, Description, Name}
}

// Severity is how much a finding matters.
type Severity string

// The severities, the gravest first.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
	Info    Severity = "info"
)

func severities() []Severity { return []Severity{Error, Warning, Info} }

// Severity returns how much what the rule finds matters.
func (r Rule) Severity() Severity {
	switch r[0] {
	case 'E':
		return Error
	case 'W':
		return Warning
	}
	return Info
}

// Finding is one thing that a rule found. Its texts hold no secret whole.
type Finding struct {
	Rule     Rule     `json:"rule"`
	Severity Severity `json:"severity"`
	Message  string   `json:"message"`
	Fix      string   `json:"fix,omitempty"`
	File     string   `json:"file"`
	Line     int      `json:"line,omitempty"`
	Column   int      `json:"column,omitempty"`
	Node     string   `json:"node,omitempty"`
}

// Where returns the finding's place.
func (f *Finding) Where() kernel.Where {
	return kernel.Where{File: f.File, Line: f.Line, Column: f.Column}
}

// Report is what was found, in the order of its places.
type Report struct {
	File     string    `json:"file"`
	Findings []Finding `json:"findings"`
	Errors   int       `json:"errors"`
	Warnings int       `json:"warnings"`
	Infos    int       `json:"infos"`
}

// Options says what to look at and for. The zero value looks at all environments
// of a file, for everything.
type Options struct {
	Environment string     // the metadata.namespace of one of several pipelines
	Env         source.Env // answers for the environment variables that the file may read; nil has none
	Severity    Severity   // the least that is reported; "" means info
	Disable     []string   // rules that are not reported: no errors
}

// File looks at a file of a pipeline or a system, with all the files that it names.
// Its error is about the options alone; a file that cannot be read is a finding.
func File(file string, opts Options) (*Report, error) {
	l := &linter{disabled: map[Rule]bool{}, seen: map[Finding]bool{}, severity: opts.Severity}
	if err := l.configure(opts); err != nil {
		return nil, err
	}
	docs := l.load(file)
	for _, env := range environments(docs, opts.Environment) {
		l.environment(file, pipeline.Options{Environment: env, Env: opts.Env})
	}
	return l.report(file), nil
}

// linter collects findings. A file's environments share most of theirs.
type linter struct {
	severity Severity
	disabled map[Rule]bool
	scanned  []string // the files whose values were looked at for secrets
	sources  places
	seen     map[Finding]bool
	findings []Finding
}

func (l *linter) configure(opts Options) error {
	known := make([]string, 0, len(rules()))
	for _, r := range rules() {
		known = append(known, string(r))
	}
	for _, name := range opts.Disable {
		r := Rule(strings.ToUpper(strings.TrimSpace(name)))
		switch {
		case !slices.Contains(rules(), r):
			return &kernel.Error{Code: kernel.CodeInput, What: "there is no rule " + kernel.Quote(name), Fix: kernel.DidYouMean(string(r), known)}
		case r.Severity() == Error:
			return &kernel.Error{Code: kernel.CodeInput, What: "rule " + string(r) + " cannot be disabled", Why: "a file that breaks it does not run", Fix: "correct the file"}
		}
		l.disabled[r] = true
	}
	if l.severity == "" {
		l.severity = Info
	}
	if !slices.Contains(severities(), l.severity) {
		return &kernel.Error{Code: kernel.CodeInput, What: "there is no severity " + kernel.Quote(string(l.severity)), Fix: "write error, warning or info"}
	}
	return nil
}

// environments returns the pipelines of a file that are looked at, by their
// metadata.namespace; "" is the first pipeline.
func environments(docs []*source.Value, wanted string) []string {
	if wanted != "" {
		return []string{wanted}
	}
	var names []string
	for _, doc := range docs {
		if kind := doc.Member("kind"); kind == nil || kind.V != "Pipeline" {
			continue
		}
		name := ""
		if meta := doc.Member("metadata"); meta != nil {
			if v := meta.Member("namespace"); v != nil {
				name, _ = v.Text()
			}
		}
		names = append(names, name)
	}
	slices.Sort(names)
	if names = slices.Compact(names); len(names) < 2 {
		return []string{""}
	}
	return names
}

// load reads a file for its places, and looks for secrets in it.
func (l *linter) load(file string) []*source.Value {
	docs, err := source.Load(file, nil)
	l.scanned = append(l.scanned, file)
	if err != nil {
		return nil // the pipeline's loader says so
	}
	for _, doc := range docs {
		l.sources.note(doc, func(name string) {
			if !slices.Contains(l.scanned, name) {
				l.scanned = append(l.scanned, name)
			}
		})
		l.secrets(doc, nil, false)
	}
	return docs
}

func (l *linter) environment(file string, opts pipeline.Options) {
	f, err := pipeline.Read(file, opts)
	l.loading(err)
	switch {
	case err != nil:
	case f.System != nil:
		l.warned(f.System.Warnings)
		for _, p := range f.System.Processes {
			l.pipeline(p.Pipeline)
		}
	default:
		l.pipeline(f.Pipeline)
	}
}

// loading reports why a file does not load.
func (l *linter) loading(err error) {
	if err == nil {
		return
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok { // the outermost alone: below an Error, what is joined is its cause
		for _, e := range joined.Unwrap() {
			l.loading(e)
		}
		return
	}
	var e *kernel.Error
	errors.As(kernel.At(err, kernel.Where{}), &e) // At makes one of any error
	rule := Load
	switch {
	case e.Code == kernel.CodeUnknownKind:
		rule = Kind
	case strings.HasPrefix(e.What, "Cycle detected: "): // hexDAG's words, which are part of the format
		rule = Cycle
	}
	l.error(rule, e)
}

func (l *linter) warned(warnings []*kernel.Error) {
	for _, e := range warnings {
		l.error(Warned, e)
	}
}

func (l *linter) error(rule Rule, e *kernel.Error) {
	message := e.What
	if e.Why != "" {
		message += ": " + e.Why
	}
	l.add(rule, e.Where, message, e.Fix)
}

// add notes a finding, once.
func (l *linter) add(rule Rule, where kernel.Where, message, fix string) {
	severity := rule.Severity()
	if l.disabled[rule] || slices.Index(severities(), severity) > slices.Index(severities(), l.severity) {
		return
	}
	f := Finding{Rule: rule, Severity: severity, Message: mask(message), Fix: mask(fix), File: where.File, Line: where.Line, Column: where.Column, Node: where.Node}
	if !l.seen[f] {
		l.seen[f] = true
		l.findings = append(l.findings, f)
	}
}

func (l *linter) report(file string) *Report {
	r := &Report{File: file, Findings: l.findings}
	if r.Findings == nil {
		r.Findings = []Finding{}
	}
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		return cmp.Or(strings.Compare(a.File, b.File), a.Line-b.Line, a.Column-b.Column, strings.Compare(string(a.Rule), string(b.Rule)), strings.Compare(a.Message, b.Message))
	})
	for _, f := range r.Findings {
		switch f.Severity {
		case Error:
			r.Errors++
		case Warning:
			r.Warnings++
		case Info:
			r.Infos++
		}
	}
	return r
}
