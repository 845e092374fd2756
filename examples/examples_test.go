// Package examples_test runs the examples as their users do, and holds what they
// say to what follows from their data.
package examples_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host"
)

// work holds what the tests share: built guests, compiled modules, the audit key.
var work string

func TestMain(m *testing.M) {
	var err error
	if work, err = os.MkdirTemp("", "hexdag-examples-"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(work)
		os.Exit(code)
	}))
}

// guests builds the example's guests from source, once, and returns their folder.
var guests = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(work, "modules")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	for name, source := range map[string]string{
		"redact": "../guests/redact", "orders": "support-triage/guests/orders", "refund": "support-triage/guests/refund",
	} {
		if err := host.BuildModule(context.Background(), source, filepath.Join(dir, name+".wasm"), os.Stderr); err != nil {
			return "", err
		}
	}
	return dir, nil
})

// triage is a copy of the example in a folder of its own.
type triage struct{ dir string }

func newTriage(t *testing.T) triage {
	t.Helper()
	built, err := guests()
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	x := triage{filepath.Join(root, "examples", "support-triage")}
	for from, to := range map[string]string{
		"support-triage/policies": x.path("policies"), built: x.path("modules"),
		"../policies": filepath.Join(root, "policies"), "../guests/token-budget": filepath.Join(root, "guests", "token-budget"),
	} {
		if err := os.CopyFS(to, os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"pipeline.yaml", "hexdag.yaml", "hexdag.openai.yaml", "llm-rules.yaml", "orders.sql", "tickets.jsonl"} {
		x.write(t, name, read(t, filepath.Join("support-triage", name)))
	}
	return x
}

func (x triage) path(name string) string { return filepath.Join(x.dir, name) }

func (x triage) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(x.path(name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// edit replaces text that is in a file once.
func (x triage) edit(t *testing.T, name, from, to string) {
	t.Helper()
	text := read(t, x.path(name))
	if strings.Count(text, from) != 1 {
		t.Fatalf("%s has %q %d times", name, from, strings.Count(text, from))
	}
	x.write(t, name, strings.Replace(text, from, to, 1))
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// outcome is what a run over all tickets came to.
type outcome struct {
	*host.Report
	tickets map[string]*host.Result // by id
}

// run runs the pipeline over the tickets with one of the configurations.
func (x triage) run(t *testing.T, config string, concurrency int) outcome {
	t.Helper()
	ctx := t.Context()
	cfg, err := host.LoadConfig(x.path(config))
	if err != nil {
		t.Fatal(err)
	}
	h, err := host.New(ctx, cfg, host.Options{CacheDir: filepath.Join(work, "cache"), KeyFile: filepath.Join(work, "audit.key")})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := h.Close(context.WithoutCancel(ctx)); err != nil {
			t.Error(err)
		}
	}()
	p, err := h.Load(ctx, x.path("pipeline.yaml"), host.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	lines, err := os.Open(x.path("tickets.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer lines.Close()
	o := outcome{tickets: map[string]*host.Result{}}
	var mu sync.Mutex
	o.Report, err = p.RunEach(ctx, lines, host.BatchOptions{File: "tickets.jsonl", Concurrency: concurrency, Finished: func(l host.Line, r *host.Result) {
		mu.Lock()
		defer mu.Unlock()
		o.tickets[l.Label] = r
	}})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// figures is what of a report must not depend on time or order.
func (o outcome) figures() string {
	var b strings.Builder
	fmt.Fprintln(&b, o.Lines, o.Completed, o.Failed, o.Denied, o.Usage, o.Counters)
	for _, d := range o.Decisions {
		fmt.Fprintln(&b, d)
	}
	for _, p := range o.Problems {
		fmt.Fprintln(&b, p.Line, p.Label, p.Error.Code, p.Error.What, p.Error.Why)
	}
	for _, m := range o.Modules {
		fmt.Fprintln(&b, m.Name, m.Digest, m.Calls, m.Failures, m.HostCalls)
	}
	return b.String()
}

// field returns the text of a member of a node's result.
func field(r *host.Result, node, name string) string {
	object, _ := r.NodeResults[node].(map[string]any)
	return fmt.Sprint(object[name])
}

// rows returns the decisions as "effect rules" and how often they were made.
func (o outcome) rows() map[string]int {
	rows := map[string]int{}
	for _, d := range o.Decisions {
		rows[d.Effect+" "+d.Rules] += int(d.Count)
	}
	return rows
}
