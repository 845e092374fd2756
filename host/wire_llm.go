package host

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/hexdag/hexdag/host/journal"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/ports/llm"
	"github.com/hexdag/hexdag/host/ports/llm/anthropicllm"
	"github.com/hexdag/hexdag/host/ports/llm/driver"
	"github.com/hexdag/hexdag/host/ports/llm/googlellm"
	"github.com/hexdag/hexdag/host/ports/llm/mockllm"
	"github.com/hexdag/hexdag/host/ports/llm/openaillm"
	"github.com/hexdag/hexdag/host/ports/llm/replayllm"
)

func openMock(o opening, config map[string]any, dir string) ([]ports.Op, error) {
	if err := o.path(config, "rules_file", dir); err != nil {
		return nil, err
	}
	if file, ok := config["rules_file"].(string); ok {
		rules, err := pipeline.ReadData(file)
		if err != nil {
			return nil, err
		}
		for name, v := range rules {
			config[name] = v
		}
	}
	return o.keepModel(mockllm.FromConfig(config))
}

func openOpenAI(o opening, config map[string]any, _ string) ([]ports.Op, error) {
	return o.openModel(config, "https://api.openai.com", openaillm.FromConfig)
}

func openAnthropic(o opening, config map[string]any, _ string) ([]ports.Op, error) {
	return o.openModel(config, "https://api.anthropic.com", anthropicllm.FromConfig)
}

func openGoogle(o opening, config map[string]any, _ string) ([]ports.Op, error) {
	return o.openModel(config, "https://generativelanguage.googleapis.com", googlellm.FromConfig)
}

// openModel opens a model behind HTTP; official is where it is if nothing else is said.
func (o opening) openModel(config map[string]any, official string, open func(map[string]any) (driver.LLM, error)) ([]ports.Op, error) {
	address, given := config["base_url"].(string)
	if !given || address == "" {
		address = official
	}
	if err := errors.Join(o.reach("the model", address), o.key(config)); err != nil {
		return nil, err
	}
	return o.keepModel(open(config))
}

// keepModel has a model closed in the end.
func (o opening) keepModel(d driver.LLM, err error) ([]ports.Op, error) {
	if err != nil {
		return nil, err
	}
	port := llm.New(d).TraceWith(o.host.tracer)
	o.closers.add(func(context.Context) error { return port.Close() })
	return port.Ops(), nil
}

// key resolves api_key_env of a pipeline's own adapter by what the operator lets
// pipelines read: it would otherwise send any variable to an endpoint of its choice.
func (o opening) key(config map[string]any) error {
	name, ok := config["api_key_env"].(string)
	if !o.own || !ok {
		return nil
	}
	value, set := o.host.env(name)
	if !set {
		return &kernel.Error{Code: kernel.CodeConfig, What: "the environment variable " + kernel.Quote(name) + " is not set, or not for a pipeline to read", Fix: "set it, and, where there is a configuration, list it there under env"}
	}
	delete(config, "api_key_env")
	config["api_key"] = value
	return nil
}

// replayConfig is the configuration of the adapter replay: whose answers it gives.
type replayConfig struct {
	Runs  []string `json:"runs"`  // of the journal, in the order in which they are to be asked
	Files []string `json:"files"` // what 'hexdag journal export' wrote
}

func openReplay(o opening, config map[string]any, dir string) ([]ports.Op, error) {
	var c replayConfig
	if err := kernel.FromValue(config, &c); err != nil || len(c.Runs)+len(c.Files) == 0 {
		why := "it names no recording"
		if err != nil {
			why = kernel.Quote(err.Error())
		}
		return nil, &kernel.Error{Code: kernel.CodeConfig, What: "the configuration of the adapter replay cannot be used", Why: why, Fix: "it takes runs: [RUN], of the journal, and files: [FILE], which 'hexdag journal export' wrote"}
	}
	model := replayllm.New()
	for _, file := range c.Files {
		entries, err := o.recording(file, dir)
		if err != nil {
			return nil, err
		}
		model.Add(entries)
	}
	if len(c.Runs) > 0 {
		if err := o.recordedRuns(c.Runs, model); err != nil {
			return nil, err
		}
	}
	if held, redacted := model.Held(); held == 0 {
		return nil, &kernel.Error{Code: kernel.CodeConfig, What: "the recording holds no answer of a model", Why: fmt.Sprintf("%d were redacted", redacted), Fix: "name runs that asked one"}
	}
	return model.Ops(), nil
}

// maxRecording bounds a file of a recording.
const maxRecording = 256 << 20

func (o opening) recording(file, dir string) ([]*journal.Entry, error) {
	named := map[string]any{"files": file}
	if err := o.path(named, "files", dir); err != nil {
		return nil, err
	}
	path, _ := named["files"].(string)
	info, err := os.Stat(path)
	if err == nil && info.Size() > maxRecording {
		err = fmt.Errorf("it has %d bytes, the limit is %d", info.Size(), maxRecording)
	}
	var text []byte
	if err == nil {
		text, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, &kernel.Error{Code: kernel.CodeConfig, What: "the recording " + kernel.Quote(file) + " cannot be read", Why: kernel.Quote(err.Error()), Err: err}
	}
	return replayllm.Lines(text)
}

// recordedRuns adds the answers of runs of the journal. These may be anybody's of the tenant: they are the operator's to name.
func (o opening) recordedRuns(runs []string, model *replayllm.Model) error {
	if o.own {
		return &kernel.Error{Code: kernel.CodeConfig, What: "a pipeline cannot name runs of the journal", Why: "they may be other people's", Fix: "give it a file that 'hexdag journal export' wrote, or have the operator configure the port"}
	}
	store := o.host.opts.Journal
	if store == nil {
		j, err := OpenJournal(o.ctx, o.host.config)
		if err != nil {
			return err
		}
		defer j.Close()
		store = j.Store
	}
	for _, run := range runs {
		j, err := journal.Read(o.ctx, store, o.host.tenant(), run)
		if err != nil {
			return err
		}
		entries, err := j.All(o.ctx)
		if err != nil {
			return err
		}
		model.Add(entries)
	}
	return nil
}
