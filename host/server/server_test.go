package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/server"
	"github.com/hexdag/hexdag/host/server/httpapi"
)

// servedEnv has a process of these tests be a server: its value is the site's folder.
const servedEnv = "HEXDAG_TEST_SERVED"

func TestMain(m *testing.M) {
	if dir := os.Getenv(servedEnv); dir != "" {
		if err := serveUntilTold(dir); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// serveUntilTold is what 'hexdag serve' does, with a port of the test's.
func serveUntilTold(dir string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go func() { // it does not outlive the test
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(3)
	}()
	s, err := open(ctx, dir)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it does not wait
	if err != nil {
		return err
	}
	fmt.Println("http://" + l.Addr().String())
	return errors.Join(s.Serve(ctx, l), s.Close(context.Background()))
}

func open(ctx context.Context, dir string, ports ...host.PortOp) (*server.Server, error) {
	cfg, err := host.LoadConfig(filepath.Join(dir, "hexdag.yaml"))
	if err != nil {
		return nil, err
	}
	return server.Open(ctx, cfg, server.Options{Host: host.Options{KeyFile: filepath.Join(dir, "audit.key"), CacheDir: filepath.Join(dir, "cache"), Ports: ports, Version: "test"}})
}

const steps = `kind: Pipeline
metadata: {name: steps}
spec:
  nodes:
    - {kind: service_call_node, metadata: {name: first}, spec: {service: memory, method: set, input_mapping: {key: "$input.id + '.first'", value: "1"}}}
    - {kind: expression_node, metadata: {name: work}, dependencies: [first], spec: {expressions: {total: "1 + 2"}}}
    - {kind: service_call_node, metadata: {name: last}, dependencies: [work], spec: {service: memory, method: set, input_mapping: {key: "$input.id + '.last'", value: "work.total"}}}
`

const tokens = `tokens:
  - {sha256: "%s", tenant: acme, principal: ada}
  - {sha256: "%s", tenant: globex, principal: eve}
`

// site writes a configuration of two tenants, and returns its folder.
func site(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"hexdag.yaml": "kind: Config\nmetadata: {name: test}\nspec:\n  server: {tokens: tokens.yaml, pipelines: [steps.yaml], tenants: [acme, globex], grace: 20}\n  ports: {memory: {adapter: sqlite}}\n",
		"steps.yaml":  steps, "tokens.yaml": fmt.Sprintf(tokens, httpapi.TokenDigest("ada-token"), httpapi.TokenDigest("eve-token")),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// process is a server in a process of its own.
type process struct {
	*exec.Cmd
	url string
}

func start(t testing.TB, dir string) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0]) //nolint:gosec // this test
	cmd.Env = append(os.Environ(), servedEnv+"="+dir)
	cmd.Stderr = os.Stderr
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "http://") {
		t.Fatal(line, err)
	}
	return &process{cmd, strings.TrimSpace(line)}
}

// ask returns the status, and the answer, of a request.
func ask(ctx context.Context, token, method, url, body string, headers ...string) (int, map[string]any, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	v := map[string]any{}
	if err := json.NewDecoder(resp.Body).Decode(&v); err != nil && !errors.Is(err, io.EOF) { // one without a body
		return 0, nil, err
	}
	return resp.StatusCode, v, nil
}

// loading is a load of runs on a server.
type loading struct {
	mu    sync.Mutex
	ids   []string // of those that were accepted
	begun chan struct{}
	work  sync.WaitGroup
}

// enough is how many runs are accepted before a test does something to the server.
const enough = 24

// load starts runs until a server is gone; round tells its runs from those of others.
func load(t *testing.T, p *process, round int) *loading {
	t.Helper()
	l := &loading{begun: make(chan struct{})}
	for c := range 4 {
		l.work.Go(func() {
			for n := 0; ; n++ {
				key := fmt.Sprintf("%d-%d-%d", round, c, n)
				status, v, err := ask(t.Context(), "ada-token", "POST", p.url+"/v1/pipelines/steps/runs", `{"input": {"id": "`+key+`"}}`, "Idempotency-Key", key)
				if err != nil || status == http.StatusServiceUnavailable {
					return
				}
				if id, _ := v["run_id"].(string); status == http.StatusOK || status == http.StatusAccepted {
					l.accepted(id)
				}
			}
		})
	}
	return l
}

func (l *loading) accepted(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ids = append(l.ids, id); len(l.ids) == enough {
		close(l.begun)
	}
}

// wait returns the ids of the runs that were accepted, once the server is gone.
func (l *loading) wait() []string {
	l.work.Wait()
	http.DefaultClient.CloseIdleConnections()
	return l.ids
}

// ended waits until all of these runs have completed.
func ended(t *testing.T, p *process, ids []string) {
	t.Helper()
	defer http.DefaultClient.CloseIdleConnections()
	for _, id := range ids {
		for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
			status, v, err := ask(t.Context(), "ada-token", "GET", p.url+"/v1/runs/"+id+"?wait=5", "")
			if err != nil {
				t.Fatal(err)
			}
			if status == 200 && v["status"] == "completed" {
				break
			}
			under := v["status"] == "running" || v["status"] == "lost"
			if status != 200 || !under || time.Now().After(deadline) {
				t.Fatalf("run %s: %d %v", id, status, v)
			}
		}
	}
}

// TestTold: told to end under load, a server ends all that it has accepted.
func TestTold(t *testing.T) {
	dir := site(t)
	p := start(t, dir)
	l := load(t, p, 0)
	<-l.begun
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	ids := l.wait()
	if err := p.Wait(); err != nil {
		t.Error(err)
	}
	t.Logf("%d runs", len(ids))
	ended(t, start(t, dir), ids)
}

// TestKilled: killed under load, what a server has accepted goes on when it is back; what it had not is begun by whoever asks again.
func TestKilled(t *testing.T) {
	dir := site(t)
	var ids []string
	for round := range 4 {
		p := start(t, dir)
		l := load(t, p, round/2) // every other time, the same runs are asked for
		<-l.begun
		_ = p.Process.Kill()
		_ = p.Wait()
		ids = append(ids, l.wait()...)
	}
	t.Logf("%d runs", len(ids))
	ended(t, start(t, dir), ids)
}
