package approvals

import (
	"context"
	"errors"
	"fmt"
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
	"github.com/hexdag/hexdag/host/ports/governance/approvals/driver"
	"github.com/hexdag/hexdag/host/ports/governance/approvals/pgapprovals"
	"github.com/hexdag/hexdag/host/ports/governance/approvals/sqliteapprovals"
	"github.com/hexdag/hexdag/host/ports/obligation"
	"github.com/hexdag/hexdag/host/testserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// backends are what keeps records: each makes new ones, and opens the same again, as another process does.
func backends(t *testing.T) map[string]func(t *testing.T) (again func() *Store) {
	_, url := testserver.Postgres(t)
	var tables atomic.Int64
	opens := func(t *testing.T, open func() (driver.Records, error)) func() *Store {
		return func() *Store {
			records, err := open()
			if err != nil {
				t.Fatal(err)
			}
			s := New(records, "acme")
			t.Cleanup(func() { _ = s.Close() })
			return s
		}
	}
	return map[string]func(t *testing.T) func() *Store{
		"sqlite": func(t *testing.T) func() *Store {
			path := filepath.Join(t.TempDir(), "approvals.db")
			return opens(t, func() (driver.Records, error) { return sqliteapprovals.New(path), nil })
		},
		"postgres": func(t *testing.T) func() *Store {
			c := pgapprovals.Config{URL: url, Table: fmt.Sprintf("approvals_%d", tables.Add(1))}
			return opens(t, func() (driver.Records, error) { return pgapprovals.Open(t.Context(), c) })
		},
	}
}

// TestConformance holds every backend to what approvals promise.
func TestConformance(t *testing.T) {
	for name, backend := range backends(t) {
		t.Run(name, func(t *testing.T) {
			for name, test := range map[string]func(*testing.T, func() *Store){
				"ApprovedOnce": testApprovedOnce, "UsedOnce": testUsedOnce, "Bound": testBound, "Denied": testDenied, "Expires": testExpires,
				"WhoAnswers": testWhoAnswers, "Bounded": testBounded, "StrangeText": testStrangeText, "Tenants": testTenants, "Interrupted": testInterrupted,
			} {
				t.Run(name, func(t *testing.T) { test(t, backend(t)) })
			}
		})
	}
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

func testApprovedOnce(t *testing.T, open func() *Store) {
	runs, operator := open(), open() // as two processes have it
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
}

// Of many that use one approval at once, one does.
func testUsedOnce(t *testing.T, open func() *Store) {
	first := open()
	answer(t, first, wait(t, first, request()), "bob", true)
	var used, waits atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		s := open()
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
func testBound(t *testing.T, open func() *Store) {
	s := open()
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

func testDenied(t *testing.T, open func() *Store) {
	s := open()
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
	s.ahead = goodFor + time.Minute
	if next := wait(t, s, request()); next == id {
		t.Error("a refusal lasts for ever")
	}
}

func testExpires(t *testing.T, open func() *Store) {
	s := open()
	start := time.Now()
	at := func(after time.Duration) { s.ahead = after - time.Since(start) }
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

func testWhoAnswers(t *testing.T, open func() *Store) {
	s := open()
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
	user.Access.Subject = kernel.Subject{Type: "user", ID: "ada", Tenant: "acme"}
	id = wait(t, s, user)
	refuse("ada", "who asks")
}

func testBounded(t *testing.T, open func() *Store) {
	s := open()
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

// testStrangeText keeps what a run may say, whatever it is, and finds what somebody typed.
func testStrangeText(t *testing.T, open func() *Store) {
	s := open()
	req := request()
	req.Access.Subject.Tenant = "acme\x00\xff"
	s.tenant = req.Access.Subject.Tenant
	req.Access.Action.Args = map[string]any{"text": "a\x00b '; DROP TABLE approvals; --"}
	id := wait(t, s, req)
	list, err := s.List(t.Context(), Pending)
	if err != nil || len(list) != 1 || list[0].Request.Action.Args["text"] != req.Access.Action.Args["text"] {
		t.Fatalf("%+v, %v", list, err)
	}
	for _, typed := range []string{"", "\x00", "\xff", id + "\x00", "' OR ''='"} {
		if _, err := s.Answer(t.Context(), typed, "bob", true, ""); kernel.CodeOf(err) != kernel.CodeNotFound {
			t.Errorf("%q: %v", typed, err)
		}
	}
	if _, err := s.Answer(t.Context(), id, "bob\x00", true, "\x00"); err != nil {
		t.Error(err)
	}
	if got, err := s.Approve(t.Context(), req); err != nil || got.ID != id {
		t.Errorf("%+v, %v", got, err)
	}
}

// testTenants shows no tenant what is another's, though they share the records.
func testTenants(t *testing.T, open func() *Store) {
	ours, others := open(), open()
	others.tenant = "umbrella"
	id := wait(t, ours, request())
	req := request()
	req.Access.Subject.Tenant = "umbrella"
	if other := wait(t, others, req); other == id {
		t.Error("one approval for two tenants")
	}
	if list, err := others.List(t.Context()); err != nil || len(list) != 1 || list[0].ID == id {
		t.Errorf("%+v, %v", list, err)
	}
	for _, approve := range []bool{true, false} {
		if _, err := others.Answer(t.Context(), id, "bob", approve, ""); kernel.CodeOf(err) != kernel.CodeNotFound || strings.Contains(err.Error(), "acme") {
			t.Errorf("another tenant's is answered: %v", err)
		}
	}
	if a := answer(t, ours, id, "bob", true); a.State != Approved {
		t.Errorf("%+v", a)
	}
}

// testInterrupted leaves everything as it was where a change did not come to its end.
func testInterrupted(t *testing.T, open func() *Store) {
	s := open()
	id := wait(t, s, request())
	answer(t, s, id, "bob", true)
	ctx, cancel := context.WithCancel(t.Context())
	err := s.records.Change(ctx, func(tx driver.Tx) error {
		r, err := tx.Get(ctx, id)
		if err != nil {
			return err
		}
		r.State = driver.Used
		err = tx.Update(ctx, r)
		cancel()
		return err
	})
	if err == nil {
		t.Fatal("a change is kept that was cancelled")
	}
	broken := errors.New("broken")
	if err := s.records.Change(t.Context(), func(tx driver.Tx) error {
		return errors.Join(tx.Expire(t.Context(), tx.Now().Add(askFor), tx.Now()), broken)
	}); err == nil {
		t.Error("a change is kept that failed")
	}
	if got, err := s.Approve(t.Context(), request()); err != nil || got.ID != id {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestUnusable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "approvals.db")
	if err := os.WriteFile(file, []byte(strings.Repeat("no database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{"another file": file, "no folder": filepath.Join(file, "x.db"), "closed": file + "2"} {
		s := New(sqliteapprovals.New(path), "acme")
		if name == "closed" {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := s.Approve(t.Context(), request()); got != nil || kernel.CodeOf(err) != kernel.CodeUnavailable {
			t.Errorf("%s: %v, %v", name, got, err)
		}
		_ = s.Close() // one that could not be opened has nothing to close
	}
}

// The file is its owner's alone: it has the arguments of calls.
func TestFileIsPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "approvals.db")
	s := New(sqliteapprovals.New(path), "acme")
	defer s.Close()
	wait(t, s, request())
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}
