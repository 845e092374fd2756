package host

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/moduletest"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/sandbox"
	"github.com/hexdag/hexdag/host/toolchain"
)

// ModuleTest is a module with the cases beside it: see package moduletest.
type ModuleTest struct {
	// Path is a module's file, a folder of source that is built first, or a folder
	// with nothing but one module.
	Path string
	// Cases is the folder of the cases; "" means that of the path.
	Cases string
	// Log takes what a compiler says.
	Log io.Writer
}

// TestedModule is what the cases of a module came to.
type TestedModule struct {
	Module  string // name@digest
	Results []*moduletest.Result
}

// Failed returns how many cases failed.
func (t *TestedModule) Failed() int {
	n := 0
	for _, r := range t.Results {
		if !r.Passed() {
			n++
		}
	}
	return n
}

// TestModule runs the cases of a module. A case that fails is a result, not an error.
func TestModule(ctx context.Context, test ModuleTest, opts Options) (*TestedModule, error) {
	tested := &TestedModule{}
	err := withCases(ctx, test, opts, func(s *moduletest.Suite, cases []*moduletest.Case) error {
		tested.Module = s.Module().ID()
		for _, c := range cases {
			r, err := s.Run(ctx, c)
			if err != nil {
				return kernel.At(err, kernel.Where{File: c.File})
			}
			tested.Results = append(tested.Results, r)
		}
		return nil
	})
	return tested, err
}

// BenchModule makes the call of each case of a module n times.
func BenchModule(ctx context.Context, test ModuleTest, n int, opts Options) ([]*moduletest.Timing, error) {
	var timings []*moduletest.Timing
	err := withCases(ctx, test, opts, func(s *moduletest.Suite, cases []*moduletest.Case) error {
		for _, c := range cases {
			t, err := s.Bench(ctx, c, n)
			if err != nil {
				return kernel.At(err, kernel.Where{File: c.File})
			}
			timings = append(timings, t)
		}
		return nil
	})
	return timings, err
}

func withCases(ctx context.Context, test ModuleTest, opts Options, use func(*moduletest.Suite, []*moduletest.Case) error) (err error) {
	file, dir, remove, err := moduleFile(ctx, test)
	if err != nil {
		return err
	}
	defer remove()
	if test.Cases != "" {
		dir = test.Cases
	}
	cases, err := moduletest.Find(dir)
	if err != nil {
		return err
	}
	runtime, err := openRuntime(ctx, opts)
	if err != nil {
		return err
	}
	defer runtime.Close(ctx)
	s, err := openSuite(ctx, runtime, file, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close(ctx)) }()
	return use(s, cases)
}

func openSuite(ctx context.Context, runtime *sandbox.Runtime, file string, live bool) (*moduletest.Suite, error) {
	return moduletest.Open(ctx, file, moduletest.Options{Runtime: runtime, Door: ports.NewDoor(allowAll{}, discard{}), Ops: memoryOps(), Live: live})
}

// onlyModule returns the one module of a folder that holds no source.
func onlyModule(dir string) string {
	if _, err := os.Stat(filepath.Join(dir, toolchain.ManifestFile)); err == nil {
		return ""
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return ""
	}
	found := ""
	for _, e := range entries {
		if filepath.Ext(e.Name()) != ".wasm" {
			continue
		}
		if found != "" {
			return ""
		}
		found = filepath.Join(dir, e.Name())
	}
	return found
}

// moduleFile returns a module's file, built where the path is a folder of source,
// and the folder that it or its source is in.
func moduleFile(ctx context.Context, test ModuleTest) (file, dir string, remove func(), err error) {
	info, err := os.Stat(test.Path)
	if err == nil && !info.IsDir() {
		return test.Path, filepath.Dir(test.Path), func() {}, nil
	}
	if err != nil {
		return "", "", nil, &kernel.Error{Code: kernel.CodeModuleNotFound, What: "there is no module", Where: kernel.Where{File: test.Path}, Why: err.Error(), Fix: "name a module's file, or the folder of its source", Err: err}
	}
	if wasm := onlyModule(test.Path); wasm != "" {
		return wasm, test.Path, func() {}, nil
	}
	tmp, err := os.MkdirTemp("", "hexdag-test-")
	if err != nil {
		return "", "", nil, &kernel.Error{Code: kernel.CodeFailed, What: "there is no folder to build in", Why: err.Error(), Err: err}
	}
	remove = func() { os.RemoveAll(tmp) }
	file = filepath.Join(tmp, "module.wasm")
	if err := BuildModule(toolchain.WithNames(ctx), test.Path, file, test.Log); err != nil {
		remove()
		return "", "", nil, err
	}
	return file, test.Path, remove, nil
}
