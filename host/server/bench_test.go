package server_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host/testserver"
)

// Three nodes, each with a module's hook and a question to a policy in Rego.
const (
	benchPipeline = `kind: Pipeline
metadata: {name: three}
spec:
  nodes:
    - {kind: service_call_node, metadata: {name: a}, dependencies: [], spec: {service: metrics, method: count, input_mapping: {name: "'a'"}}}
    - {kind: service_call_node, metadata: {name: b}, dependencies: [a], spec: {service: metrics, method: count, input_mapping: {name: "'b'"}}}
    - {kind: service_call_node, metadata: {name: c}, dependencies: [b], spec: {service: metrics, method: count, input_mapping: {name: "'c'"}}}
`
	benchPolicy = `package hexdag.authz

# METADATA
# entrypoint: true
decision := {"effect": effect, "reasons": [{"id": "bench", "msg": "it counts"}]}

default effect := "deny"

effect := "allow" if input.action.name in {"metrics.count", "pipeline.run", "run.read"}
`
	benchConfig = `kind: Config
metadata: {name: bench}
spec:
  server: {tokens: tokens.yaml, pipelines: [three.yaml], tenants: [acme, globex], grace: 5, max_running: 4096, per_second: 1000000, max_streams: 20000}
  modules: {guard: {path: guard.wasm, isolation: shared, grants: [metrics.count, database.query]}}
  hooks: [{module: guard}]
  ports: {database: {adapter: memory}, governance: {adapter: rego, config: {dirs: [policy]}}}
`
)

// benchSite is a site whose pipeline has hooks and policies.
func benchSite(b testing.TB) string {
	b.Helper()
	dir := site(b)
	guard, err := os.ReadFile("../testdata/puppet/puppet.wasm")
	if err != nil {
		b.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "policy"), 0o700); err != nil {
		b.Fatal(err)
	}
	for name, text := range map[string]string{"hexdag.yaml": benchConfig, "three.yaml": benchPipeline, "policy/authz.rego": benchPolicy, "guard.wasm": string(guard)} {
		put(b, dir, name, text)
	}
	return dir
}

// BenchmarkRuns is runs that clients start, each of which waits for the end of one before it starts the next. Every run is durable, in SQLite, and
// every decision is on record.
func BenchmarkRuns(b *testing.B) {
	const clients = 64
	p := start(b, benchSite(b))
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
	defer client.CloseIdleConnections()
	one := func() error {
		req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, p.url+"/v1/pipelines/three/runs?wait=30", strings.NewReader("{}"))
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer ada-token")
		req.Header.Set("Content-Type", "application/json")
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err == nil && (resp.StatusCode != http.StatusOK || !strings.Contains(string(text), `"status":"completed"`)) {
			err = fmt.Errorf("%d %s", resp.StatusCode, text)
		}
		return err
	}
	testserver.Load(b, clients, one)
}

// BenchmarkStreams is clients that follow the events of a run which waits: what the server's process takes for each of ten thousand.
func BenchmarkStreams(b *testing.B) {
	const clients = 10_000
	dir := benchSite(b)
	put(b, dir, "hexdag.yaml", strings.Replace(benchConfig, "pipelines: [three.yaml]", "pipelines: [hold.yaml]", 1))
	put(b, dir, "hold.yaml", "kind: Pipeline\nmetadata: {name: three}\nspec:\n  nodes: [{kind: wait_node, metadata: {name: hold}, dependencies: [], spec: {event_key: never}}]\n")
	for b.Loop() {
		b.StopTimer()
		p := start(b, dir)
		_, v, err := ask(b.Context(), "ada-token", http.MethodPost, p.url+"/v1/pipelines/three/runs", "{}")
		if err != nil {
			b.Fatal(err)
		}
		before := resident(b, p.Process.Pid)
		b.StartTimer()
		conns := make([]net.Conn, clients)
		for i := range conns {
			conns[i] = follow(b, strings.TrimPrefix(p.url, "http://"), fmt.Sprint(v["run_id"]))
		}
		b.StopTimer()
		b.ReportMetric(float64(resident(b, p.Process.Pid)-before)/clients/1024, "KiB/stream")
		for _, c := range conns {
			_ = c.Close()
		}
		if err := p.Process.Kill(); err != nil {
			b.Fatal(err)
		}
		_ = p.Wait()
		b.StartTimer()
	}
}

// follow opens a stream, and waits until it has begun.
func follow(b *testing.B, address, run string) net.Conn {
	b.Helper()
	var d net.Dialer
	c, err := d.DialContext(b.Context(), "tcp", address)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := fmt.Fprintf(c, "GET /v1/runs/%s/events HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer ada-token\r\n\r\n", run, address); err != nil {
		b.Fatal(err)
	}
	head := make([]byte, 15)
	if _, err := io.ReadFull(c, head); err != nil || string(head) != "HTTP/1.1 200 OK" {
		b.Fatal(string(head), err)
	}
	return c
}

// resident returns how many bytes of memory a process has.
func resident(b testing.TB, pid int) int64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		b.Skip("/proc tells what a process has: ", err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

// BenchmarkStart is from nothing to a server that is ready, with a hundred modules that were compiled before.
func BenchmarkStart(b *testing.B) {
	dir := benchSite(b)
	guard, err := os.ReadFile(filepath.Join(dir, "guard.wasm"))
	if err != nil {
		b.Fatal(err)
	}
	var modules strings.Builder
	for i := range 100 {
		name := fmt.Sprintf("m%02d", i)
		put(b, dir, name+".wasm", string(guard)+"\x00\x04\x03"+name) // a custom section of that name: each is another
		fmt.Fprintf(&modules, "%s: {path: %s.wasm, grants: [metrics.count, database.query]}, ", name, name)
	}
	put(b, dir, "hexdag.yaml", strings.Replace(strings.Replace(benchConfig, "modules: {", "modules: {"+modules.String(), 1), "tenants: [acme, globex]", "tenants: [acme]", 1))
	ready := func() {
		s, err := open(b.Context(), dir)
		if err != nil {
			b.Fatal(err)
		}
		l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it does not wait
		if err != nil {
			b.Fatal(err)
		}
		ctx, stop := context.WithCancel(b.Context())
		over := make(chan error, 1)
		go func() { over <- s.Serve(ctx, l) }()
		for !isReady(b, "http://"+l.Addr().String()) {
			time.Sleep(100 * time.Microsecond)
		}
		b.StopTimer()
		stop()
		if err := <-over; err != nil {
			b.Fatal(err)
		}
		if err := s.Close(context.WithoutCancel(ctx)); err != nil {
			b.Fatal(err)
		}
		http.DefaultClient.CloseIdleConnections()
		b.StartTimer()
	}
	ready() // which compiles them
	for b.Loop() {
		ready()
	}
}

// isReady reports whether a server takes runs.
func isReady(b *testing.B, url string) bool {
	b.Helper()
	req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, url+"/readyz", nil)
	if err != nil {
		b.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil || resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusServiceUnavailable {
		b.Fatal(resp.Status, string(text), err)
	}
	return resp.StatusCode == http.StatusOK
}
