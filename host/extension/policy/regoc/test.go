package regoc

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/cover"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/tester"
	"github.com/open-policy-agent/opa/v1/topdown"

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

// Coverage is what of a source the tests evaluated, tests and stock library excepted.
type Coverage struct {
	Files map[string]FileCoverage
}

// FileCoverage is of one file.
type FileCoverage struct {
	Percent    float64
	NotCovered []int // lines
}

// Test runs the test rules of the source's _test.rego files with OPA's evaluator
// and with the builtins that policies may call. A builtin's error fails a test.
func Test(ctx context.Context, source Source) ([]TestResult, error) {
	s, err := loadTests(source)
	if err != nil {
		return nil, err
	}
	return s.run(ctx, nil)
}

// TestCover is Test that tells what was evaluated; it takes longer.
func TestCover(ctx context.Context, source Source) ([]TestResult, *Coverage, error) {
	s, err := loadTests(source)
	if err != nil {
		return nil, nil, err
	}
	c := cover.New()
	results, err := s.run(ctx, c)
	if err != nil {
		return nil, nil, err
	}
	return results, coverage(c.Report(s.modules)), nil
}

func coverage(r cover.Report) *Coverage {
	c := &Coverage{Files: map[string]FileCoverage{}}
	for name, f := range r.Files {
		if isTest(name) || strings.HasPrefix(name, stockPrefix) {
			continue
		}
		one := FileCoverage{Percent: f.Coverage}
		for _, lines := range f.NotCovered {
			for row := lines.Start.Row; row <= lines.End.Row; row++ {
				one.NotCovered = append(one.NotCovered, row)
			}
		}
		c.Files[name] = one
	}
	return c
}

// suite is tests with what they test.
type suite struct {
	modules map[string]*ast.Module
	data    map[string]any
}

func loadTests(source Source) (*suite, error) {
	files, err := load(source.Dirs)
	if err != nil {
		return nil, err
	}
	modules, err := files.parse(func(string) bool { return true })
	if err != nil {
		return nil, err
	}
	if _, err := check(modules, files.data, false); err != nil {
		return nil, err
	}
	return &suite{modules: modules, data: files.data}, nil
}

func (s *suite) run(ctx context.Context, tracer topdown.QueryTracer) ([]TestResult, error) {
	capabilities := Capabilities()
	capabilities.Builtins = append(capabilities.Builtins, ast.InternalTestCase) // with which OPA tells the cases of a test apart
	runner := tester.NewRunner().
		SetCompiler(ast.NewCompiler().WithCapabilities(capabilities)).
		SetStore(inmem.NewFromObject(s.data)).
		SetDefaultRegoVersion(ast.RegoV1).
		SetModules(s.modules).
		RaiseBuiltinErrors(true).
		SetTimeout(10 * time.Second)
	if tracer != nil {
		runner.SetCoverageQueryTracer(tracer)
	}
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
