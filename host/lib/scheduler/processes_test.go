package scheduler_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host/lib/scheduler"
	"github.com/hexdag/hexdag/host/ports/datastore"
	"github.com/hexdag/hexdag/host/ports/datastore/sqlitedocs"
)

// worker serves the schedules of a file, as a process of its own, and says what began there.
func worker(path string) {
	d, err := sqlitedocs.Open(context.Background(), path)
	if err != nil {
		panic(err)
	}
	store := datastore.New(d)
	var mu sync.Mutex
	s := scheduler.New(scheduler.Options{
		Tenant: "acme", Lead: alone, RunID: runID, TTL: time.Second, Poll: 20 * time.Millisecond, Concurrency: 8,
		Store: func(context.Context) (*datastore.Store, error) { return store, nil },
		Run: func(ctx context.Context, f *scheduler.Firing) (string, error) {
			first, err := scheduler.Register(ctx, store, f.RunID)
			if err != nil {
				return "failed", err
			}
			if !first {
				return "", scheduler.ErrBegun
			}
			mu.Lock()
			defer mu.Unlock()
			fmt.Println(f.RunID)
			return "completed", nil
		},
	})
	s.Serve(context.Background(), time.Second)
}

// TestProcesses: of two processes, of which one is killed and another started, each time of each task comes once.
func TestProcesses(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT CHECKED in -short: with processes that are killed")
	}
	path := filepath.Join(t.TempDir(), "d.db")
	d, err := sqlitedocs.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	store := datastore.New(d)
	defer store.Close()
	c := scheduler.New(scheduler.Options{Tenant: "acme", Lead: alone, RunID: runID, Store: func(context.Context) (*datastore.Store, error) { return store, nil }})
	const n = 200
	start := time.Now().Add(time.Second)
	for i := range n {
		if _, err := c.Add(t.Context(), &scheduler.Task{ID: fmt.Sprint(i), Pipeline: "p", Next: start.Add(time.Duration(i) * 10 * time.Millisecond)}); err != nil {
			t.Fatal(err)
		}
	}
	lines := make(chan string, 10*n)
	var reading sync.WaitGroup
	begin := func() *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), "HEXDAG_TEST_SCHEDULES="+path)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		reading.Go(func() {
			for scan := bufio.NewScanner(out); scan.Scan(); {
				lines <- scan.Text()
			}
		})
		return cmd
	}
	first, second := begin(), begin()
	deadline := time.Now().Add(2 * time.Minute)
	for len(lines) < n/4 && time.Now().Before(deadline) { // in the middle of it, whenever that is
		time.Sleep(time.Millisecond)
	}
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	third := begin()
	for {
		left, err := c.List(t.Context(), "", false, 500)
		if err != nil {
			t.Fatal(err)
		}
		if len(left) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d tasks are left, the first is %+v", len(left), left[0])
		}
		time.Sleep(50 * time.Millisecond)
	}
	for _, cmd := range []*exec.Cmd{second, third} {
		if err := cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
	}
	reading.Wait()
	for _, cmd := range []*exec.Cmd{first, second, third} {
		_ = cmd.Wait()
	}
	close(lines)
	came := map[string]int{}
	for line := range lines {
		came[line]++
	}
	for run, times := range came {
		if times != 1 {
			t.Errorf("%s came %d times", run, times)
		}
	}
	// The one that was killed may have registered a run and not have said so.
	if len(came) < n-8 || len(came) > n {
		t.Errorf("%d of %d tasks came", len(came), n)
	}
	ended, err := c.List(t.Context(), "", true, 500)
	if err != nil || len(ended) != n {
		t.Errorf("%d ended, %v", len(ended), err)
	}
	if _, err := json.Marshal(ended); err != nil {
		t.Error(err)
	}
}
