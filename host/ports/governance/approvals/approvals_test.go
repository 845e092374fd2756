package approvals

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/ports/obligation"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, path string) *Store {
	t.Helper()
	s := New(path)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func store(t *testing.T) *Store {
	t.Helper()
	return open(t, filepath.Join(t.TempDir(), "approvals.db"))
}

func request() *ports.ApprovalRequest {
	return &ports.ApprovalRequest{
		Access: kernel.AccessRequest{
			Subject:  kernel.Subject{Type: "module", ID: "orders", Tenant: "acme", Chain: []string{"ada"}},
			Action:   kernel.Act{Name: "database.insert", Args: map[string]any{"table": "orders", "amount": kernel.Number(20)}},
			Resource: kernel.Resource{Type: "database", ID: "orders"},
			Context:  kernel.Scope{RunID: "r1", Pipeline: "p", Node: "n", Labels: map[string]string{"env": "prod"}},
		},
		Body: "sha256:00", Revision: "1", Reasons: []kernel.Reason{{ID: "large", Msg: "more than 10"}}, Rules: obligation.Approval{Count: 1},
	}
}

// wait asks for an approval, which has to wait, and returns its id.
func wait(t *testing.T, s *Store, req *ports.ApprovalRequest) string {
	t.Helper()
	got, err := s.Approve(t.Context(), req)
	var needed *kernel.ApprovalNeeded
	if got != nil || kernel.CodeOf(err) != kernel.CodeApproval || !errors.As(err, &needed) || len(needed.ID) != 12 {
		t.Fatalf("%v, %v", got, err)
	}
	return needed.ID
}

func answer(t *testing.T, s *Store, id, by string, approve bool) *Approval {
	t.Helper()
	a, err := s.Answer(t.Context(), id, by, approve, "")
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestApprovedOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "approvals.db")
	runs, operator := open(t, path), open(t, path) // as two processes have it
	id := wait(t, runs, request())
	if again := wait(t, runs, request()); again != id {
		t.Errorf("the same call asks for %s and %s", id, again)
	}
	list, err := operator.List(t.Context(), Pending)
	if err != nil || len(list) != 1 || list[0].ID != id || list[0].Request.Action.Args["amount"] != kernel.Number(20) || list[0].Reasons[0].ID != "large" {
		t.Fatalf("%+v, %v", list, err)
	}
	if a := answer(t, operator, id, "bob", true); a.State != Approved {
		t.Errorf("%+v", a)
	}
	got, err := runs.Approve(t.Context(), request())
	if err != nil || got.ID != id || len(got.By) != 1 || got.By[0] != "bob" || time.Since(got.At) > time.Minute {
		t.Fatalf("%+v, %v", got, err)
	}
	if next := wait(t, runs, request()); next == id {
		t.Error("it was used twice")
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// Of many that use one approval at once, one does.
func TestUsedOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "approvals.db")
	first := open(t, path)
	answer(t, first, wait(t, first, request()), "bob", true)
	var used, waits atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		s := open(t, path)
		for range 4 {
			all.Go(func() {
				_, err := s.Approve(context.Background(), request())
				switch kernel.CodeOf(err) {
				case "":
					used.Add(1)
				case kernel.CodeApproval:
					waits.Add(1)
				default:
					t.Error(err)
				}
			})
		}
	}
	all.Wait()
	if used.Load() != 1 || waits.Load() != 31 {
		t.Errorf("used %d times, %d wait", used.Load(), waits.Load())
	}
	if list, err := first.List(t.Context(), Pending); err != nil || len(list) != 1 {
		t.Errorf("%+v, %v", list, err)
	}
}

// An approval is for this call: whatever else is asked waits for one of its own.
func TestBound(t *testing.T) {
	s := store(t)
	approved := wait(t, s, request())
	answer(t, s, approved, "bob", true)
	for name, change := range map[string]func(*ports.ApprovalRequest){
		"argument": func(r *ports.ApprovalRequest) {
			r.Access.Action.Args = map[string]any{"table": "orders", "amount": kernel.Number(21)}
		},
		"type": func(r *ports.ApprovalRequest) {
			r.Access.Action.Args = map[string]any{"table": "orders", "amount": "20"}
		},
		"more arguments": func(r *ports.ApprovalRequest) {
			r.Access.Action.Args = map[string]any{"table": "orders", "amount": kernel.Number(20), "x": nil}
		},
		"body":      func(r *ports.ApprovalRequest) { r.Body = "sha256:01" },
		"action":    func(r *ports.ApprovalRequest) { r.Access.Action.Name = "database.delete" },
		"resource":  func(r *ports.ApprovalRequest) { r.Access.Resource.ID = "items" },
		"label":     func(r *ports.ApprovalRequest) { r.Access.Context.Labels = map[string]string{"env": "test"} },
		"revision":  func(r *ports.ApprovalRequest) { r.Revision = "2" },
		"module":    func(r *ports.ApprovalRequest) { r.Access.Subject.ID = "other" },
		"principal": func(r *ports.ApprovalRequest) { r.Access.Subject.Chain = []string{"eve"} },
		"tenant":    func(r *ports.ApprovalRequest) { r.Access.Subject.Tenant = "umbrella" },
		"node":      func(r *ports.ApprovalRequest) { r.Access.Context.Node = "m" },
	} {
		req := request()
		change(req)
		if id := wait(t, s, req); id == approved {
			t.Errorf("%s: the approval of another call would do", name)
		}
	}
	other := request() // another run, which has used more, makes the same call
	other.Access.Context.RunID, other.Access.Context.Usage.PortCalls = "r2", 7
	if _, err := s.Approve(t.Context(), other); err != nil {
		t.Error(err)
	}
}

func TestDenied(t *testing.T) {
	s := store(t)
	id := wait(t, s, request())
	if _, err := s.Answer(t.Context(), id, "bob", false, "not \x1b today"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, err := s.Approve(t.Context(), request())
		if kernel.CodeOf(err) != kernel.CodeDenied || !strings.Contains(err.Error(), `refused by bob: not \x1b today`) {
			t.Fatal(err)
		}
	}
	s.clock = func() time.Time { return time.Now().Add(goodFor + time.Minute) }
	if next := wait(t, s, request()); next == id {
		t.Error("a refusal lasts for ever")
	}
}

func TestExpires(t *testing.T) {
	s := store(t)
	start := time.Now()
	at := func(after time.Duration) { s.clock = func() time.Time { return start.Add(after) } }
	req := request()
	req.Rules.TTL = 10 * time.Minute
	id := wait(t, s, req)
	at(askFor - time.Minute)
	answer(t, s, id, "bob", true)
	at(askFor + 9*time.Minute + time.Second)
	if again := wait(t, s, req); again == id {
		t.Error("an approval was good after its time")
	}
	second := wait(t, s, req)
	at(3 * askFor)
	if _, err := s.Answer(t.Context(), second, "bob", true, ""); kernel.CodeOf(err) != kernel.CodeInput || !strings.Contains(err.Error(), "it is expired") {
		t.Errorf("an answer that came too late: %v", err)
	}
	list, err := s.List(t.Context())
	if err != nil || len(list) != 2 || list[0].State != Expired {
		t.Errorf("%+v, %v", list, err)
	}
	at(3*askFor + keepFor)
	if list, err = s.List(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("kept for ever: %+v, %v", list, err)
	}
}

func TestWhoAnswers(t *testing.T) {
	s := store(t)
	req := request()
	req.Rules = obligation.Approval{By: []string{"ada", "bob", "eve"}, Count: 2}
	id := wait(t, s, req)
	refuse := func(by, says string) {
		t.Helper()
		if _, err := s.Answer(t.Context(), id, by, true, ""); kernel.CodeOf(err) != kernel.CodeDenied || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", by, err, says)
		}
	}
	refuse("", "nobody is named")
	refuse("ada", "who asks")
	refuse("kim", "the policy names ada, bob, eve")
	if a := answer(t, s, id, "bob", true); a.State != Pending {
		t.Errorf("one of two: %+v", a)
	}
	refuse("bob", "they have answered")
	wait(t, s, req)
	if a := answer(t, s, id, "eve", true); a.State != Approved {
		t.Errorf("two of two: %+v", a)
	}
	if _, err := s.Answer(t.Context(), id, "eve", false, ""); kernel.CodeOf(err) != kernel.CodeInput {
		t.Errorf("an answer too many: %v", err)
	}
	if got, err := s.Approve(t.Context(), req); err != nil || strings.Join(got.By, " ") != "bob eve" {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := s.Answer(t.Context(), "nonsense", "bob", true, ""); kernel.CodeOf(err) != kernel.CodeNotFound {
		t.Error(err)
	}
	user := request()
	user.Access.Subject = kernel.Subject{Type: "user", ID: "ada"}
	id = wait(t, s, user)
	refuse("ada", "who asks")
}

func TestBounded(t *testing.T) {
	s := store(t)
	large := request()
	large.Access.Action.Args = map[string]any{"text": strings.Repeat("x", maxShown)}
	if _, err := s.Approve(t.Context(), large); kernel.CodeOf(err) != kernel.CodeLimit {
		t.Error(err)
	}
	s.waiting = 20
	for i := range s.waiting + 1 {
		req := request()
		req.Access.Action.Args = map[string]any{"i": kernel.Number(int64(i))}
		_, err := s.Approve(t.Context(), req)
		if code := kernel.CodeOf(err); i < s.waiting && code != kernel.CodeApproval || i == s.waiting && code != kernel.CodeLimit {
			t.Fatalf("%d: %v", i, err)
		}
	}
	other := request()
	other.Access.Subject.Tenant = "umbrella"
	wait(t, s, other)
}

func TestUnusable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "approvals.db")
	if err := os.WriteFile(file, []byte(strings.Repeat("no database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	closed := store(t)
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]*Store{"another file": open(t, file), "no folder": open(t, filepath.Join(file, "x.db")), "closed": closed} {
		if got, err := s.Approve(t.Context(), request()); got != nil || kernel.CodeOf(err) != kernel.CodeUnavailable {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}
