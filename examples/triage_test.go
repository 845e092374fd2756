package examples_test

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/testenv"
)

// check compares what a run came to with what follows from the data.
func (x triage) check(t *testing.T, o outcome) {
	t.Helper()
	rows := map[string]int{}
	for id, want := range x.expect(t) {
		r := o.tickets[id]
		switch {
		case r == nil:
			t.Errorf("%s did not run", id)
		case want.tooLong:
			if r.Status != engine.Denied || !strings.Contains(r.Error.What, "token-budget") {
				t.Errorf("%s: %s %v", id, r.Status, r.Err)
			}
		case r.Status != engine.Completed:
			t.Errorf("%s: %s %v", id, r.Status, r.Err)
		default:
			rows[want.decision]++
			if got := field(r, "classify", "category"); got != want.category {
				t.Errorf("%s is %s, want %s", id, got, want.category)
			}
			units, decimals, _ := strings.Cut(field(r, "propose", "amount"), ".")
			if got := number(t, strings.TrimLeft(units+(decimals + "00")[:2], "0")+"0"); got != want.cents*10 {
				t.Errorf("%s: amount %s, want %d cents", id, field(r, "propose", "amount"), want.cents)
			}
			if got := field(r, "decide", "effect"); got != strings.Fields(want.decision)[0] || r.Output["effect"] != got {
				t.Errorf("%s: %s, want %s", id, got, want.decision)
			}
		}
	}
	if got := o.rows(); !maps.Equal(got, rows) {
		t.Errorf("decisions %v, want %v", got, rows)
	}
}

func TestTriage(t *testing.T) {
	x := newTriage(t)
	o := x.run(t, "hexdag.yaml", 4)
	if n := len(x.tickets(t)); n < 60 {
		t.Errorf("%d tickets", n)
	}
	x.check(t, o)
	for _, effect := range []string{"allow", "approve", "deny"} {
		if !strings.Contains(o.figures(), " "+effect+" ") {
			t.Errorf("nothing shows %s", effect)
		}
	}
	if o.Failed != 5 || o.Denied != 1 || o.Counters["fields_redacted"] < int64(o.Completed) || o.Usage.LLMCalls != int64(o.Completed) {
		t.Errorf("figures\n%s", o.figures())
	}
	t.Run("artifacts", func(t *testing.T) { x.checkArtifacts(t, o) })
	t.Run("audit", func(t *testing.T) { x.checkAudit(t, o) })
	t.Run("determinism", func(t *testing.T) {
		others := []int{16, 1}
		if testenv.Race {
			others = others[:1]
		}
		for _, concurrency := range others {
			if again := newTriage(t).run(t, "hexdag.yaml", concurrency).figures(); again != o.figures() {
				t.Errorf("with %d at once\n%s\nwant\n%s", concurrency, again, o.figures())
			}
		}
	})
	if testenv.Race {
		return // what follows runs nothing beside anything that has not run above
	}
	t.Run("another order", func(t *testing.T) {
		y := newTriage(t)
		y.edit(t, "orders.sql", "('A-10234', 39.90,", "('A-10234', 120.00,")
		changed := y.run(t, "hexdag.yaml", 4)
		y.check(t, changed)
		want := o.rows()
		want["allow refunds.small"]--
		want["approve refunds.large"]++
		if got := changed.rows(); !maps.Equal(got, want) {
			t.Errorf("decisions %v, want %v", got, want)
		}
	})
	t.Run("another ticket and another limit", func(t *testing.T) {
		y := newTriage(t)
		y.edit(t, "tickets.jsonl", "the tea of order A-10241 is wonderful", "but the tin of order A-10241 arrived damaged")
		y.edit(t, "policies/data.json", `"allow_up_to": 50`, `"allow_up_to": 100`)
		changed := y.run(t, "hexdag.yaml", 4)
		y.check(t, changed)
		if got, want := changed.rows(), o.rows(); got["allow refunds.nothing"] != want["allow refunds.nothing"]-1 || got["approve refunds.large"] >= want["approve refunds.large"] {
			t.Errorf("decisions %v, before %v", got, want)
		}
	})
}

// checkArtifacts looks for one summary a ticket, with its decision in it.
func (x triage) checkArtifacts(t *testing.T, o outcome) {
	files, err := filepath.Glob(filepath.Join(o.Stores["artifacts"], "content", "*"))
	if err != nil || len(files) != o.Completed {
		t.Errorf("%d artifacts of %d runs: %v", len(files), o.Completed, err)
	}
	for _, file := range files {
		var summary struct {
			Ticket   string
			Decision struct {
				Effect  string
				Reasons []kernel.Reason
			}
		}
		if err := json.Unmarshal([]byte(read(t, file)), &summary); err != nil {
			t.Fatal(file, err)
		}
		if r := o.tickets[summary.Ticket]; r == nil || summary.Decision.Effect != field(r, "decide", "effect") || len(summary.Decision.Reasons) == 0 {
			t.Errorf("%s holds %+v", file, summary)
		}
	}
}

// checkAudit verifies the log, and that a changed byte anywhere is found.
func (x triage) checkAudit(t *testing.T, o outcome) {
	report, err := host.VerifyAudit(t.Context(), o.AuditDir, host.AuditOptions{})
	if err != nil {
		t.Fatal(err)
	}
	// A run starts and ends; a call at the door is asked about and recorded, but the
	// question to governance itself is not asked about.
	if runs := int64(o.Completed + o.Denied + 1); report.Kinds["run"] != 2*runs || report.Kinds["module"] != 4 {
		t.Errorf("%v of %d runs", report.Kinds, runs)
	}
	if want := o.Usage.PortCalls + report.Kinds["module"]; report.Kinds["call"] < o.Usage.PortCalls || report.Kinds["decision"] < want-4 {
		t.Errorf("%v of %d port calls", report.Kinds, o.Usage.PortCalls)
	}
	records := read(t, filepath.Join(o.AuditDir, "records.jsonl"))
	for id, r := range o.tickets {
		if r.RunID != "" && strings.Count(records, r.RunID) < 2 {
			t.Errorf("the log does not tell of %s", id)
		}
	}
	for _, at := range []int{20, len(records) / 2, len(records) - 20} {
		x.write(t, "out/audit/records.jsonl", records[:at]+string(records[at]^1)+records[at+1:])
		_, err := host.VerifyAudit(t.Context(), o.AuditDir, host.AuditOptions{})
		if kernel.CodeOf(err) != kernel.CodeAuditTampered || !strings.Contains(err.Error(), "records.jsonl:") {
			t.Errorf("byte %d changed: %v", at, err)
		}
	}
	x.write(t, "out/audit/records.jsonl", records)
	if _, err := host.VerifyAudit(t.Context(), o.AuditDir, host.AuditOptions{}); err != nil {
		t.Error("as it was: ", err)
	}
}

// endpoint is a model behind OpenAI's protocol that keeps what it was asked.
type endpoint struct {
	model model
	key   string

	mu      sync.Mutex
	prompts []string
}

func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var req struct {
		Model    string
		Messages []struct{ Role, Content string }
	}
	if err := json.Unmarshal(body, &req); err != nil || r.URL.Path != "/v1/chat/completions" || r.Header.Get("Authorization") != "Bearer "+e.key || len(req.Messages) != 2 {
		http.Error(w, `{"error": {"message": "not like this"}}`, http.StatusBadRequest)
		return
	}
	e.mu.Lock()
	for _, m := range req.Messages {
		e.prompts = append(e.prompts, m.Content)
	}
	e.mu.Unlock()
	answer, _ := json.Marshal(e.model.classify(req.Messages[1].Content))
	lower := strings.NewReplacer(`"Category"`, `"category"`, `"Wanted"`, `"wanted"`, `"Sentiment"`, `"sentiment"`).Replace(string(answer))
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"id": "c-1", "object": "chat.completion", "created": 1, "model": req.Model,
		"choices": []any{map[string]any{"index": 0, "finish_reason": "stop", "message": map[string]any{"role": "assistant", "content": lower}}},
		"usage":   map[string]any{"prompt_tokens": 100, "completion_tokens": 7, "total_tokens": 107},
	})
}

// personal finds what may not leave: addresses, and numbers of cards, phones and accounts.
var personal = regexp.MustCompile(`\S+@\S+|(\d[ ().-]*){8,}|\b[A-Z]{2}\d{2}[A-Z0-9 ]{10,}`)

// With a real model, nothing personal leaves the host, and the decisions are the same.
func TestTriageOpenAI(t *testing.T) {
	x := newTriage(t)
	e := &endpoint{model: x.model(t), key: "sk-test"}
	server := httptest.NewServer(e)
	defer server.Close()
	t.Setenv("OPENAI_API_KEY", e.key)
	x.edit(t, "hexdag.openai.yaml", "https://api.openai.com/v1", server.URL+"/v1")
	o := x.run(t, "hexdag.openai.yaml", 4)
	x.check(t, o)
	if len(e.prompts) != 2*o.Completed || o.Usage.InputTokens != 100*int64(o.Completed) || o.Usage.OutputTokens != 7*int64(o.Completed) {
		t.Errorf("%d messages, usage %+v", len(e.prompts), o.Usage)
	}
	prompts := strings.Join(e.prompts, "\n")
	found := 0
	for _, tk := range x.tickets(t) {
		for _, secret := range append(personal.FindAllString(tk.Subject+"\n"+tk.Message, -1), tk.Customer.Name, tk.Customer.Email) {
			if strings.Contains(tk.Message, secret) {
				found++
			}
			if strings.Contains(prompts, secret) {
				t.Errorf("%s: the model saw %q", tk.ID, secret)
			}
		}
	}
	if found < 100 {
		t.Errorf("the tickets hold %d secrets: this looks for the wrong things", found)
	}
	if left := personal.FindAllString(prompts, -1); len(left) > 0 {
		t.Errorf("the model saw %q", left)
	}
	for _, mark := range []string{"[EMAIL]", "[CARD]", "[IBAN]", "[PHONE]", "[NAME]"} {
		if !strings.Contains(prompts, mark) {
			t.Errorf("the prompts have no %s", mark)
		}
	}
	records := read(t, filepath.Join(o.AuditDir, "records.jsonl"))
	made := regexp.MustCompile(`"(time|run_id|digest|revision)":"[^"]*"`) // their digits are the host's
	if found := personal.FindAllString(made.ReplaceAllString(records, ""), -1); len(found) > 0 || strings.Contains(records, e.key) {
		t.Errorf("the audit log holds %q, or the key", found)
	}
}
