// Package prices is what models cost, as their providers' lists had it when this was built. An operator's own
// prices come before it: lists change, and a contract may say something else.
package prices

import (
	_ "embed"
	"regexp"
	"sync"

	"github.com/hexdag/hexdag/host/kernel"
)

//go:embed prices.json
var text []byte

// entry is a model's line, in US dollars per million tokens.
type entry struct {
	Input      float64 `json:"input"`
	Output     float64 `json:"output"`
	LongPrompt int64   `json:"long_prompt"` // tokens of a prompt above which it costs more
	LongInput  float64 `json:"long_input"`
	LongOutput float64 `json:"long_output"`
}

var list = sync.OnceValues(func() (map[string]entry, error) {
	var file struct {
		AsOf     string           `json:"as_of"`
		Currency string           `json:"currency"`
		Models   map[string]entry `json:"models"`
	}
	err := kernel.UnmarshalStrict(text, &file)
	return file.Models, err
})

// dated is how providers mark one version of a model: by a date, or, as Google, by a number.
var dated = regexp.MustCompile(`-(\d{8}|\d{4}-\d{2}-\d{2}|\d{3}|latest)$`)

// Undated returns a model's name without the mark of its version: what answers to "gpt-4o" calls itself "gpt-4o-2024-08-06".
func Undated(model string) string { return dated.ReplaceAllString(model, "") }

// Of returns what a model costs: that of its name, or of its name without a version.
func Of(model string) (kernel.Price, bool) {
	models, err := list()
	if err != nil { // a test keeps that from happening
		return kernel.Price{}, false
	}
	e, known := models[model]
	if !known {
		e, known = models[Undated(model)]
	}
	return kernel.Price{InputPerMillion: e.Input, OutputPerMillion: e.Output, LongPrompt: e.LongPrompt, LongInput: e.LongInput, LongOutput: e.LongOutput}, known
}
