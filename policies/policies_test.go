package policies_test

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/format"

	"github.com/hexdag/hexdag/host/extension/policy/regoc"
)

// folders returns the stock library, and each example's policies.
func folders(t *testing.T) []string {
	t.Helper()
	examples, err := filepath.Glob("../examples/*/policies")
	if err != nil || len(examples) == 0 {
		t.Fatalf("no example has policies (%v)", err)
	}
	return append([]string{"."}, examples...)
}

func regoFiles(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
		if filepath.Ext(name) == ".rego" {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// wantCoverage is the least share of each file's lines that its tests evaluate, in percent.
const wantCoverage = 95

func TestRego(t *testing.T) {
	for _, dir := range folders(t) {
		t.Run(dir, func(t *testing.T) {
			results, coverage, err := regoc.TestCover(context.Background(), regoc.Source{Dirs: []string{dir}})
			if err != nil {
				t.Fatal(err)
			}
			ran := map[string]int{}
			for _, r := range results {
				if !r.Passed {
					t.Errorf("%s: %s.%s: %s", r.Where, r.Package, r.Name, r.Message)
				}
				ran[r.Where.File]++
			}
			if len(coverage.Files) == 0 {
				t.Error("no file is covered")
			}
			for name, c := range coverage.Files {
				if c.Percent < wantCoverage {
					t.Errorf("%s: the tests cover %.1f %%, want %v; not the lines %v", name, c.Percent, wantCoverage, c.NotCovered)
				}
			}
			for _, name := range regoFiles(t, dir) {
				if strings.HasSuffix(name, "_test.rego") {
					if ran[name] == 0 {
						t.Errorf("%s: no test ran", name)
					}
				} else if ran[strings.TrimSuffix(name, ".rego")+"_test.rego"] == 0 {
					t.Errorf("%s has no tests", name)
				}
			}
		})
	}
}

func TestFormatted(t *testing.T) {
	for _, dir := range folders(t) {
		for _, name := range regoFiles(t, dir) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			formatted, err := format.Source(name, text)
			if err != nil {
				t.Fatal(err)
			}
			if string(formatted) != string(text) {
				t.Errorf("%s is not formatted; opa fmt gives:\n%s", name, formatted)
			}
		}
	}
}
