package host_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/lib/centralagent"
	"github.com/hexdag/hexdag/host/ports/governance/approvals"
	"github.com/hexdag/hexdag/host/testserver"
)

// goalsShared has several processes share goals, runs and a leader.
const goalsShared = `  journal: {config: {path: journal.db}}
  ports:
    eventbus: {adapter: nats, config: {folder: nats}}
    lock: {adapter: nats, config: {folder: nats, ttl: 3}}
`

// step is what the model does with a goal in the tests that kill hosts.
func (s *script) steps(goal string) *script {
	return s.says(goal, callOf("central_agent:survey", "{}"), start("lookup", `{"order": "`+goal+`"}`), start("notify", `{"order": "`+goal+`"}`), waitForAll, callOf("central_agent:note", `{"text": "it is done"}`), endsWith("done", "saw to "+goal))
}

// tells prints what goes through a port's hook.
type tells struct{ kernel.PortHook }

func (tells) BeforePort(_ context.Context, call *kernel.PortCall) (kernel.Verdict, error) {
	fmt.Println("did", call.Op)
	return kernel.Verdict{}, nil
}

func (tells) AfterPort(context.Context, *kernel.PortCall, *kernel.PortReply, error) (kernel.Verdict, error) {
	return kernel.Verdict{}, nil
}

// mortalGoals works on goals until none is left, and may be killed meanwhile. What a host called "stuck" has to do never ends.
func mortalGoals(s site, name string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	cfg, err := host.LoadConfig(s.path("hexdag.yaml"))
	if err != nil {
		return err
	}
	note := func(file, line string) error {
		f, err := os.OpenFile(s.path(file), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = f.WriteString(line + "\n")
		return err
	}
	model := &script{}
	for i := range 3 {
		model.steps(fmt.Sprintf("goal-%d", i))
	}
	opts := host.Options{KeyFile: s.path("audit.key"), CacheDir: s.path("cache"), State: s.path("state-" + name), Version: "1", Functions: map[string]host.Function{}}
	for _, of := range []string{"lookup", "notify"} {
		opts.Functions[of] = func(ctx context.Context, call *kernel.NodeCall) (kernel.Value, error) {
			order, _ := kernel.Field(call.Input, "order")
			if name == "stuck" {
				<-ctx.Done()
				return nil, kernel.ContextError(ctx)
			}
			return map[string]any{"did": of}, note("did.log", fmt.Sprint(of, " ", order))
		}
	}
	opts.Ports = []host.PortOp{{Name: "llm.complete", Func: func(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
		messages, _ := call.Args["messages"].([]any)
		first, _ := kernel.Field(messages[0], "content")
		_, goal, _ := strings.Cut(fmt.Sprint(first), "goal-")
		if err := note("asked.log", fmt.Sprintf("goal-%s step %d", goal[:1], len(messages))); err != nil {
			return nil, err
		}
		return model.complete(ctx, call)
	}}}
	opts.PortHooks = []host.PortHook{{Name: "tells", Match: func(op string) bool { return op == "central_agent.wait" }, Hook: tells{}}}
	h, err := host.New(ctx, cfg, opts)
	if err != nil {
		return err
	}
	go func() { // it does not outlive the test
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(1)
	}()
	fmt.Println("ready")
	err = h.ServeGoals(ctx, host.GoalOptions{Every: 200 * time.Millisecond, Idle: cancel, Told: func(g *host.Goal) { fmt.Println("told", g.ID, g.Status) }})
	return errors.Join(err, h.Close(context.Background()))
}

// newGoals is an agency whose goals several processes work on.
func newGoals(t *testing.T) *agency {
	a := newAgency(t, "store: {config: {path: libraries.db}}", goalsShared)
	a.open()
	for i := range 3 {
		if _, err := a.host.SubmitGoal(t.Context(), "agent", map[string]any{"goal": fmt.Sprintf("see to goal-%d", i)}, host.RunOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.host.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	return a
}

// until reads lines until one has been said so many times.
func until(t *testing.T, lines *bufio.Scanner, line string, times int) {
	t.Helper()
	for times > 0 && lines.Scan() {
		if strings.HasPrefix(lines.Text(), "error") {
			t.Fatal(lines.Text())
		}
		if lines.Text() == line {
			times--
		}
	}
	if times > 0 {
		t.Fatalf("the process did not say %q %d times more", line, times)
	}
}

// accountGoals checks that all goals were met, and that no model was asked twice.
func (a *agency) accountGoals(t *testing.T) {
	t.Helper()
	a.open()
	goals, err := a.host.Goals().List(t.Context(), "acme", "", 10)
	if err != nil || len(goals) != 3 {
		t.Fatalf("%+v, %v", goals, err)
	}
	for _, g := range goals {
		if g.Status != centralagent.Completed || g.Outcome != "done" || !strings.HasPrefix(g.Summary, "saw to goal-") {
			t.Errorf("%+v", g)
		}
	}
	asked := counted(t, a.path("asked.log"))
	if len(asked) != 3*6 {
		t.Errorf("the model was asked %v", asked)
	}
	for step, n := range asked {
		if n != 1 {
			t.Errorf("%s: the model was asked %d times", step, n)
		}
	}
	for did, n := range counted(t, a.path("did.log")) {
		if n != 1 {
			t.Errorf("%s was done %d times", did, n)
		}
	}
}

// A host is killed while its goals wait for what they have started. The next goes on with both, and asks no model again.
func TestGoalsSurviveTheirHost(t *testing.T) {
	a := newGoals(t)
	cmd, said := a.live(t, "goals stuck")
	until(t, said, "did central_agent.wait", 3)
	die(t, cmd, said, 0, 0)
	cmd, said = a.live(t, "goals second")
	ended(t, cmd, said)
	a.accountGoals(t)
}

// Of two hosts one works on goals. When it dies, the other does, with what was begun.
func TestGoalsHaveALeader(t *testing.T) {
	a := newGoals(t)
	leader, said := a.live(t, "goals stuck")
	until(t, said, "did central_agent.wait", 3)
	follower, heard := a.live(t, "goals second")
	if asked := counted(t, a.path("asked.log")); len(asked) != 3*4 {
		t.Errorf("the model was asked %v", asked)
	}
	die(t, leader, said, 0, 0)
	ended(t, follower, heard)
	a.accountGoals(t)
}

// serving has the host work on goals until stop is called, which says what of.
func (a *agency) serving(opts host.GoalOptions) (stop func()) {
	ctx, cancel := context.WithCancel(a.t.Context())
	var work sync.WaitGroup
	opts.Every = 20 * time.Millisecond
	work.Go(func() {
		if err := a.host.ServeGoals(ctx, opts); err != nil {
			a.t.Error(err)
		}
	})
	return func() {
		cancel()
		work.Wait()
	}
}

// becomes waits until a goal is as it should be.
func (a *agency) becomes(id string, status centralagent.Status) *host.Goal {
	a.t.Helper()
	for range 3000 {
		g, err := a.host.Goals().Get(a.t.Context(), "acme", id)
		if err != nil {
			a.t.Fatal(err)
		}
		if g.Status == status {
			return g
		}
		if g.Status.Over() {
			a.t.Fatalf("%+v", g)
		}
		time.Sleep(10 * time.Millisecond)
	}
	a.t.Fatalf("goal %s does not become %s", id, status)
	return nil
}

func (a *agency) submit(agent, goal string) *host.Goal {
	a.t.Helper()
	g, err := a.host.SubmitGoal(a.t.Context(), agent, map[string]any{"goal": goal}, untrustedInput)
	if err != nil {
		a.t.Fatal(err)
	}
	return g
}

// A goal that waits for a person goes on by itself when that has answered.
func TestAGoalWaitsForAnApproval(t *testing.T) {
	a := newAgency(t, "", "")
	a.model.says("refund it", start("refund", `{"order": "1"}`), waitForAll, endsWith("done", "refunded"))
	a.open()
	idle := make(chan struct{}, 100)
	defer a.serving(host.GoalOptions{Idle: func() { idle <- struct{}{} }})()
	g := a.submit("agent", "refund it")
	g = a.becomes(g.ID, centralagent.Waiting)
	<-idle
	list, err := a.host.Approvals().List(t.Context(), approvals.Pending)
	if err != nil || len(list) != 1 || len(g.Waits) != 1 || g.Waits[0] != kernel.ApprovalKey+list[0].ID {
		t.Fatalf("%+v, %v, %+v", list, err, g)
	}
	if _, err := a.host.Approvals().Answer(t.Context(), list[0].ID, "ada", true, ""); err != nil {
		t.Fatal(err)
	}
	if g = a.becomes(g.ID, centralagent.Completed); g.Outcome != "done" || a.did() != "refund 1" {
		t.Errorf("%+v; %s", g, a.did())
	}
}

// A goal that waits for a person goes on at whichever host leads when that has answered: on another machine, it needs no file of the first.
func TestAGoalGoesOnAtAnotherMachine(t *testing.T) {
	for _, backend := range []string{"sqlite", "postgres"} {
		t.Run(backend, func(t *testing.T) {
			shared := goalsShared + "  approvals: {config: {path: approvals.db}}\n"
			if backend == "postgres" {
				_, url := testserver.Postgres(t)
				at := "{adapter: postgres, config: {url: '" + url + "'}}\n"
				shared = strings.Replace(goalsShared, "{config: {path: journal.db}}\n", at, 1) + "  approvals: " + at
			}
			a := newAgency(t, "store: {config: {path: libraries.db}}", shared)
			a.model.says("refund it", start("refund", `{"order": "1"}`), waitForAll, endsWith("done", "refunded"))
			cfg, err := host.LoadConfig(a.path("hexdag.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			machine := func() *host.Host {
				opts := a.options()
				opts.State = t.TempDir()
				h, err := host.New(t.Context(), cfg, opts)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = h.Close(context.Background()) })
				return h
			}
			first := machine()
			a.host = first
			stop := a.serving(host.GoalOptions{})
			g := a.submit("agent", "refund it")
			a.becomes(g.ID, centralagent.Waiting)
			stop()
			if backend == "sqlite" {
				if err := first.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			a.host = machine()
			defer a.serving(host.GoalOptions{})()
			list, err := a.host.Approvals().List(t.Context(), approvals.Pending)
			if err != nil || len(list) != 1 {
				t.Fatalf("%+v, %v", list, err)
			}
			if _, err := a.host.Approvals().Answer(t.Context(), list[0].ID, "ada", true, ""); err != nil {
				t.Fatal(err)
			}
			if g = a.becomes(g.ID, centralagent.Completed); g.Outcome != "done" || a.did() != "refund 1" {
				t.Errorf("%+v; %s", g, a.did())
			}
			if n := a.model.count(); n != 3 {
				t.Errorf("the model was asked %d times", n)
			}
		})
	}
}

// A host that is stopped leaves what it has not ended as it is: the next goes on there.
func TestGoalsSurviveAStop(t *testing.T) {
	a := newAgency(t, "", "")
	a.model.steps("goal-0")
	opts := a.options()
	reached, lookup := make(chan struct{}, 1), opts.Functions["lookup"]
	opts.Functions["lookup"] = func(ctx context.Context, _ *kernel.NodeCall) (kernel.Value, error) {
		<-ctx.Done()
		return nil, kernel.ContextError(ctx)
	}
	opts.PortHooks = []host.PortHook{{Name: "tells", Match: func(op string) bool { return op == "central_agent.wait" }, Hook: reaches{tells{}, reached}}}
	cfg, err := host.LoadConfig(a.path("hexdag.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if a.host, err = host.New(t.Context(), cfg, opts); err != nil {
		t.Fatal(err)
	}
	stop := a.serving(host.GoalOptions{Drain: time.Millisecond})
	g := a.submit("agent", "goal-0")
	<-reached
	stop()
	if now, err := a.host.Goals().Get(t.Context(), "acme", g.ID); err != nil || now.Status != centralagent.Running {
		t.Errorf("%+v, %v", now, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond) // the run that it has started does not end by itself
	defer cancel()
	if err := a.host.Close(ctx); err != nil {
		t.Fatal(err)
	}
	opts.Functions["lookup"] = lookup
	if a.host, err = host.New(t.Context(), cfg, opts); err != nil {
		t.Fatal(err)
	}
	defer a.host.Close(context.Background())
	defer a.serving(host.GoalOptions{})()
	if g = a.becomes(g.ID, centralagent.Completed); g.Outcome != "done" || g.Tries != 0 {
		t.Errorf("%+v", g)
	}
	if did := a.did(); !strings.Contains(did, "notify goal-0") || strings.Count(did, "lookup goal-0") != 1 {
		t.Error(did)
	}
	if n := a.model.count(); n != 6 {
		t.Errorf("the model was asked %d times: %v", n, a.model.asked)
	}
}

// reaches tells once when a call comes by.
type reaches struct {
	tells
	reached chan struct{}
}

func (r reaches) BeforePort(context.Context, *kernel.PortCall) (kernel.Verdict, error) {
	select {
	case r.reached <- struct{}{}:
	default:
	}
	return kernel.Verdict{}, nil
}

func TestGoalsAreBounded(t *testing.T) {
	a := newAgency(t, "", "")
	a.write(t, "hexdag.yaml", strings.Replace(readFile(t, a.path("hexdag.yaml")), "max_retries: 1", "max_goals: 2, max_retries: 1", 1))
	a.write(t, "hexdag.yaml", strings.Replace(readFile(t, a.path("hexdag.yaml")), "      max_goals: 2, max_retries: 1", "      max_goals: 2\n      max_retries: 1", 1))
	a.model.says("sleep", start("lookup", `{"order": "1"}`), waitForAll, endsWith("done", ""))
	a.open()
	first := a.submit("agent", "sleep")
	second := a.submit("agent", "sleep")
	_, err := a.host.SubmitGoal(t.Context(), "agent", map[string]any{"goal": "sleep"}, host.RunOptions{})
	wantError(t, err, kernel.CodeLimit, "there are too many goals: 2 of the tenant's are not over, and max_goals is 2")
	_, err = a.host.SubmitGoal(t.Context(), "nobody", nil, host.RunOptions{})
	wantError(t, err, kernel.CodeNotFound, "there is no pipeline nobody to start")
	if done, err := a.host.Goals().Cancel(t.Context(), "acme", second.ID); err != nil || !done {
		t.Error(done, err)
	}
	_, err = a.host.Goals().Cancel(t.Context(), "acme", "none")
	wantError(t, err, kernel.CodeNotFound, "there is no goal none")
	defer a.serving(host.GoalOptions{})()
	a.becomes(first.ID, centralagent.Completed)
	if g, err := a.host.Goals().Get(t.Context(), "acme", second.ID); err != nil || g.Status != centralagent.Cancelled || g.Run != "" {
		t.Errorf("%+v, %v", g, err)
	}
	if done, err := a.host.Goals().Cancel(t.Context(), "acme", first.ID); err != nil || done {
		t.Error(done, err)
	}
	// An input that the agent does not take is told.
	third, err := a.host.SubmitGoal(t.Context(), "agent", map[string]any{"gaol": 1}, host.RunOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for range 3000 {
		if third, err = a.host.Goals().Get(t.Context(), "acme", third.ID); err != nil || third.Status.Over() {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil || third.Status != centralagent.Failed || !strings.Contains(third.Error, "goal") {
		t.Errorf("%+v, %v", third, err)
	}
}

// A goal that goes on is stopped where somebody cancels it.
func TestAGoalIsCancelled(t *testing.T) {
	a := newAgency(t, "", "")
	a.model.says("sleep", start("lookup", `{"order": "1"}`), waitForAll, endsWith("done", ""))
	opts := a.options()
	opts.Functions["lookup"] = func(ctx context.Context, _ *kernel.NodeCall) (kernel.Value, error) {
		<-ctx.Done()
		return nil, kernel.ContextError(ctx)
	}
	cfg, err := host.LoadConfig(a.path("hexdag.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if a.host, err = host.New(t.Context(), cfg, opts); err != nil {
		t.Fatal(err)
	}
	defer a.host.Close(context.Background())
	defer a.serving(host.GoalOptions{})()
	g := a.submit("agent", "sleep")
	a.becomes(g.ID, centralagent.Running)
	if done, err := a.host.Goals().Cancel(t.Context(), "acme", g.ID); err != nil || !done {
		t.Error(done, err)
	}
	for range 3000 {
		if g, err = a.host.Goals().Get(t.Context(), "acme", g.ID); err != nil || g.Status.Over() {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil || g.Status != centralagent.Cancelled {
		t.Errorf("%+v, %v", g, err)
	}
}
