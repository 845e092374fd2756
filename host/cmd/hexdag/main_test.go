package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/testenv"
)

// TestMain keeps the tests out of the real home, but for Go's own caches. The
// command compiles modules in processes of its own, of which this is the program.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == compileWorkerName || os.Getenv(servedEnv) != "") {
		main()
	}
	const fuse = "HEXDAG_CLI_TEST" // a program that starts itself with anything else would run all tests again, without end
	if os.Getenv(fuse) != "" {
		panic("the tests were started by themselves")
	}
	remove, err := testenv.Home()
	if err == nil {
		err = os.Setenv(fuse, "1")
	}
	if err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		remove()
		os.Exit(code)
	}))
}

// puppet is a guest that does what its configuration says.
const puppet = "../../testdata/puppet/puppet.wasm"

// ran is what a command came to.
type ran struct {
	code     int
	out, err string
}

// output is where both progress and what modules log go, from several goroutines.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

// cli runs the command in this process.
func cli(t *testing.T, in string, args ...string) ran {
	t.Helper()
	var out, errOut output
	code := execute(t.Context(), args, strings.NewReader(in), &out, &errOut)
	r := ran{code, out.buf.String(), errOut.buf.String()}
	if strings.ContainsAny(r.out+r.err, "\x1b\x07") {
		t.Errorf("%q: an escape sequence in %q %q", args, r.out, r.err)
	}
	return r
}

// wants checks the exit code and that standard output or error say all the words.
func (r ran) wants(t *testing.T, code int, words ...string) {
	t.Helper()
	missing := slices.DeleteFunc(slices.Clone(words), func(word string) bool { return strings.Contains(r.out+r.err, word) })
	if r.code != code || len(missing) > 0 {
		t.Errorf("exit code %d, want %d; nothing says %q\nstdout:\n%s\nstderr:\n%s", r.code, code, missing, r.out, r.err)
	}
}

var errorLines = regexp.MustCompile(`\Aerror: .+\n(  where  .+\n)?(  why    .+\n(         .*\n)*)?(  fix    .+\n)?  code   [a-z_.]+\n`)

// refuses is wants of a command that failed, which says so in the form of all errors.
func (r ran) refuses(t *testing.T, code int, words ...string) {
	t.Helper()
	r.wants(t, code, words...)
	if !errorLines.MatchString(r.err) {
		t.Errorf("the error is not of the form:\n%s", r.err)
	}
}

// decode reads a line of JSON that holds nothing but the known members.
func decode[T any](t *testing.T, line string) (v T) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil || d.More() || !strings.HasSuffix(line, "\n") || strings.Count(line, "\n") != 1 {
		t.Fatalf("not one line of JSON: %v\n%s", err, line)
	}
	return v
}

// folder writes files by name, PUPPET in them being the puppet's path.
func folder(t *testing.T, files map[string]string) func(name string) string {
	t.Helper()
	dir := t.TempDir()
	abs, err := filepath.Abs(puppet)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "PUPPET", abs)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return func(name string) string { return filepath.Join(dir, name) }
}

func TestVersion(t *testing.T) {
	cli(t, "", "version").wants(t, exitDone, "hexdag ", "ABI hexdag_v1")
	cli(t, "", "--version").wants(t, exitDone, "hexdag")
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{
		{"rnu"}, {"run"}, {"run", "a", "b"}, {"run", "p.yaml", "--jsno"}, {"run", "p.yaml", "--input", "{}", "--each", "f"}, {"validate"},
		{"module", "inspect"}, {"module", "call", "f.wasm"}, {"module", "call", "f.wasm", "node_run", "--timeout", "soon"}, {"module", "call", "f.wasm", "node_run", "--memory", "-1"},
		{"policy", "build", "dir"}, {"policy", "eval"}, {"audit", "verify"}, {"version", "now"}, {"build"}, {"--bogus"}, {"module", "bogus"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			r := cli(t, "", args...)
			r.wants(t, exitBadInput)
			if !strings.HasPrefix(r.err, "error: ") || !strings.Contains(r.err, "\n  fix    ") || r.out != "" {
				t.Errorf("stdout %q, stderr %q", r.out, r.err)
			}
		})
	}
	help := cli(t, "", "--help")
	for _, name := range []string{"run", "validate", "module", "policy", "audit", "build", "version", "Exit codes: 0 done, 1 failed, 2 bad input, 3 denied"} {
		help.wants(t, exitDone, name)
	}
}
