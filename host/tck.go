package host

import (
	"context"

	"github.com/hexdag/hexdag/abi/tck"
	"github.com/hexdag/hexdag/host/conform"
	"github.com/hexdag/hexdag/host/extension"
	"github.com/hexdag/hexdag/host/kernel"
)

// Conformance is how a guest did one vector of the ABI's conformance kit.
type Conformance = tck.Check

// CheckConformance runs the conformance kit on the probe in a file, made with any
// SDK, and tells done of each vector.
func CheckConformance(ctx context.Context, file string, opts Options, done func(Conformance)) ([]Conformance, error) {
	runtime, err := openRuntime(ctx, opts)
	if err != nil {
		return nil, err
	}
	defer runtime.Close(ctx)
	wasm, err := extension.ReadFile(file, 0)
	if err != nil {
		return nil, err
	}
	checks, err := tck.Run(ctx, conform.Host{Runtime: runtime}, wasm, done)
	if err != nil {
		return nil, kernel.At(err, kernel.Where{File: file})
	}
	return checks, nil
}
