package host

import (
	"bytes"
	"encoding/json"
	"os"

	"github.com/hexdag/hexdag/host/pipeline"
	"github.com/hexdag/hexdag/host/pipeline/diagram"
	"github.com/hexdag/hexdag/host/pipeline/explain"
	"github.com/hexdag/hexdag/host/pipeline/lint"
	"github.com/hexdag/hexdag/host/pipeline/schema"
)

// LintOptions says what Lint looks at and for.
type LintOptions = lint.Options

// LintReport is what Lint found.
type LintReport = lint.Report

// Lint looks at a pipeline's or a system's file for what is wrong, what is likely
// not meant, and what a reader would miss. Nothing of it runs. Where opts.Env is
// nil the file may read every variable of this process's environment.
func Lint(file string, opts LintOptions) (*LintReport, error) {
	if opts.Env == nil {
		opts.Env = os.LookupEnv
	}
	return lint.File(file, opts)
}

// Plan is what a pipeline would do.
type Plan = explain.Plan

// ProcessPlan is what a process of a system would do.
type ProcessPlan struct {
	Process string `json:"process"`
	*Plan
}

// Explain says what a checked pipeline would do under a configuration; nil is none.
func Explain(p *pipeline.Pipeline, c *Config) *Plan { return explain.New(p, c) }

// ExplainSystem is Explain for the processes of a system, in their order.
func ExplainSystem(s *pipeline.System, c *Config) []ProcessPlan {
	plans := make([]ProcessPlan, 0, len(s.Processes))
	for _, p := range s.Processes {
		plans = append(plans, ProcessPlan{p.Name, explain.New(inherit(p.Pipeline, s), c)})
	}
	return plans
}

// GraphText draws what a file holds as a tree of text: the waves, their nodes, and
// the bodies in these.
func GraphText(f *pipeline.File) string { return diagram.Of(f).Text() }

// GraphSVG draws what a file holds as one SVG document, complete in itself and
// without scripts.
func GraphSVG(f *pipeline.File) []byte { return diagram.Of(f).SVG() }

// PipelineSchema returns the JSON Schema (draft-07) of the documents that a
// pipeline's file and a configuration hold, indented.
func PipelineSchema() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(schema.Document())
	return b.Bytes(), err
}
