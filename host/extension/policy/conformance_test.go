package policy_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/test/cases"
	"github.com/open-policy-agent/opa/v1/test/cases/testdata"
	"github.com/open-policy-agent/opa/v1/util"

	"github.com/hexdag/hexdag/host/extension/policy"
	"github.com/hexdag/hexdag/host/kernel"
)

const (
	// every is the stride of the sample of OPA's cases. The whole suite takes minutes.
	every = 6
	// wantPassed is how many of the sample pass. Less is a regression.
	wantPassed = 265
)

// TestConformance runs a sample of OPA's own test cases on the driver.
func TestConformance(t *testing.T) {
	if testing.Short() || underRace {
		t.Skip("it takes seconds, or under the race detector minutes, and runs on one goroutine")
	}
	passed, refused := 0, 0
	for i, tc := range sample(t) {
		if i%every != 0 || exceptions()[tc.Note] != "" {
			continue
		}
		switch err := runCase(t, tc); {
		case err == nil:
			passed++
		case kernel.CodeOf(err) == kernel.CodePolicy && strings.Contains(err.Error(), "the policy calls"):
			refused++
		default:
			t.Errorf("%s: %s: %v", tc.Filename, tc.Note, err)
		}
	}
	t.Logf("%d passed, %d refused for their builtins", passed, refused)
	if passed < wantPassed {
		t.Errorf("%d passed, want at least %d", passed, wantPassed)
	}
}

// exceptions are the cases that no module of OPA's passes, with the reason. They are
// on OPA's own list.
func exceptions() map[string]string {
	return map[string]string{
		"data/nested integer": "numbers beyond 64 bits lose digits in a module",
	}
}

// sample reads the cases of the topics whose builtins are compiled into modules.
func sample(t *testing.T) []cases.TestCase {
	t.Helper()
	foreign := []string{"crypto", "graphql", "hex", "jsonpatch", "jsonschema", "jwt", "netcidr", "netlookup", "providers",
		"rand", "regexfind", "regexreplace", "regexsplit", "regextemplate", "regometadata", "regoparse", "rendertemplate", "semver",
		"subset", "units", "uri", "url", "uuid", "planner-ir"}
	var all []cases.TestCase
	err := fs.WalkDir(testdata.V1, "v1", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			if slices.ContainsFunc(foreign, func(f string) bool { return strings.HasPrefix(entry.Name(), f) }) {
				return fs.SkipDir
			}
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

func runCase(t *testing.T, tc cases.TestCase) error {
	ctx := context.Background()
	for k, v := range tc.Env {
		t.Setenv(k, v)
	}
	opts := []func(*rego.Rego){
		rego.Query(tc.Query),
		rego.SetRegoVersion(ast.RegoV1),
		rego.Capabilities(ast.CapabilitiesForThisVersion(ast.CapabilitiesExperimentalKeywords(tc.ExperimentalKeywords))),
	}
	for i, m := range tc.Modules {
		opts = append(opts, rego.Module(fmt.Sprintf("module-%d.rego", i), m))
	}
	compiled, err := rego.New(opts...).Compile(ctx)
	if err != nil {
		return err
	}
	loadOpts := policy.Options{Interpreter: true, Instances: 1, Timeout: 30 * time.Second}
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
		input = *tc.InputTerm
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
	if g, w := resultSet(results, tc.SortBindings), resultSet(want, tc.SortBindings); g.Compare(w) != 0 {
		return fmt.Errorf("gave %v, want %v", g, w)
	}
	return nil
}

func resultSet(results []map[string]any, sort bool) ast.Set {
	all := ast.NewSet()
	for _, bindings := range results {
		o := ast.NewObject()
		for name, v := range bindings {
			value := ast.MustInterfaceToValue(v)
			if a, ok := value.(*ast.Array); ok && sort {
				value = a.Sorted()
			}
			o.Insert(ast.StringTerm(name), ast.NewTerm(value))
		}
		all.Add(ast.NewTerm(o))
	}
	return all
}
