package host

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/extension"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/moduledev"
	"github.com/hexdag/hexdag/host/moduletest"
	"github.com/hexdag/hexdag/host/sandbox"
	"github.com/hexdag/hexdag/host/toolchain"
)

// ModuleDev is a module that is being written: see package moduledev.
type ModuleDev struct {
	Dir string // of its source
	// Point is the extension point to call with Input and Config, with in-memory ports that
	// start empty; "" runs the cases in Dir.
	Point  string
	Input  any
	Config any
	Log    io.Writer // takes what a compiler says
	// Report is given each round, with what changed since the last one that ran.
	Report func(r *moduledev.Round, changes []moduledev.Change)
}

// lookEvery is how often the source is looked at.
const lookEvery = 100 * time.Millisecond

// DevModule builds a module and makes the same calls of it, now and whenever its
// source changes, until the context is done.
func DevModule(ctx context.Context, dev ModuleDev, opts Options) (err error) {
	tmp, err := os.MkdirTemp("", "hexdag-dev-")
	if err != nil {
		return &kernel.Error{Code: kernel.CodeFailed, What: "there is no folder to build in", Why: err.Error(), Err: err}
	}
	defer os.RemoveAll(tmp)
	opts.CacheDir = filepath.Join(tmp, "cache")
	opts.Engine = string(sandbox.Interpreter) // each version runs a few times: compiling it takes longer
	runtime, err := openRuntime(ctx, opts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, runtime.Close(context.WithoutCancel(ctx))) }()
	if _, err := dev.cases(); err != nil {
		return err // before anything is built
	}
	file := filepath.Join(tmp, "module.wasm")
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	return moduledev.Run(ctx, moduledev.Loop{
		Dir: dev.Dir,
		Build: func(ctx context.Context) (string, error) {
			return file, BuildModule(toolchain.WithNames(ctx), dev.Dir, file, dev.Log)
		},
		Run:    func(ctx context.Context, file string) ([]moduledev.Call, error) { return dev.run(ctx, runtime, file) },
		Report: dev.Report,
		Wait: func(ctx context.Context) {
			select {
			case <-ctx.Done():
			case <-ticker.C:
			}
		},
	})
}

// cases are the calls to make.
func (d *ModuleDev) cases() ([]*moduletest.Case, error) {
	if d.Point == "" {
		return moduletest.Find(d.Dir)
	}
	input, err := kernel.ToValue(d.Input)
	config, configErr := kernel.ToValue(d.Config)
	object, ok := input.(map[string]any)
	if err = errors.Join(err, configErr); err != nil || !ok {
		return nil, &kernel.Error{Code: kernel.CodeInput, What: "the input cannot be used", Why: "it is no JSON object", Fix: "pass the message that abi/README.md describes for the extension point", Err: err}
	}
	return []*moduletest.Case{{File: d.Point, Point: abi.Point(d.Point), Input: object, Config: config}}, nil
}

// run makes the calls of a module's file.
func (d *ModuleDev) run(ctx context.Context, runtime *sandbox.Runtime, file string) (calls []moduledev.Call, err error) {
	cases, err := d.cases() // they may have changed, too
	if err != nil {
		return nil, err
	}
	s, err := openSuite(ctx, runtime, file, d.Point != "")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close(context.WithoutCancel(ctx))) }()
	for _, c := range cases {
		r, err := s.Run(ctx, c)
		if err != nil {
			return nil, err
		}
		calls = append(calls, devCall(r))
	}
	return calls, nil
}

// devCall is a result as the loop compares it.
func devCall(r *moduletest.Result) moduledev.Call {
	t := r.Trace
	c := moduledev.Call{Name: kernel.Quote(r.Case.Name()), Verdict: r.Verdict, Fuel: t.Outcome.Usage.Fuel, Problems: r.Problems}
	switch {
	case t.Err != nil:
		c.Result = t.Err.Error()
	case t.Outcome.Verdict == abi.Replace:
		c.Result = shortJSON(t.Outcome.Patched)
	case t.Outcome.HasOut:
		c.Result = shortJSON(t.Outcome.Output)
	}
	for _, h := range t.Calls {
		c.HostCalls = append(c.HostCalls, hostCallLine(h))
	}
	for _, l := range t.Log {
		c.Log = append(c.Log, kernel.Quote(l.Text))
	}
	return c
}

func hostCallLine(h extension.HostCall) string {
	line := kernel.Quote(h.Op) + " " + shortJSON(h.Args)
	if h.Err != nil {
		return line + ": " + string(kernel.CodeOf(h.Err))
	}
	return line
}

func shortJSON(v kernel.Value) string {
	text, err := kernel.EncodeJSON(v)
	if err != nil {
		return kernel.Quote(err.Error())
	}
	return kernel.Quote(string(text))
}
