package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host/server/httpapi"
)

// servedEnv has a process of these tests be hexdag serve.
const servedEnv = "HEXDAG_TEST_SERVE"

// served is hexdag serve, in a process of its own.
type served struct {
	*exec.Cmd
	url string
}

func startServe(t *testing.T, dir string) *served {
	t.Helper()
	cmd := exec.Command(os.Args[0], "serve", "--config", filepath.Join(dir, "hexdag.yaml"), "--address", "127.0.0.1:0") //nolint:gosec // this test
	cmd.Env = append(os.Environ(), servedEnv+"=1", "HEXDAG_CLI_TEST=")
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	lines := bufio.NewReader(said)
	var all strings.Builder
	for {
		line, err := lines.ReadString('\n')
		all.WriteString(line)
		if _, at, found := strings.Cut(line, "serving at "); found {
			go func() { _, _ = io.Copy(io.Discard, lines) }() // until it ends
			return &served{cmd, strings.TrimSpace(at)}
		}
		if err != nil {
			t.Fatal(all.String(), err)
		}
	}
}

func (s *served) ask(ctx context.Context, method, path, body string) (int, map[string]any, error) {
	req, err := http.NewRequestWithContext(ctx, method, s.url+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer ada-token")
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	v := map[string]any{}
	return resp.StatusCode, v, json.NewDecoder(resp.Body).Decode(&v)
}

// reloads waits until the server has read its configuration again n times, and returns the records of it.
func (s *served) reloads(t *testing.T, n int) []any {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		_, v, err := s.ask(t.Context(), "GET", "/v1/audit?kind=config&limit=1000", "")
		if err != nil {
			t.Fatal(err)
		}
		if records, _ := v["records"].([]any); len(records) >= n {
			return records
		}
		if time.Now().After(deadline) {
			t.Fatal(v)
		}
	}
}

// TestHangup: told to by the signal, the process reads its configuration again, whether or not a file has changed; under load nobody is dropped by it,
// and a configuration that cannot be used ends nothing.
func TestHangup(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const config = "kind: Config\nmetadata: {name: test}\nspec:\n  server: {tokens: tokens.yaml, pipelines: [said.yaml], grace: 30, per_second: 10000}\n"
	said := func(version string) string {
		return "kind: Pipeline\nmetadata: {name: said}\nspec: {nodes: [{kind: data_node, metadata: {name: out}, spec: {output: {version: " + version + "}}}]}\n"
	}
	put("hexdag.yaml", config)
	put("said.yaml", said("one"))
	put("tokens.yaml", fmt.Sprintf("tokens: [{sha256: %q, tenant: default, principal: ada}]\n", httpapi.TokenDigest("ada-token")))
	s := startServe(t, dir)
	defer http.DefaultClient.CloseIdleConnections()
	hangup := func() {
		t.Helper()
		if err := s.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	hangup()
	s.reloads(t, 1)

	var over, swapped atomic.Bool
	var done atomic.Int64
	var load sync.WaitGroup
	for range 3 {
		load.Go(func() {
			for !over.Load() {
				after := swapped.Load()
				status, v, err := s.ask(t.Context(), "POST", "/v1/pipelines/said/runs?wait=60", `{"input": {}}`)
				if err != nil || status != 200 || v["status"] != "completed" || after && !strings.Contains(fmt.Sprint(v), "version:two") {
					t.Errorf("%d %v %v, after it: %v", status, v, err, after)
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
	put("said.yaml", said("two"))
	hangup()
	s.reloads(t, 2)
	swapped.Store(true)
	more()
	put("hexdag.yaml", config+"  ports: {memory: {adapter: sqlite}}\n")
	hangup()
	records := s.reloads(t, 3)
	if !strings.Contains(fmt.Sprint(records), "it differs in ports") {
		t.Error(records)
	}
	more()
	over.Store(true)
	load.Wait()
	http.DefaultClient.CloseIdleConnections()
	if err := s.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := s.Wait(); err != nil {
		t.Error(err)
	}
}
