package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/lib/scheduler"
	"github.com/hexdag/hexdag/host/ports/datastore"
	"github.com/hexdag/hexdag/host/ports/datastore/memdocs"
	"github.com/hexdag/hexdag/host/ports/datastore/sqlitedocs"
)

func TestMain(m *testing.M) {
	if path := os.Getenv("HEXDAG_TEST_SCHEDULES"); path != "" {
		worker(path)
		return
	}
	goleak.VerifyTestMain(m)
}

func alone(ctx context.Context, do func(ctx context.Context) error) error { return do(ctx) }

func runID(task string, at time.Time) string { return fmt.Sprintf("%s@%d", task, at.UnixNano()) }

// site is a store, and what has begun of its schedules, on whatever scheduler.
type site struct {
	t     *testing.T
	store *datastore.Store
	start time.Time
	takes time.Duration // a run

	mu      sync.Mutex
	begun   map[string]bool
	fired   []string // "task second", in their order
	failure error
}

func newSite(t *testing.T) *site {
	return &site{t: t, store: datastore.New(memdocs.New()), start: time.Now(), begun: map[string]bool{}}
}

func (s *site) scheduler(o scheduler.Options) *scheduler.Scheduler {
	o.Tenant, o.Lead, o.RunID = "acme", alone, runID
	o.Store = func(context.Context) (*datastore.Store, error) { return s.store, nil }
	o.Run = func(ctx context.Context, f *scheduler.Firing) (string, error) {
		s.mu.Lock()
		if s.begun[f.RunID] {
			s.mu.Unlock()
			return "", scheduler.ErrBegun
		}
		s.begun[f.RunID] = true
		s.fired = append(s.fired, fmt.Sprintf("%s %v", f.Task.ID, time.Since(s.start).Seconds()))
		s.mu.Unlock()
		f.Began()
		select {
		case <-time.After(s.takes):
		case <-ctx.Done():
			return "cancelled", kernel.ContextError(ctx)
		}
		if s.failure != nil {
			return "failed", s.failure
		}
		return "completed", nil
	}
	return scheduler.New(o)
}

// serve serves schedules until stop.
func (s *site) serve(c *scheduler.Scheduler) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.Serve(ctx, time.Second)
	}()
	return func() {
		cancel()
		<-done
	}
}

func (s *site) add(c *scheduler.Scheduler, t scheduler.Task) {
	s.t.Helper()
	t.Pipeline = "p"
	if _, err := c.Add(context.Background(), &t); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) wants(fired ...string) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if diff := cmp.Diff(fired, s.fired); diff != "" {
		s.t.Error(diff)
	}
}

func (s *site) task(c *scheduler.Scheduler, id string) *scheduler.Task {
	s.t.Helper()
	t, err := c.Get(context.Background(), id)
	if err != nil {
		s.t.Fatal(err)
	}
	return t
}

func TestTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		c := s.scheduler(scheduler.Options{})
		defer s.serve(c)()
		time.Sleep(200 * time.Millisecond)
		s.add(c, scheduler.Task{ID: "now"})
		s.add(c, scheduler.Task{ID: "soon", Next: time.Now().Add(100 * time.Millisecond)})
		s.add(c, scheduler.Task{ID: "later", Next: time.Now().Add(7 * time.Second)})
		s.add(c, scheduler.Task{ID: "often", Every: 3 * time.Second})
		s.add(c, scheduler.Task{ID: "cron", Cron: "* * * * *"}) // synctest begins at midnight
		time.Sleep(10 * time.Second)
		s.wants("now 0.2", "soon 0.3", "often 3.2", "often 6.2", "later 7.2", "often 9.2")
		if n := s.task(c, "now"); n.Status != scheduler.Completed || n.Runs != 1 || n.LastStatus != "completed" || !n.Next.IsZero() || n.Claim != nil {
			t.Errorf("%+v", n)
		}
		if often := s.task(c, "often"); often.Runs != 3 || often.Skipped != 0 || often.Status == scheduler.Completed {
			t.Errorf("%+v", often)
		}
		if done, err := c.Cancel(t.Context(), "often"); !done || err != nil {
			t.Error(done, err)
		}
		if done, err := c.Cancel(t.Context(), "often"); done || err != nil {
			t.Error(done, err)
		}
		if _, err := c.Cancel(t.Context(), "nothing"); kernel.CodeOf(err) != kernel.CodeNotFound {
			t.Error(err)
		}
		time.Sleep(115 * time.Second)
		s.mu.Lock()
		got := s.fired[6:]
		s.mu.Unlock()
		if !slices.Equal(got, []string{"cron 60", "cron 120"}) {
			t.Error(got)
		}
	})
}

// What is claimed for a moment from now and cancelled before does not come.
func TestCancelledInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		c := s.scheduler(scheduler.Options{TTL: 300 * time.Millisecond})
		defer s.serve(c)()
		s.add(c, scheduler.Task{ID: "a", Next: time.Now().Add(900 * time.Millisecond)})
		time.Sleep(300 * time.Millisecond)
		if s.task(c, "a").Claim == nil {
			t.Error("it is not claimed yet")
		}
		if done, err := c.Cancel(t.Context(), "a"); !done || err != nil {
			t.Error(done, err)
		}
		time.Sleep(2 * time.Second)
		s.wants()
	})
}

func TestOverlap(t *testing.T) {
	for rule, want := range map[scheduler.Overlap][]string{
		scheduler.SkipRunning: {"a 2", "a 8", "a 14"}, // at 4 and 6 it runs
		scheduler.Queue:       {"a 2", "a 7.02", "a 12.04"},
		scheduler.Allow:       {"a 2", "a 4", "a 6", "a 8", "a 10", "a 12", "a 14"},
	} {
		t.Run(string(rule), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				s.takes = 5 * time.Second
				c := s.scheduler(scheduler.Options{})
				defer s.serve(c)()
				s.add(c, scheduler.Task{ID: "a", Every: 2 * time.Second, Overlap: rule})
				time.Sleep(15 * time.Second)
				s.wants(want...)
			})
		})
	}
}

// Times that went by while nobody served.
func TestCatchUp(t *testing.T) {
	for _, c := range []struct {
		rule    scheduler.CatchUp
		want    []string
		skipped int64
		once    scheduler.Status
	}{
		{scheduler.Skip, []string{"often 610"}, 60, scheduler.Missed},
		{scheduler.Once, []string{"often 605", "once 605", "often 610"}, 59, scheduler.Completed},
		{scheduler.All, []string{"often 605", "often 605.02", "often 605.04", "often 610", "once 605"}, 57, scheduler.Completed},
	} {
		t.Run(string(c.rule), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				k := s.scheduler(scheduler.Options{MaxCatchUp: 3})
				s.add(k, scheduler.Task{ID: "often", Every: 10 * time.Second, CatchUp: c.rule})
				s.add(k, scheduler.Task{ID: "once", Next: time.Now().Add(time.Second), CatchUp: c.rule})
				time.Sleep(605 * time.Second)
				stop := s.serve(k)
				time.Sleep(10 * time.Second)
				stop()
				s.mu.Lock()
				slices.Sort(s.fired)
				s.mu.Unlock()
				slices.Sort(c.want)
				s.wants(c.want...)
				if often, once := s.task(k, "often"), s.task(k, "once"); often.Skipped != c.skipped || once.Status != c.once {
					t.Errorf("%+v, %+v", often, once)
				}
			})
		})
	}
}

// What fails is told; what comes again, comes again.
func TestFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.failure = errors.New("no stock")
		c := s.scheduler(scheduler.Options{})
		defer s.serve(c)()
		s.add(c, scheduler.Task{ID: "once"})
		s.add(c, scheduler.Task{ID: "often", Every: time.Second})
		time.Sleep(2500 * time.Millisecond)
		if once := s.task(c, "once"); once.Status != scheduler.Failed || once.Error != "no stock" || once.LastStatus != "failed" {
			t.Errorf("%+v", once)
		}
		if often := s.task(c, "often"); often.Status == scheduler.Failed || often.Runs != 2 || often.Error != "no stock" {
			t.Errorf("%+v", often)
		}
	})
}

// A scheduler that stops gives back what has not begun, and waits for what has; the next one takes over in time, and begins nothing twice.
func TestHandedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.takes = 500 * time.Millisecond
		first, second := s.scheduler(scheduler.Options{}), s.scheduler(scheduler.Options{})
		stop := s.serve(first)
		s.add(first, scheduler.Task{ID: "a"})
		s.add(first, scheduler.Task{ID: "b", Next: time.Now().Add(900 * time.Millisecond)})
		time.Sleep(100 * time.Millisecond)
		stop()
		s.wants("a 0")
		if a := s.task(second, "a"); a.Status != scheduler.Completed {
			t.Errorf("%+v", a)
		}
		defer s.serve(second)()
		time.Sleep(2 * time.Second)
		s.wants("a 0", "b 0.9")
	})
}

// Two that both think that they lead begin nothing twice, and what a third had claimed and died with begins when its claim is over.
func TestOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		first, second := s.scheduler(scheduler.Options{}), s.scheduler(scheduler.Options{})
		dead := &scheduler.Task{ID: "dead", Pipeline: "p", Status: scheduler.Running, Next: time.Now(), Claim: &scheduler.Claim{At: time.Now(), Run: runID("dead", time.Now()), By: "nobody", Until: time.Now().Add(20 * time.Second)}}
		begun := *dead
		begun.ID, begun.Claim = "begun", &scheduler.Claim{At: time.Now(), Run: "is registered", By: "nobody", Until: time.Now().Add(20 * time.Second)}
		s.begun["is registered"] = true
		for _, task := range []*scheduler.Task{dead, &begun} {
			scheduler.Keep(t, s.store, task)
		}
		defer s.serve(first)()
		defer s.serve(second)()
		var want []string
		for i := range 50 {
			id := fmt.Sprintf("%02d", i)
			s.add(first, scheduler.Task{ID: id, Next: time.Now().Add(time.Duration(i) * 100 * time.Millisecond)})
			want = append(want, fmt.Sprintf("%s %v", id, (time.Duration(i)*100*time.Millisecond).Seconds()))
		}
		time.Sleep(30 * time.Second)
		s.mu.Lock()
		last := s.fired[len(s.fired)-1]
		s.fired = s.fired[:len(s.fired)-1]
		s.mu.Unlock()
		s.wants(want...)
		if !strings.HasPrefix(last, "dead 20") {
			t.Error(last)
		}
		if b := s.task(first, "begun"); b.Status != scheduler.Completed || b.LastStatus != "begun elsewhere" {
			t.Errorf("%+v", b)
		}
	})
}

func TestConcurrency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.takes = time.Second
		c := s.scheduler(scheduler.Options{Concurrency: 2, TTL: 3 * time.Second})
		defer s.serve(c)()
		for i := range 10 {
			s.add(c, scheduler.Task{ID: fmt.Sprint(i)})
		}
		time.Sleep(8 * time.Second)
		s.mu.Lock()
		defer s.mu.Unlock()
		at := map[string]int{}
		for _, f := range s.fired {
			_, second, _ := strings.Cut(f, " ")
			at[second]++
		}
		if diff := cmp.Diff(map[string]int{"0": 2, "1": 2, "2": 2, "3": 2, "4": 2}, at); diff != "" {
			t.Error(diff)
		}
	})
}

func TestBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		c := s.scheduler(scheduler.Options{MaxTasks: 2})
		s.add(c, scheduler.Task{ID: "a", Next: time.Now().Add(time.Hour)})
		for _, bad := range []scheduler.Task{{ID: "x", Every: time.Millisecond}, {ID: "x", Every: -time.Second}, {ID: "x", Cron: "never"}, {ID: "x", Next: time.Now().AddDate(11, 0, 0)}} {
			if _, err := c.Add(t.Context(), &bad); kernel.CodeOf(err) != kernel.CodeArguments {
				t.Errorf("%+v: %v", bad, err)
			}
		}
		s.add(c, scheduler.Task{ID: "b", Next: time.Now().Add(time.Hour)})
		_, err := c.Add(t.Context(), &scheduler.Task{ID: "c"})
		if kernel.CodeOf(err) != kernel.CodeLimit || !strings.Contains(err.Error(), "2 go on, and max_tasks is 2") {
			t.Error(err)
		}
	})
}

// checker knows one pipeline.
type checker struct{ n int }

func (c *checker) Check(_ context.Context, name string) error {
	if name != "p" {
		return &kernel.Error{Code: kernel.CodeNotFound, What: "there is no pipeline " + kernel.Quote(name)}
	}
	return nil
}

func (c *checker) NewID() string { c.n++; return fmt.Sprint("t", c.n) }

func TestOps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		c := s.scheduler(scheduler.Options{})
		ops := c.Ops(&checker{})
		run := &kernel.RunContext{Tenant: "acme", Principal: "ada"}
		call := func(ctx context.Context, op, args string) (map[string]any, error) {
			v, err := kernel.DecodeJSON([]byte(args))
			if err != nil {
				t.Fatal(err)
			}
			fields, _ := v.(map[string]any)
			for _, o := range ops {
				if o.Name == "scheduler."+op {
					reply, err := o.Func(kernel.WithRun(ctx, run), &kernel.PortCall{Op: o.Name, Args: fields})
					if err != nil {
						return nil, err
					}
					value, _ := reply.Value.(map[string]any)
					return value, nil
				}
			}
			t.Fatal(op)
			return nil, nil
		}
		once, err := call(t.Context(), "schedule_once", `{"pipeline": "p", "input": {"x": 1}, "delay_seconds": 1.5, "ref_id": "o"}`)
		if err != nil || once["task_id"] != "t1" || once["schedule_type"] != "once" || once["status"] != "pending" || once["next_run_at"] != "2000-01-01T00:00:01.5Z" {
			t.Errorf("%v, %v", once, err)
		}
		recurring, err := call(t.Context(), "schedule_recurring", `{"pipeline": "p", "cron": "0 6 * * *", "zone": "Europe/Berlin", "overlap": "queue"}`)
		if err != nil || recurring["next_run_at"] != "2000-01-01T05:00:00Z" || recurring["schedule_type"] != "cron" || recurring["zone"] != "Europe/Berlin" {
			t.Errorf("%v, %v", recurring, err)
		}
		// A call that is done again where nobody knows whether it was done makes one task.
		again := kernel.WithIdempotencyKey(t.Context(), "k")
		for range 2 {
			if _, err := call(again, "schedule_recurring", `{"pipeline": "p", "interval_seconds": 60}`); err != nil {
				t.Error(err)
			}
		}
		listed, err := call(t.Context(), "list", `{}`)
		if tasks, _ := listed["tasks"].([]any); err != nil || len(tasks) != 3 {
			t.Errorf("%v, %v", listed, err)
		}
		listed, err = call(t.Context(), "list", `{"ref_id": "o"}`)
		if tasks, _ := listed["tasks"].([]any); err != nil || len(tasks) != 1 {
			t.Errorf("%v, %v", listed, err)
		}
		for _, want := range []string{"true", "false the task has ended"} {
			v, err := call(t.Context(), "cancel", `{"task_id": "t1"}`)
			if got := strings.TrimSuffix(fmt.Sprint(v["cancelled"], " ", v["error"]), " <nil>"); err != nil || got != want {
				t.Errorf("%v, %v", got, err)
			}
		}
		for args, says := range map[string]string{
			`{"pipeline": "q"}`: "there is no pipeline q", `{"pipeline": "p", "delay_seconds": -1}`: "delay_seconds must be from 0", `{"pipeline": "p", "at": "tomorrow"}`: "at as a time such as",
			`{"pipeline": "p", "at": "2026-11-20T12:00:00Z", "delay_seconds": 1}`: "give delay_seconds, or at", `{"pipeline": "p", "catch_up": "all"}`: "catch_up must be one of [once skip]",
			`{"pipeline": "p", "input": [1]}`: "input must be an object", `{"pipeline": "p", "when": 1}`: "unknown argument when", `{}`: "pipeline must be a text",
			`{"pipeline": "p", "ref_id": "` + strings.Repeat("x", 300) + `"}`: "at most 200 bytes",
		} {
			if _, err := call(t.Context(), "schedule_once", args); err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("%s: %v", args, err)
			}
		}
		for args, says := range map[string]string{
			`{"pipeline": "p"}`: "give interval_seconds or cron", `{"pipeline": "p", "interval_seconds": 1, "cron": "* * * * *"}`: "give interval_seconds or cron",
			`{"pipeline": "p", "interval_seconds": 0.5}`: "must be at least 1", `{"pipeline": "p", "interval_seconds": 5, "zone": "UTC"}`: "zone is for cron",
			`{"pipeline": "p", "cron": "* * *"}`: "it has five fields", `{"pipeline": "p", "cron": "* * * * *", "overlap": "maybe"}`: "overlap must be skip, queue or allow",
		} {
			if _, err := call(t.Context(), "schedule_recurring", args); kernel.CodeOf(err) != kernel.CodeArguments || !strings.Contains(err.Error(), says) {
				t.Errorf("%s: %v", args, err)
			}
		}
	})
}

// How late 10,000 tasks that come within two seconds are.
func BenchmarkTenThousandTasks(b *testing.B) {
	const n = 10_000
	for b.Loop() {
		d, err := sqlitedocs.Open(b.Context(), filepath.Join(b.TempDir(), "d.db"))
		if err != nil {
			b.Fatal(err)
		}
		store := datastore.New(d)
		var mu sync.Mutex
		var late []time.Duration
		all := make(chan struct{})
		c := scheduler.New(scheduler.Options{
			Tenant: "acme", Lead: alone, RunID: runID, MaxTasks: 2 * n, Store: func(context.Context) (*datastore.Store, error) { return store, nil },
			Run: func(_ context.Context, f *scheduler.Firing) (string, error) {
				d := time.Since(f.At)
				mu.Lock()
				defer mu.Unlock()
				if late = append(late, d); len(late) == n {
					close(all)
				}
				return "completed", nil
			},
		})
		start := time.Now().Add(8 * time.Second)
		var tasks []*scheduler.Task
		for i := range n {
			tasks = append(tasks, &scheduler.Task{ID: fmt.Sprint(i), Pipeline: "p", Status: scheduler.Pending, CatchUp: scheduler.Once, Overlap: scheduler.SkipRunning, Next: start.Add(time.Duration(i) * 2 * time.Second / n)})
		}
		scheduler.Keep(b, store, tasks...)
		if time.Now().After(start.Add(-2 * time.Second)) {
			b.Fatal("the machine is too slow for this")
		}
		ctx, cancel := context.WithCancel(b.Context())
		done := make(chan struct{})
		go func() { c.Serve(ctx, time.Minute); close(done) }()
		<-all
		cancel()
		<-done
		if err := store.Close(); err != nil {
			b.Fatal(err)
		}
		slices.Sort(late)
		b.ReportMetric(float64(late[n/2].Microseconds())/1000, "ms-late-p50")
		b.ReportMetric(float64(late[n*99/100].Microseconds())/1000, "ms-late-p99")
		b.ReportMetric(float64(late[n-1].Microseconds())/1000, "ms-late-max")
	}
}
