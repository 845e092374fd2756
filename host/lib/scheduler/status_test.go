package scheduler_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/lib/scheduler"
	"github.com/hexdag/hexdag/host/ports/datastore"
)

// With overlap: allow a task tells of the run that has begun last, whenever the others end.
func TestLastStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		var mu sync.Mutex
		status, failure := map[string]string{}, map[string]string{}
		became := func(_ context.Context, run string) (string, string, error) {
			mu.Lock()
			defer mu.Unlock()
			if status[run] == "" {
				return "", "", &kernel.Error{Code: kernel.CodeNotFound, What: "there is no run"}
			}
			return status[run], failure[run], nil
		}
		set := func(run, is, why string) {
			mu.Lock()
			defer mu.Unlock()
			status[run], failure[run] = is, why
		}
		release := map[string]chan string{}
		o := scheduler.Options{Tenant: "acme", Lead: alone, RunID: runID, Became: became, Store: func(context.Context) (*datastore.Store, error) { return s.store, nil }}
		var runs []string
		o.Run = func(_ context.Context, f *scheduler.Firing) (string, error) {
			mu.Lock()
			end := make(chan string, 1)
			runs, status[f.RunID], release[f.RunID] = append(runs, f.RunID), "running", end
			mu.Unlock()
			f.Began()
			return <-end, nil
		}
		c := scheduler.New(o)
		defer s.serve(c)()
		s.add(c, scheduler.Task{ID: "a", Every: 10 * time.Second, Overlap: scheduler.Allow})
		begun := func() []string {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(runs)
		}
		says := func(run int, is, why string) {
			t.Helper()
			listed, err := c.List(t.Context(), "", false, 10)
			if err != nil || len(listed) != 1 {
				t.Fatal(listed, err)
			}
			runs := begun()
			for _, task := range []*scheduler.Task{s.task(c, "a"), listed[0]} {
				if task.LastRun != runs[run] || task.LastStatus != is || task.Error != why || task.Runs != int64(len(runs)) {
					t.Errorf("of run %d of %d, %s, it says %s, %q; of %s", run, task.Runs, runs[run], task.LastStatus, task.Error, task.LastRun)
				}
			}
		}
		end := func(run int, is, why string) {
			id := begun()[run]
			set(id, is, why)
			mu.Lock()
			ended := release[id]
			mu.Unlock()
			ended <- is
			time.Sleep(time.Second)
		}
		time.Sleep(11 * time.Second)
		says(0, "running", "")
		time.Sleep(10 * time.Second)
		says(1, "running", "")
		end(0, "failed", "no stock") // the one before is over; the last goes on
		says(1, "running", "")
		time.Sleep(10 * time.Second)
		says(2, "running", "")
		end(2, "failed", "no money") // the last is over; the one before goes on
		says(2, "failed", "no money")
		end(1, "completed", "")
		says(2, "failed", "no money")
		time.Sleep(10 * time.Second)
		says(3, "running", "")
		end(3, "suspended", "")
		says(3, "suspended", "")
		set(begun()[3], "lost", "")
		says(3, "lost", "")
		set(begun()[3], "completed", "") // somebody has gone on with it
		says(3, "completed", "")
		set(begun()[3], "", "")
		says(3, "unknown", "")
	})
}
