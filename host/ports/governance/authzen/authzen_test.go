package authzen_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/governance"
	"github.com/hexdag/hexdag/host/ports/governance/authzen"
	"github.com/hexdag/hexdag/host/ports/governance/governancetest"
	"github.com/hexdag/hexdag/host/ports/governance/remote"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type rule func(ctx context.Context, req *kernel.AccessRequest) (kernel.Decision, error)

func (f rule) Authorize(ctx context.Context, req *kernel.AccessRequest) (kernel.Decision, error) {
	return f(ctx, req)
}

func ask(action string) *kernel.AccessRequest {
	return &kernel.AccessRequest{
		Subject:  kernel.Subject{Type: "module", ID: "orders", Tenant: "acme", Chain: []string{"ada"}},
		Action:   kernel.Act{Name: action, Args: map[string]any{"n": "5", "list": []any{true, nil}}},
		Resource: kernel.Resource{Type: "t", ID: "x"},
		Context:  kernel.Scope{RunID: "r1", Pipeline: "p", Node: "n", Labels: map[string]string{"env": "prod"}, Usage: kernel.UsageSnapshot{LLMCalls: 3}},
	}
}

// byAction decides as the action is called.
func byAction(_ context.Context, req *kernel.AccessRequest) (kernel.Decision, error) {
	_, effect, _ := strings.Cut(req.Action.Name, ".")
	return kernel.Decision{Effect: kernel.Effect(effect), Reasons: []kernel.Reason{{ID: "r", Msg: "m"}}, Obligations: []map[string]any{{"type": "mask", "reply": []any{"/a"}}}, TTLSeconds: 5}, nil
}

func serve(t testing.TB, d rule, token string) string {
	t.Helper()
	server := httptest.NewServer(authzen.Handler(governance.New(d, governance.Options{}), authzen.HandlerOptions{Token: token}))
	t.Cleanup(server.Close)
	return server.URL
}

func connect(t testing.TB, c authzen.Config) *authzen.Driver {
	t.Helper()
	c.Timeout = "20s"
	d, err := authzen.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func TestConformance(t *testing.T) {
	d := connect(t, authzen.Config{Config: remote.Config{URL: serve(t, byAction, "")}})
	governancetest.RunConformanceTests(t, func(*testing.T) governancetest.Harness {
		return governancetest.Harness{Driver: d, Allowed: ask("a.allow"), Denied: ask("a.deny")}
	})
}

// Client and server together change nothing of a request and of a decision.
func TestRoundTrip(t *testing.T) {
	t.Setenv("AUTHZEN_TEST_TOKEN", "secret")
	var asked *kernel.AccessRequest
	url := serve(t, func(ctx context.Context, req *kernel.AccessRequest) (kernel.Decision, error) {
		asked = req
		return byAction(ctx, req)
	}, "secret")
	d := connect(t, authzen.Config{Config: remote.Config{URL: url + "/", TokenEnv: "AUTHZEN_TEST_TOKEN"}})
	for _, effect := range []string{"allow", "deny", "approve", "maybe", ""} {
		req := ask("a." + effect)
		local, _ := governance.New(rule(byAction), governance.Options{}).Authorize(t.Context(), req)
		got, _ := governance.New(d, governance.Options{Timeout: 20 * time.Second}).Authorize(t.Context(), req)
		if diff := cmp.Diff(local.Effect, got.Effect); diff != "" {
			t.Error(diff)
		}
		if effect == "allow" || effect == "approve" {
			if diff := cmp.Diff(local, got); diff != "" {
				t.Errorf("%s: %s", effect, diff)
			}
		}
		if diff := cmp.Diff(req, asked); diff != "" {
			t.Error(diff)
		}
	}
	t.Setenv("AUTHZEN_TEST_TOKEN", "secret2")
	d = connect(t, authzen.Config{Config: remote.Config{URL: url, TokenEnv: "AUTHZEN_TEST_TOKEN"}})
	if got, _ := governance.New(d, governance.Options{}).Authorize(t.Context(), ask("a.allow")); got.Effect != kernel.Forbid || !strings.Contains(got.Reasons[0].Msg, "status 401") {
		t.Errorf("with a wrong token: %+v", got)
	}
}

// Other servers' answers are taken for what they are.
func TestOtherServers(t *testing.T) {
	for answer, want := range map[string]struct {
		effect kernel.Effect
		says   string
	}{
		`{"decision": true}`:  {kernel.Allow, "said true"},
		`{"decision": false}`: {kernel.Forbid, "said false"},
		`{"decision": true, "context": {"reason_admin": {"en": "rule 7"}}}`:           {kernel.Allow, "rule 7"},
		`{"decision": false, "context": {"reason_user": {"en": "ask bob"}}}`:          {kernel.Forbid, "ask bob"},
		`{"decision": false, "context": {"obligations": ["x"]}}`:                      {kernel.Forbid, "said false"},
		`{"decision": true, "context": {"obligations": ["x"]}}`:                       {kernel.Forbid, "permits with obligations"},
		`{"decision": true, "context": {"trace": "x"}}`:                               {kernel.Allow, "said true"},
		`{"decision": true, "context": []}`:                                           {kernel.Forbid, "no object"},
		`{"decision": "true"}`:                                                        {kernel.Forbid, "true or false"},
		`{"Decision": true}`:                                                          {kernel.Forbid, "true or false"},
		`{}`:                                                                          {kernel.Forbid, "true or false"},
		`true`:                                                                        {kernel.Forbid, "true or false"},
		`{"decision": true, "context": {"hexdag": {"effect": "deny"}}}`:               {kernel.Forbid, "its effect deny"},
		`{"decision": false, "context": {"hexdag": {"effect": "allow"}}}`:             {kernel.Forbid, "its effect allow"},
		`{"decision": true, "context": {"hexdag": {"effect": "approve"}}}`:            {kernel.Forbid, "its effect approve"},
		`{"decision": true, "context": {"hexdag": {"effect": "allow", "unless": 1}}}`: {kernel.Forbid, "no member unless"},
		`{"decision": true, "context": {"hexdag": {"effect": "allow", "obligations": [{"type": "sing"}]}}}`: {kernel.Forbid, "sing"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, answer)
		}))
		d := connect(t, authzen.Config{Config: remote.Config{URL: server.URL}, IgnoreContext: []string{"trace"}})
		got, _ := governance.New(d, governance.Options{}).Authorize(t.Context(), ask("a.b"))
		if got.Effect != want.effect || !strings.Contains(got.Reasons[0].Msg, want.says) {
			t.Errorf("%s: %+v, want %s, %q", answer, got, want.effect, want.says)
		}
		_ = d.Close()
		server.Close()
	}
}

func TestHandlerRefuses(t *testing.T) {
	url := serve(t, func(context.Context, *kernel.AccessRequest) (kernel.Decision, error) {
		t.Error("a policy was asked")
		return kernel.Decision{Effect: kernel.Allow}, nil
	}, "") + authzen.EvaluationPath
	client := &http.Client{}
	defer client.CloseIdleConnections()
	post := func(kind, body string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", kind)
		req.Header.Set("X-Request-ID", "7")
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		if resp.Header.Get("X-Request-ID") != "7" {
			t.Error("the request's id is not returned")
		}
		return resp.StatusCode, string(text)
	}
	const rest = `"action": {"name": "a.b"}, "resource": {"type": "t", "id": "x"}`
	for body, says := range map[string]string{
		``: "JSON",
		`{"subject": {"type": "user", "id": "ada"}, "action": {"name": "a.b"}}`:                       "resource",
		`{"subject": {"type": "user"}, ` + rest + `}`:                                                 "subject.id is missing",
		`{"subject": {"type": "user", "id": 3}, ` + rest + `}`:                                        "cannot unmarshal",
		`{"subject": {"type": "user", "id": "ada", "properties": {"department": "x"}}, ` + rest + `}`: "department",
		`{"subject": {"type": "user", "id": "ada", "id": "root"}, ` + rest + `}`:                      "twice",
		`{"subject": {"type": "user", "id": "ada"}, ` + rest + `, "context": {"ip": "::1"}}`:          "ip",
		`{"subject": {"type": "user", "id": "` + strings.Repeat("x", 1<<20) + `"}, ` + rest + `}`:     "too large",
	} {
		if status, text := post("application/json", body); status != http.StatusBadRequest || !strings.Contains(text, says) {
			t.Errorf("%.80s: %d %s, want %q", body, status, text, says)
		}
	}
	if status, _ := post("text/plain", `{"subject": {"type": "user", "id": "ada"}, `+rest+`}`); status != http.StatusBadRequest {
		t.Errorf("of another type: %d", status)
	}
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d", resp.StatusCode)
	}
}
