package server_test

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// soakEnv is for how long TestSoak goes on; 'make soak' says half an hour.
const soakEnv = "HEXDAG_SOAK"

// held is what a process has.
type held struct {
	goroutines, files int
	heap              int64
}

func (h held) String() string {
	return fmt.Sprintf("%d goroutines, %d files, %.1f MiB of heap", h.goroutines, h.files, float64(h.heap)/(1<<20))
}

func holds() held {
	http.DefaultClient.CloseIdleConnections()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	h := held{goroutines: runtime.NumGoroutine(), heap: int64(m.HeapAlloc)} //nolint:gosec // less than the machine has
	if entries, err := os.ReadDir("/proc/self/fd"); err == nil {
		h.files = len(entries)
	}
	return h
}

// within reports whether a process has no more than it had, but for what comes and goes.
func (h held) within(was held) bool {
	return h.goroutines <= was.goroutines+20 && h.files <= was.files+20 && h.heap <= was.heap+was.heap/4+32<<20
}

// TestSoak has clients do all that they do, and much of what they should not, and then expects that nothing of it is left.
func TestSoak(t *testing.T) {
	lasts, err := time.ParseDuration(cmp.Or(os.Getenv(soakEnv), "4s"))
	if err != nil {
		t.Fatal(soakEnv, err)
	}
	dir := hostile(t)
	text, err := os.ReadFile(filepath.Join(dir, "hexdag.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	put(t, dir, "hexdag.yaml", strings.Replace(string(text), "max_running: 2", "max_running: 64, per_second: 100000", 1))
	s := serve(t, dir)
	s.soak(t, max(lasts/10, time.Second)) // what is kept for a while is there
	was := holds()
	t.Log("before:", was)
	done := s.soak(t, lasts)
	deadline := time.Now().Add(time.Minute)
	is := holds()
	for !is.within(was) && time.Now().Before(deadline) { // the last of it may be under way
		time.Sleep(100 * time.Millisecond)
		is = holds()
	}
	t.Logf("after %s and %d requests: %s", lasts, done, is)
	if !is.within(was) {
		t.Errorf("there were %s, and are %s", was, is)
	}
	if done == 0 {
		t.Error("nothing was done")
	}
}

// soak has clients of both tenants at work for so long, and returns how much they did.
func (s *serving) soak(t *testing.T, lasts time.Duration) int64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), lasts)
	defer cancel()
	var done, names atomic.Int64
	var all sync.WaitGroup
	for _, token := range []string{"ada-token", "eve-token"} {
		ask := func(method, path, body string, want ...int) map[string]any {
			status, v, err := ask(ctx, token, method, s.url+path, body)
			if err != nil || ctx.Err() != nil {
				return nil
			}
			done.Add(1)
			for _, w := range want {
				if status == w {
					return v
				}
			}
			t.Errorf("%s %s: %d %v", method, path, status, v)
			return nil
		}
		for _, work := range []func(name string){
			func(name string) { // a run that waits, is followed, and goes on
				v := ask("POST", "/v1/pipelines/shared/runs?wait=30", `{"input": {"secret": "`+name+`"}}`, 200, 202)
				id, _ := v["run_id"].(string)
				if id == "" || v["status"] != "suspended" {
					return
				}
				s.glance(ctx, token, id)
				ask("POST", "/v1/runs/"+id+"/signal", `{"event": "go-`+name+`"}`, 202)
				ask("GET", "/v1/runs/"+id+"?wait=30", "", 200)
			},
			func(name string) { // an artifact
				v := ask("POST", "/v1/artifacts?name="+name, strings.Repeat(name, 1000), 201)
				if id, _ := v["id"].(string); id != "" {
					ask("GET", "/v1/artifacts/"+id, "", 200)
					ask("DELETE", "/v1/artifacts/"+id, "", 204)
				}
			},
			func(name string) { // what is there
				for _, path := range []string{"/v1/runs", "/v1/artifacts", "/v1/audit", "/v1/approvals", "/v1/modules", "/v1/policies", "/healthz"} {
					ask("GET", path, "", 200)
				}
			},
			func(name string) { // what nobody should send
				ask("POST", "/v1/pipelines/shared/runs", `{"input": `, 400, 422)
				ask("POST", "/v1/pipelines/"+name+"/runs", `{}`, 404)
				ask("GET", "/v1/runs/"+name, "", 404)
				short, stop := context.WithTimeout(ctx, time.Millisecond) // a client that is gone at once
				defer stop()
				if req, err := http.NewRequestWithContext(short, http.MethodGet, s.url+"/v1/audit?limit=1000", nil); err == nil {
					req.Header.Set("Authorization", "Bearer forged-"+name)
					if resp, err := http.DefaultClient.Do(req); err == nil {
						_ = resp.Body.Close()
					}
				}
			},
		} {
			all.Go(func() {
				for ctx.Err() == nil {
					work(fmt.Sprintf("n%d", names.Add(1)))
				}
			})
		}
	}
	all.Wait()
	return done.Load()
}

// glance follows the events of a run, and leaves before they end.
func (s *serving) glance(ctx context.Context, token, run string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/v1/runs/"+run+"/events", nil)
	if err != nil {
		return
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return
	}
	defer resp.Body.Close()
	_, _ = bufio.NewReader(resp.Body).ReadString('\n')
}
