package regoc

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/tester"

	"github.com/hexdag/hexdag/host/kernel"
)

// TestResult is how one test rule ended.
type TestResult struct {
	Package  string
	Name     string
	Where    kernel.Where
	Passed   bool
	Skipped  bool // a todo_ rule
	Message  string
	Duration time.Duration
}

// Test runs the test rules of the source's _test.rego files with OPA's evaluator
// and with the builtins that policies may call.
func Test(ctx context.Context, source Source) ([]TestResult, error) {
	files, err := load(source.Dirs)
	if err != nil {
		return nil, err
	}
	modules, err := files.parse(func(string) bool { return true })
	if err != nil {
		return nil, err
	}
	if err := check(modules, files.data); err != nil {
		return nil, err
	}
	capabilities := Capabilities()
	capabilities.Builtins = append(capabilities.Builtins, ast.InternalTestCase) // with which OPA tells the cases of a test apart
	runner := tester.NewRunner().
		SetCompiler(ast.NewCompiler().WithCapabilities(capabilities)).
		SetStore(inmem.NewFromObject(files.data)).
		SetDefaultRegoVersion(ast.RegoV1).
		SetModules(modules).
		RaiseBuiltinErrors(true).
		SetTimeout(10 * time.Second)
	ended, err := runner.RunTests(ctx, nil)
	if err != nil {
		return nil, buildError(err)
	}
	var results []TestResult
	for r := range ended {
		results = append(results, testResult(r))
	}
	return results, nil
}

func testResult(r *tester.Result) TestResult {
	t := TestResult{
		Package: strings.TrimPrefix(r.Package, "data."), Name: r.Name, Passed: r.Pass(), Skipped: r.Skip, Duration: r.Duration,
	}
	if r.Location != nil {
		t.Where = kernel.Where{File: r.Location.File, Line: r.Location.Row, Column: r.Location.Col}
	}
	switch {
	case r.Error != nil:
		t.Message = r.Error.Error()
	case r.FailedAt != nil:
		t.Message = fmt.Sprintf("not true: %v", r.FailedAt)
	}
	for name, sub := range r.SubResults.Iter {
		if sub.Fail {
			t.Message += fmt.Sprintf(" [%s]", strings.Join(name, "/"))
		}
	}
	return t
}
