package moduletest_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/testenv"
)

const guests = "../../guests"

// stock lists the folders of the stock modules: those with a manifest.
func stock(t *testing.T) []string {
	t.Helper()
	manifests, err := filepath.Glob(filepath.Join(guests, "*", "manifest.json"))
	if err != nil || len(manifests) < 12 {
		t.Fatalf("%d stock modules, %v", len(manifests), err)
	}
	for i, file := range manifests {
		manifests[i] = filepath.Dir(file)
	}
	return manifests
}

func needs(t *testing.T, dir string) {
	t.Helper()
	if testing.Short() || testenv.Race {
		t.Skip("compiles guests")
	}
	for source, compiler := range map[string]struct{ program, packages string }{"*.c": {"clang-14", "clang-14 lld-14"}, "Cargo.toml": {"cargo", "cargo rustc libstd-rust-dev-wasm32"}} {
		sources, err := filepath.Glob(filepath.Join(dir, source))
		if err != nil {
			t.Fatal(err)
		}
		if len(sources) > 0 {
			testenv.NeedProgram(t, compiler.program, compiler.packages)
		}
	}
}

// TestStockModules builds every stock module from its source and runs its cases.
func TestStockModules(t *testing.T) {
	for _, dir := range stock(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			needs(t, dir)
			if _, err := os.Stat(filepath.Join(dir, "README.md")); err != nil {
				t.Error("it has no page:", err)
			}
			var log bytes.Buffer
			tested, err := host.TestModule(t.Context(), host.ModuleTest{Path: dir, Log: &log}, host.Options{})
			if err != nil {
				t.Fatalf("%v\n%s", err, &log)
			}
			if len(tested.Results) < 4 {
				t.Errorf("only %d cases", len(tested.Results))
			}
			for _, r := range tested.Results {
				if !r.Passed() {
					t.Errorf("%s: %s", r.Case.Name(), strings.Join(r.Problems, "\n"))
				}
			}
		})
	}
}

// shop is a host with a stock module around http.request, and a server that it calls.
type shop struct {
	t      *testing.T
	dir    string
	host   *host.Host
	server *httptest.Server
	hits   atomic.Int64
	fail   atomic.Int64 // how many of the next requests are cut off
}

// open builds the module and opens the host.
func open(t *testing.T, module, config, grants string) *shop {
	t.Helper()
	needs(t, filepath.Join(guests, module))
	s := &shop{t: t, dir: t.TempDir()}
	s.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s.hits.Add(1)
		if s.fail.Add(-1) >= 0 {
			panic(http.ErrAbortHandler)
		}
		fmt.Fprint(w, "here you are")
	}))
	s.server.Config.SetKeepAlivesEnabled(false) // on a connection that was used before, Go's client makes a request that was cut off again
	t.Cleanup(s.server.Close)
	var log bytes.Buffer
	if err := host.BuildModule(t.Context(), filepath.Join(guests, module), filepath.Join(s.dir, "m.wasm"), &log); err != nil {
		t.Fatalf("%v\n%s", err, &log)
	}
	s.write("hexdag.yaml", "kind: Config\nspec:\n  modules: {m: {path: m.wasm, config: "+config+", grants: "+grants+"}}\n  hooks: [{module: m, ops: [http.request]}]\n"+
		"  ports:\n    memory: {adapter: sqlite}\n    http: {adapter: http, config: {hosts: [\""+strings.TrimPrefix(s.server.URL, "http://")+"\"], allow_addresses: [127.0.0.0/8]}}\n")
	s.write("pipeline.yaml", "kind: Pipeline\nmetadata: {name: p}\nspec: {nodes: [{kind: service_call_node, metadata: {name: get}, spec: {service: http, method: request, strict_mapping: true, input_mapping: {url: $input.url, method: $input.method}}}]}\n")
	s.reopen()
	t.Cleanup(s.close)
	return s
}

func (s *shop) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *shop) reopen() {
	s.t.Helper()
	cfg, err := host.LoadConfig(filepath.Join(s.dir, "hexdag.yaml"))
	if err == nil {
		s.host, err = host.New(s.t.Context(), cfg, host.Options{})
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *shop) close() {
	if s.host != nil {
		_ = s.host.Close(s.t.Context())
	}
	s.host = nil
}

// run runs the pipeline and says how it ended.
func (s *shop) run(method string) (status, why string) {
	s.t.Helper()
	p, err := s.host.Load(s.t.Context(), filepath.Join(s.dir, "pipeline.yaml"), host.LoadOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	r := p.Run(s.t.Context(), map[string]any{"url": s.server.URL + "/x", "method": method}, host.RunOptions{})
	if r.Error != nil {
		why = r.Error.Error()
	}
	return string(r.Status), why
}

// wants runs the pipeline and checks how it ended, and how often the server was called so far.
func (s *shop) wants(status, says string, hits int64) {
	s.t.Helper()
	got, why := s.run("GET")
	if got != status || !strings.Contains(why, says) || s.hits.Load() != hits {
		s.t.Fatalf("%s after %d requests, want %s that says %q after %d: %s", got, s.hits.Load(), status, says, hits, why)
	}
}

const circuits = `["clock.read", {memory.get: {key: "breaker/**"}}, {memory.compare_and_swap: {key: "breaker/**"}}]`

// TestBreakerOpensHalfOpensAndCloses is the life of a circuit around a real port.
func TestBreakerOpensHalfOpensAndCloses(t *testing.T) {
	const cooldown = 1500 * time.Millisecond
	s := open(t, "breaker", "{failures: 2, cooldown_ms: 1500}", circuits)
	s.fail.Store(3)
	s.wants("failed", "", 1)
	start := time.Now() // it opens after this
	s.wants("failed", "", 2)
	s.wants("denied", "the circuit breaker/http.request is open: it opened after 2 failures", 2) // it is open: no request
	s.close()
	s.reopen()
	s.wants("denied", "is open", 2) // the memory outlives the host

	untilTried := func(hits int64) (status string) {
		var began time.Time // the call that is let through
		for s.hits.Load() < hits {
			if began = time.Now(); began.Sub(start) > time.Minute {
				t.Fatal("no call is let through")
			}
			if status, _ = s.run("GET"); s.hits.Load() < hits && status != "denied" {
				t.Fatalf("%s without a request", status)
			}
			time.Sleep(20 * time.Millisecond)
		}
		if waited := time.Since(start); waited < cooldown {
			t.Errorf("a call was let through after %s, the cool-down is %s", waited, cooldown)
		}
		start = began // if it fails, the circuit opens anew after this
		return status
	}
	if status := untilTried(3); status != "failed" { // half open: one call, which fails
		t.Fatalf("the first trial %s", status)
	}
	s.wants("denied", "it opened after 3 failures", 3)
	if status := untilTried(4); status != "completed" { // half open again, and the server is well
		t.Fatalf("the second trial %s", status)
	}
	s.wants("completed", "", 5) // closed
	s.fail.Store(1)
	s.wants("failed", "", 6)
	s.wants("completed", "", 7) // one failure opens nothing
}

func TestRetryTriesAgain(t *testing.T) {
	s := open(t, "retry", "{attempts: 3, delay_ms: 5}", "[random.read]")
	s.fail.Store(2)
	s.wants("completed", "", 3)
	s.fail.Store(3)
	s.wants("failed", "", 6)
	s.fail.Store(1)
	if status, why := s.run("POST"); status != "failed" || s.hits.Load() != 7 {
		t.Errorf("a POST %s after %d requests: %s", status, s.hits.Load()-6, why)
	}
}

func TestRateLimit(t *testing.T) {
	const grants = `[{lock.acquire: {name: "rate/**"}}]`
	s := open(t, "rate-limit", "{calls: 2, per_ms: 3600000}", grants)
	s.wants("completed", "", 1)
	s.wants("completed", "", 2)
	s.wants("denied", "the limit rate/http.request is reached", 2)

	s = open(t, "rate-limit", "{calls: 10, per_ms: 2000, burst: 1, wait: true}", grants)
	start := time.Now()
	s.wants("completed", "", 1)
	s.wants("completed", "", 2)
	s.wants("completed", "", 3)
	if waited := time.Since(start); waited < 400*time.Millisecond {
		t.Errorf("three calls took %s, the pace is one in 200 ms", waited)
	}
}

func TestCacheAnswers(t *testing.T) {
	s := open(t, "cache", "{}", `[{memory.get: {key: "cache/**"}}, {memory.set: {key: "cache/**"}}]`)
	s.fail.Store(1)
	s.wants("failed", "", 1) // a failure is not kept
	s.wants("completed", "", 2)
	s.wants("completed", "", 2)
	if status, why := s.run("HEAD"); status != "completed" || s.hits.Load() != 3 {
		t.Errorf("other arguments: %s after %d requests: %s", status, s.hits.Load(), why)
	}
}
