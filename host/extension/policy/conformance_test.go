package policy_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/test/cases"
	"github.com/open-policy-agent/opa/v1/test/cases/testdata"
	"github.com/open-policy-agent/opa/v1/types"
	"github.com/open-policy-agent/opa/v1/util"

	"github.com/hexdag/hexdag/host/extension/policy"
	"github.com/hexdag/hexdag/host/extension/policy/topdown"
	"github.com/hexdag/hexdag/host/testenv"
)

const (
	// every is the stride of the sample that -short takes of OPA's cases.
	every = 12
	// wantCases and wantPassed are of the whole suite.
	wantCases, wantPassed = 2400, 2395
)

// TestConformance runs OPA's own test cases on the driver, in the interpreter: most
// evaluate so little that compiling would take longer. All of OPA's builtins are
// bound, as the suite is about the driver: package topdown's tests are about what of
// them policies are offered.
func TestConformance(t *testing.T) {
	if testenv.Race {
		t.Skip("it takes minutes, and races are looked for elsewhere")
	}
	all := suite(t)
	if len(all) != wantCases {
		t.Errorf("the suite has %d cases, not %d", len(all), wantCases)
	}
	if testing.Short() {
		all = slices.Collect(func(yield func(cases.TestCase) bool) {
			for i := 0; i < len(all) && yield(all[i]); i += every {
			}
		})
	}
	failed := runAll(t, all)
	known := exceptions()
	for note, err := range failed {
		if known[note] == "" {
			t.Errorf("%s: %v", note, err)
		}
	}
	if testing.Short() {
		return
	}
	for note := range known {
		if failed[note] == nil {
			t.Errorf("%s passes, and is among the exceptions", note)
		}
	}
	passed := len(all) - len(failed)
	t.Logf("%d of %d pass", passed, len(all))
	if passed < wantPassed {
		t.Errorf("%d pass, want at least %d", passed, wantPassed)
	}
}

// exceptions are the cases that fail, with the cause. All are on OPA's own list for
// its wasm runtime, as the cause is in the module that OPA's compiler makes.
func exceptions() map[string]string {
	const digits = "a module has no integers of more than 64 bits"
	const exponent = "a module parses JSON itself, and takes exponents that OPA's evaluator refuses"
	return map[string]string{
		"data/toplevel integer": digits,
		"data/nested integer":   digits,
		"strings/format_int: bignum exact (>64-bit integer, all bases + negative)": digits,
		"jsonbuiltins/unmarshal number beyond the supported exponent is undefined": exponent,
		"jsonbuiltins/unmarshal number with too big an exponent is undefined":      exponent,
	}
}

// runAll runs the cases on all processors and returns the errors by the cases' notes.
func runAll(t *testing.T, all []cases.TestCase) map[string]error {
	builtins := everyBuiltin()
	queue := make(chan cases.TestCase)
	var mu sync.Mutex
	var workers sync.WaitGroup
	failed := map[string]error{}
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for tc := range queue {
				if err := runCase(tc, builtins); err != nil {
					mu.Lock()
					failed[tc.Note] = err
					mu.Unlock()
				}
			}
		})
	}
	for _, tc := range all {
		for k, v := range tc.Env {
			t.Setenv(k, v)
		}
		queue <- tc
	}
	close(queue)
	workers.Wait()
	return failed
}

// everyBuiltin returns all that OPA can run on the host, test.sleep of its suite
// included.
func everyBuiltin() map[string]policy.Builtin {
	rego.RegisterBuiltin1(&rego.Function{Name: "test.sleep", Decl: types.NewFunction(types.Args(types.S), types.NewNull())},
		func(_ rego.BuiltinContext, op *ast.Term) (*ast.Term, error) {
			d, err := time.ParseDuration(string(op.Value.(ast.String)))
			time.Sleep(d)
			return ast.NullTerm(), err
		})
	all := map[string]policy.Builtin{}
	for _, b := range ast.Builtins {
		if f, ok := topdown.Unbounded(b.Name); ok {
			all[b.Name] = f
		}
	}
	return all
}

// suite reads OPA's cases.
func suite(t *testing.T) []cases.TestCase {
	t.Helper()
	var all []cases.TestCase
	err := fs.WalkDir(testdata.V1, "v1", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := testdata.V1.ReadFile(name)
		if err != nil {
			return err
		}
		var set cases.Set
		if err := util.Unmarshal(text, &set); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		for _, tc := range set.Cases {
			tc.Filename = name
			all = append(all, tc)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func runCase(tc cases.TestCase, builtins map[string]policy.Builtin) error {
	ctx := context.Background()
	opts := []func(*rego.Rego){
		rego.Query(tc.Query),
		rego.SetRegoVersion(ast.RegoV1),
		rego.Capabilities(ast.CapabilitiesForThisVersion(ast.CapabilitiesExperimentalKeywords(tc.ExperimentalKeywords))),
	}
	for name, ours := range policy.PatternBuiltins() {
		opts = append(opts, rego.FunctionDecl(&rego.Function{Name: ours, Decl: ast.BuiltinMap[name].Decl}))
	}
	for i, m := range tc.Modules {
		opts = append(opts, rego.Module(fmt.Sprintf("module-%d.rego", i), m))
	}
	compiled, err := rego.New(opts...).Compile(ctx)
	if err != nil {
		return err
	}
	loadOpts := policy.Options{Interpreter: true, Instances: 1, Timeout: time.Minute, Builtins: builtins}
	if tc.Data != nil {
		if loadOpts.Data, err = json.Marshal(*tc.Data); err != nil {
			return err
		}
	}
	p, err := policy.Load(ctx, compiled.Bytes, loadOpts)
	if err != nil {
		return err
	}
	defer p.Close()
	input := ""
	switch {
	case tc.InputTerm != nil:
		term, err := ast.ParseTerm(*tc.InputTerm)
		if err != nil {
			return err
		}
		input = term.String() // without what the module's parser does not take: commas at the end
	case tc.Input != nil:
		text, err := json.Marshal(*tc.Input)
		if err != nil {
			return err
		}
		input = string(text)
	}
	answer, err := p.EvalText(ctx, p.Entrypoints()[0], input)
	return judge(tc, answer, err)
}

// TestConformanceOfPatterns runs the cases that match patterns with the host's builtins in the
// place of the module's, as package regoc has it.
func TestConformanceOfPatterns(t *testing.T) {
	var ours []cases.TestCase
	for _, tc := range suite(t) {
		text := strings.Join(tc.Modules, "\n") + tc.Query
		for name, host := range policy.PatternBuiltins() {
			tc.Query = strings.ReplaceAll(tc.Query, name, host)
			tc.Modules = slices.Clone(tc.Modules)
			for i := range tc.Modules {
				tc.Modules[i] = strings.ReplaceAll(tc.Modules[i], name, host)
			}
		}
		if strings.Join(tc.Modules, "\n")+tc.Query != text {
			ours = append(ours, tc)
		}
	}
	if len(ours) < 50 {
		t.Errorf("only %d cases have patterns", len(ours))
	}
	t.Logf("%d cases", len(ours))
	for note, err := range runAll(t, ours) {
		t.Errorf("%s: %v", note, err)
	}
}

// judge compares an answer with what the case wants. Errors of builtins, which
// the suite sees in OPA's strict mode, are undefined in a module.
func judge(tc cases.TestCase, answer any, err error) error {
	if tc.WantResult == nil && tc.WantDefined == nil && !tc.StrictError {
		if err == nil {
			return fmt.Errorf("gave %v, want an error", answer)
		}
		return nil
	}
	if err != nil {
		return err
	}
	got := answer.([]any)
	want := []map[string]any{}
	if tc.WantDefined != nil {
		if *tc.WantDefined != (len(got) > 0) {
			return fmt.Errorf("gave %v, want defined to be %v", answer, *tc.WantDefined)
		}
		return nil
	}
	if tc.WantResult != nil {
		want = *tc.WantResult
	}
	results := make([]map[string]any, len(got))
	for i := range got {
		results[i] = got[i].(map[string]any)
	}
	g, err := resultSet(results, tc.SortBindings)
	if err != nil {
		return err
	}
	w, err := resultSet(want, tc.SortBindings)
	if err != nil {
		return err
	}
	if g.Compare(w) != 0 {
		return fmt.Errorf("gave %v, want %v", g, w)
	}
	return nil
}

func resultSet(results []map[string]any, sort bool) (ast.Set, error) {
	all := ast.NewSet()
	for _, bindings := range results {
		o := ast.NewObject()
		for name, v := range bindings {
			value, err := ast.InterfaceToValue(v)
			if err != nil {
				return nil, err
			}
			if a, ok := value.(*ast.Array); ok && sort {
				value = a.Sorted()
			}
			o.Insert(ast.StringTerm(name), ast.NewTerm(value))
		}
		all.Add(ast.NewTerm(o))
	}
	return all, nil
}
