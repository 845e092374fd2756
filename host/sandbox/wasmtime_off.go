//go:build !wasmtime

package sandbox

import "context"

// newWasmtime opens wasmtime; nil in a build without it.
var newWasmtime func(ctx context.Context, cacheDir string) (engine, error)
