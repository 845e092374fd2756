package server_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/server"
	"github.com/hexdag/hexdag/host/server/httpapi"
)

// serving is a server in this process.
type serving struct {
	*server.Server
	url  string
	stop context.CancelFunc // as SIGTERM does
	over chan error         // of Serve
}

func serve(t testing.TB, dir string, ports ...host.PortOp) *serving {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	s, err := open(ctx, dir, ports...)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it does not wait
	if err != nil {
		t.Fatal(err)
	}
	of := &serving{s, "http://" + l.Addr().String(), stop, make(chan error, 1)}
	go func() { of.over <- errors.Join(s.Serve(ctx, l), s.Close(context.WithoutCancel(ctx))) }()
	t.Cleanup(func() { of.end(t) })
	return of
}

// end ends the server, once.
func (s *serving) end(t testing.TB) {
	t.Helper()
	s.stop()
	http.DefaultClient.CloseIdleConnections()
	if err, first := <-s.over; err != nil && first {
		t.Error(err)
	} else if first {
		close(s.over)
	}
}

func (s *serving) ask(t testing.TB, token, method, path, body string) (int, map[string]any) {
	t.Helper()
	status, v, err := ask(t.Context(), token, method, s.url+path, body)
	if err != nil {
		t.Fatal(err)
	}
	return status, v
}

// gate is an operation that waits until it is opened: one that reads, since it is repeated.
type gate struct {
	entered chan struct{}
	open    chan struct{}
	calls   atomic.Int64
}

func newGate() *gate { return &gate{entered: make(chan struct{}, 100), open: make(chan struct{})} }

func (g *gate) op() host.PortOp {
	return host.PortOp{Name: "llm.complete", Func: func(ctx context.Context, _ *kernel.PortCall) (*kernel.PortReply, error) {
		g.calls.Add(1)
		g.entered <- struct{}{}
		select {
		case <-g.open:
			return &kernel.PortReply{Value: true}, nil
		case <-ctx.Done():
			return nil, kernel.ContextError(ctx)
		}
	}}
}

// hold starts a run, and returns its id when it is at the gate.
func (s *serving) hold(t *testing.T, g *gate) string {
	t.Helper()
	_, v := s.ask(t, "ada-token", "POST", "/v1/pipelines/said/runs", `{"input": {"held": true}}`)
	id, _ := v["run_id"].(string)
	for {
		select {
		case <-g.entered:
			return id
		case <-time.After(100 * time.Millisecond):
		}
		if status, v := s.ask(t, "ada-token", "GET", "/v1/runs/"+id, ""); v["status"] != "running" {
			t.Fatal(status, v)
		}
	}
}

// said is a pipeline that says which version it is, behind a gate if it is told to.
func said(version string) string {
	return `kind: Pipeline
metadata: {name: said}
spec:
  nodes:
    - {kind: data_node, metadata: {name: out}, spec: {output: {version: "` + version + `"}}}
    - {kind: service_call_node, metadata: {name: held}, dependencies: [out], spec: {service: llm, method: complete, input_mapping: {model: "'gate'"}, when: "$input.held"}}
`
}

// gatedSite is a site whose pipeline is said, with a policy in a file.
func gatedSite(t *testing.T, grace string) string {
	t.Helper()
	dir := site(t)
	put(t, dir, "hexdag.yaml", gatedConfig(grace, ""))
	put(t, dir, "said.yaml", said("one"))
	put(t, dir, "roles.yaml", roles("ada", "bob", "eve"))
	return dir
}

func gatedConfig(grace, more string) string {
	return "kind: Config\nmetadata: {name: test}\nspec:\n  server: {tokens: tokens.yaml, pipelines: [said.yaml], tenants: [acme, globex], grace: " + grace + "}\n" +
		"  ports:\n    governance: {adapter: rbac, config: {file: roles.yaml}}\n" + more
}

func roles(who ...string) string {
	for i, name := range who {
		who[i] = `"user:` + name + `"`
	}
	return "roles: {all: {allow: [{action: \"**\", resource: \"**\"}]}}\nbindings: [{subjects: [" + strings.Join(who, ", ") + "], roles: [all]}]\n"
}

func put(t testing.TB, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func version(v map[string]any) string {
	output, _ := v["output"].(map[string]any)
	out, _ := output["out"].(map[string]any)
	text, _ := out["version"].(string)
	return text
}

// TestReload: under load, what is new counts for the runs that begin then, and nobody is dropped.
func TestReload(t *testing.T) {
	dir := gatedSite(t, "60")
	g := newGate()
	s := serve(t, dir, g.op())
	held := s.hold(t, g)

	var replaced, over atomic.Bool
	var load sync.WaitGroup
	var done atomic.Int64
	for range 3 {
		load.Go(func() {
			for !over.Load() {
				now := replaced.Load()
				status, v, err := ask(t.Context(), "ada-token", "POST", s.url+"/v1/pipelines/said/runs?wait=60", `{"input": {"held": false}}`)
				if err != nil || status != 200 || v["status"] != "completed" || now && version(v) != "two" {
					t.Errorf("%d %v %v, after the reload: %v", status, v, err, now)
					return
				}
				done.Add(1)
			}
		})
	}
	more := func() {
		for upTo := done.Load() + 10; done.Load() < upTo && !t.Failed(); {
			time.Sleep(time.Millisecond)
		}
	}
	more()
	put(t, dir, "said.yaml", said("two"))
	put(t, dir, "roles.yaml", roles("ada"))
	put(t, dir, "tokens.yaml", fmt.Sprintf("tokens:\n  - {sha256: %q, tenant: acme, principal: ada}\n  - {sha256: %q, tenant: acme, principal: eve}\n", httpapi.TokenDigest("ada-token"), httpapi.TokenDigest("new-token")))
	if err := s.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	replaced.Store(true)
	more()
	if status, v := s.ask(t, "eve-token", "GET", "/v1/runs", ""); status != 401 {
		t.Error("a token that is there no more:", status, v)
	}
	if status, v := s.ask(t, "new-token", "GET", "/v1/runs", ""); status != 403 {
		t.Error("whom the new policy gives nothing:", status, v)
	}
	for name, bad := range map[string]struct{ file, text, words string }{
		"no YAML":           {"hexdag.yaml", "kind: [", "hexdag.yaml"},
		"another port":      {"hexdag.yaml", gatedConfig("60", "    memory: {adapter: sqlite}\n"), "it differs in ports"},
		"another grace":     {"hexdag.yaml", gatedConfig("61", ""), "it differs in server"},
		"a broken pipeline": {"said.yaml", strings.Replace(said("three"), "data_node", "nope_node", 1), "nope_node"},
		"broken tokens":     {"tokens.yaml", "tokens: [{sha256: x, tenant: acme, principal: ada}]", "is no SHA-256"},
		"a broken policy":   {"roles.yaml", "roles: 7", "roles"},
	} {
		was, err := os.ReadFile(filepath.Join(dir, bad.file))
		if err != nil {
			t.Fatal(err)
		}
		put(t, dir, bad.file, bad.text)
		if err := s.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), bad.words) {
			t.Errorf("%s: %v", name, err)
		}
		put(t, dir, bad.file, string(was))
	}
	more()
	over.Store(true)
	load.Wait()
	close(g.open)
	if status, v := s.ask(t, "ada-token", "GET", "/v1/runs/"+held+"?wait=60", ""); status != 200 || v["status"] != "completed" || version(v) != "one" {
		t.Error("what had begun before:", status, v)
	}
	_, log := s.ask(t, "ada-token", "GET", "/v1/audit?kind=config&limit=1000", "")
	if records, _ := log["records"].([]any); len(records) != 7 || !strings.Contains(fmt.Sprint(records...), "it differs in ports") {
		t.Error(log)
	}
}

// TestChangedFile: a change of a file is found.
func TestChangedFile(t *testing.T) {
	dir := gatedSite(t, "60")
	s := serve(t, dir, newGate().op())
	put(t, dir, "said.yaml", said("changed"))
	for {
		status, v := s.ask(t, "ada-token", "POST", "/v1/pipelines/said/runs?wait=60", `{"input": {"held": false}}`)
		if status != 200 || v["status"] != "completed" {
			t.Fatal(status, v)
		}
		if version(v) == "changed" {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// TestLeft: what has not ended when a server's time to end is over goes on at once with the next, and whoever waited is told so.
func TestLeft(t *testing.T) {
	dir := gatedSite(t, "1")
	g := newGate()
	s := serve(t, dir, g.op())
	const n = 3
	ids := make([]string, n)
	for i := range ids {
		ids[i] = s.hold(t, g)
	}
	told := make(chan string, 1)
	go func() {
		_, v, err := ask(t.Context(), "ada-token", "GET", s.url+"/v1/runs/"+ids[0]+"?wait=60", "")
		told <- fmt.Sprint(v["status"], " ", err)
	}()
	for { // the question is there
		if _, v := s.ask(t, "ada-token", "GET", "/v1/audit?action=run.read&run_id=&limit=1000", ""); strings.Contains(fmt.Sprint(v["records"]), ids[0]) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.end(t)
	if got := <-told; got != "running <nil>" {
		t.Error("who waited was told", got)
	}
	again := newGate()
	close(again.open)
	s = serve(t, dir, again.op())
	for _, id := range ids {
		for {
			status, v := s.ask(t, "ada-token", "GET", "/v1/runs/"+id+"?wait=10", "")
			if status == 200 && v["status"] == "completed" {
				break
			}
			if status != 200 || v["status"] != "running" && v["status"] != "lost" {
				t.Fatal(status, v)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	if g.calls.Load() != n || again.calls.Load() != n {
		t.Error(g.calls.Load(), again.calls.Load())
	}
	for _, id := range ids {
		var ends []string
		_, v := s.ask(t, "ada-token", "GET", "/v1/audit?action=pipeline.end&run_id="+id, "")
		records, _ := v["records"].([]any)
		for _, one := range records {
			record, _ := one.(map[string]any)["record"].(map[string]any)
			ends = append(ends, fmt.Sprint(record["result"], " ", record["detail"]))
		}
		if len(ends) != 2 || !strings.HasPrefix(ends[0], "left ") || !strings.Contains(ends[0], "the host ends") || ends[1] != "completed <nil>" {
			t.Errorf("on record are the ends %q", ends)
		}
	}
}
