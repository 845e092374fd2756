package host_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/hexdag/hexdag/host"
)

const exampleConfig = `
apiVersion: hexdag/v1
kind: Config
metadata: {name: greeter}
spec:
  ports:
    llm: {adapter: mock, config: {rules: [{match: "I am (?P<who>\\w+)", reply: "Hello, ${who}!"}]}}
`

const examplePipeline = `
apiVersion: hexdag/v1
kind: Pipeline
metadata: {name: greeter}
spec:
  nodes:
    - kind: llm_node
      metadata: {name: greet}
      spec: {human_message: "I am {{ name }}"}
  output: {greeting: greet}
`

// A program runs a pipeline: a configuration, a host, a pipeline, a run.
func Example() {
	ctx := context.Background()
	dir := exampleFiles()
	defer os.RemoveAll(dir)

	cfg, err := host.LoadConfig(filepath.Join(dir, "hexdag.yaml"))
	if err != nil {
		panic(err)
	}
	h, err := host.New(ctx, cfg, host.Options{})
	if err != nil {
		panic(err)
	}
	defer h.Close(ctx)
	p, err := h.Load(ctx, filepath.Join(dir, "pipeline.yaml"), host.LoadOptions{})
	if err != nil {
		panic(err)
	}
	result := p.Run(ctx, map[string]any{"name": "Ada"}, host.RunOptions{})
	fmt.Println(result.Status, result.Output["greeting"], result.Usage.LLMCalls)
	// Output: completed Hello, Ada! 1
}

func exampleFiles() string {
	dir, err := os.MkdirTemp("", "greeter-")
	for name, text := range map[string]string{"hexdag.yaml": exampleConfig, "pipeline.yaml": examplePipeline} {
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	if err != nil {
		panic(err)
	}
	return dir
}
