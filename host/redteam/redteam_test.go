package redteam

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/sandbox"
	"github.com/hexdag/hexdag/host/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// numberOfCases keeps a case from getting lost.
const numberOfCases = 137

var (
	only   = flag.String("case", "", "run the cases whose id starts with this")
	update = flag.Bool("update", false, "assemble guests/hostile anew")
)

// TestTheHostHolds runs every attack.
func TestTheHostHolds(t *testing.T) {
	slack := 1
	if testenv.Race {
		slack = 10
	}
	opts := Options{Slack: slack, Select: func(c Case) bool { return strings.HasPrefix(c.ID, *only) }}
	opts.Sandbox = sandbox.Options{CacheDir: filepath.Join(t.TempDir(), "cache")}
	results, err := Run(context.Background(), opts)
	if err != nil {
		t.Error(err)
	}
	for _, r := range results {
		t.Logf("%-5s %-62s %-32s %6dms %5dMiB canary %s, at most %s in %d calls", r.ID, r.What, r.Got, r.Took.Milliseconds(), r.Grown>>20, r.Canary, r.CanaryMax, r.CanaryRuns)
		for _, p := range r.Problems {
			t.Errorf("%s, %s (%s): %s", r.ID, r.What, r.Source, p)
		}
	}
	if *only == "" && (len(results) != numberOfCases || len(Cases()) != numberOfCases) {
		t.Errorf("%d cases were run of %d, there should be %d", len(results), len(Cases()), numberOfCases)
	}
}

func TestCasesAreNamedOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range Cases() {
		if seen[c.ID] || c.What == "" || c.Want == "" || c.Source == "" {
			t.Errorf("case %q is there twice, or does not say what it is", c.ID)
		}
		seen[c.ID] = true
	}
}

// TestModulesAreTheirSources assembles guests/hostile again and compares.
func TestModulesAreTheirSources(t *testing.T) {
	assembler := testenv.NeedProgram(t, "wat2wasm", "wabt")
	sources, err := filepath.Glob("../../guests/hostile/*.wat")
	if err != nil || len(sources) == 0 {
		t.Fatal("guests/hostile has no sources", err)
	}
	assembled := map[string]bool{"probe/probe.wasm": true}
	for _, source := range sources {
		name := strings.TrimSuffix(filepath.Base(source), ".wat")
		module := filepath.Join("modules", name+".wasm")
		if name == "probe" {
			module = filepath.Join("probe", name+".wasm")
		}
		assembled[filepath.ToSlash(module)] = true
		compare(t, assembler, source, module)
	}
	modules, err := filepath.Glob("modules/*.wasm")
	for _, m := range modules {
		if !assembled[filepath.ToSlash(m)] {
			t.Errorf("%s has no source in guests/hostile", m)
		}
	}
	if err != nil {
		t.Error(err)
	}
}

func compare(t *testing.T, assembler, source, module string) {
	t.Helper()
	text, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "out.wasm")
	args := []string{source, "-o", out}
	first, _, _ := strings.Cut(string(text), "\n")
	if flags, ok := strings.CutPrefix(first, ";; wat2wasm: "); ok {
		args = append(strings.Fields(flags), args...)
	}
	if said, err := exec.Command(assembler, args...).CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", source, err, said)
		return
	}
	want, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(module, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(module); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s is not what %s assembles to: run go test ./host/redteam -run Sources -update (%v)", module, source, err)
	}
}

// TestReadmeHasEveryCase holds the table in guests/hostile/README.md to the cases.
func TestReadmeHasEveryCase(t *testing.T) {
	const file = "../../guests/hostile/README.md"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	prose, table, found := strings.Cut(string(text), "-update -->\n")
	if !found {
		t.Fatal("the README has lost its mark")
	}
	want := "\n| case | what the guest does | source | the host answers | within |\n|---|---|---|---|---|\n"
	for _, c := range Cases() {
		answer := strings.ReplaceAll(c.Want, "|", " or ")
		want += fmt.Sprintf("| %s | %s | %s | %s | %s, %d MiB |\n", c.ID, c.What, c.Source, answer, c.Time, c.Memory>>20)
	}
	if *update {
		table = want
		if err := os.WriteFile(file, []byte(prose+"-update -->\n"+want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if table != want {
		t.Error("the table in guests/hostile/README.md is not that of the cases: run this test with -update")
	}
}
