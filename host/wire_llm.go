package host

import (
	"context"
	"errors"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/ports/llm"
	"github.com/hexdag/hexdag/host/ports/llm/anthropicllm"
	"github.com/hexdag/hexdag/host/ports/llm/driver"
	"github.com/hexdag/hexdag/host/ports/llm/googlellm"
	"github.com/hexdag/hexdag/host/ports/llm/mockllm"
	"github.com/hexdag/hexdag/host/ports/llm/openaillm"
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
	port := llm.New(d)
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

func openOpenAI(o opening, config map[string]any, _ string) ([]ports.Op, error) {
	if err := errors.Join(o.endpoint(config), o.key(config)); err != nil {
		return nil, err
	}
	d, err := openaillm.FromConfig(config)
	if err != nil {
		return nil, err
	}
	port := llm.New(d)
	o.closers.add(func(context.Context) error { return port.Close() })
	return port.Ops(), nil
}

