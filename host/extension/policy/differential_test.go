package policy_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/open-policy-agent/opa/v1/rego"

	"github.com/hexdag/hexdag/host/extension/policy"
	"github.com/hexdag/hexdag/host/extension/policy/regoc"
	"github.com/hexdag/hexdag/host/kernel"
)

// prepare returns OPA's own evaluation of a query.
func prepare(t testing.TB, query string, opts ...func(*rego.Rego)) func(input any) kernel.Value {
	t.Helper()
	q, err := rego.New(append(opts, rego.Query(query))...).PrepareForEval(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return func(input any) kernel.Value {
		t.Helper()
		results, err := q.Eval(context.Background(), rego.EvalInput(input), rego.EvalTime(testTime()))
		if err != nil {
			t.Fatal(err)
		}
		if len(results) == 0 {
			return nil
		}
		v, err := kernel.ToValue(results[0].Expressions[0].Value)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func testTime() time.Time { return time.Date(2026, 11, 22, 13, 14, 15, 16, time.UTC) }

const refunds = "../../../examples/support-triage/policies"

func buildRefunds(t testing.TB) *policy.Policy {
	t.Helper()
	a, err := regoc.Build(context.Background(), regoc.Source{Dirs: []string{refunds}}, regoc.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return loadWith(t, a.Wasm, policy.Options{Data: a.Data})
}

func TestRefundsAsInOPA(t *testing.T) {
	p := buildRefunds(t)
	opa := prepare(t, "data.hexdag.authz.decision", rego.Load([]string{"../../../policies", refunds}, nil))
	random := rand.New(rand.NewPCG(1, 2))
	effects := map[any]int{}
	for range 1200 {
		input, err := kernel.ToValue(question(random))
		if err != nil {
			t.Fatal(err)
		}
		got, defined, err := p.Eval(context.Background(), "hexdag/authz/decision", input)
		if err != nil || !defined {
			t.Fatalf("defined %v, error %v, input %v", defined, err, input)
		}
		if diff := cmp.Diff(opa(input), got); diff != "" {
			t.Fatalf("input %v: -OPA +driver\n%s", input, diff)
		}
		effects[got.(map[string]any)["effect"]]++
	}
	for _, e := range []string{"allow", "approve", "deny"} {
		if effects[e] < 50 {
			t.Errorf("effects are too one-sided to tell much: %v", effects)
		}
	}
}

// question makes up a request. Most are sound, so that the rules are reached.
func question(r *rand.Rand) *kernel.AccessRequest {
	q := &kernel.AccessRequest{
		Subject:  kernel.Subject{Type: "user", ID: pick(r, "support-bot", "support-bot", "support-bot", "mallory"), Tenant: "acme"},
		Resource: kernel.Resource{Type: "order", ID: "A-1"},
	}
	if r.IntN(4) == 0 {
		q.Action.Name = pick(r, "llm.complete", "database.query", "artifacts.store", "metrics.count", "lock.acquire", "nodot")
		q.Resource.ID = pick(r, "orders", "customers", "summary-1", "mock", "")
		if r.IntN(2) == 0 {
			q.Subject = kernel.Subject{Type: "module", ID: pick(r, "orders", "redact"), Tenant: "acme",
				Chain: [][]string{{"support-bot"}, {"mallory"}, {"support-bot", "module:orders"}, {"support-bot", "module:x"}}[r.IntN(4)]}
		}
		return q
	}
	amount := float64(r.IntN(25000)) / 100
	args := map[string]any{
		"order_id": "A-1", "amount": amount, "order_total": amount + float64(r.IntN(200)) - 10,
		"currency":            pick(r, "EUR", "EUR", "EUR", "USD"),
		"days_since_delivery": r.IntN(70), "prior_refunds": r.IntN(4),
		"customer_risk": pick(r, "low", "low", "low", "medium", "high", "odd"),
		"category":      pick(r, "damaged", "late", "FRAUD suspected", "größe \u2028 \"x\" \\ \n"),
	}
	if r.IntN(3) == 0 { // small and sound
		args["amount"], args["prior_refunds"], args["customer_risk"], args["days_since_delivery"] = r.IntN(50)+1, 0, "low", r.IntN(30)
	}
	if r.IntN(6) == 0 {
		names := []string{"order_id", "amount", "order_total", "currency", "days_since_delivery", "prior_refunds", "customer_risk", "category"}
		name := names[r.IntN(len(names))]
		switch odd := []any{nil, "text", -3, true, []any{1}, map[string]any{"a": "b"}, 1e300, 0.1}; r.IntN(2) {
		case 0:
			delete(args, name)
		default:
			args[name] = odd[r.IntN(len(odd))]
		}
	}
	q.Action = kernel.Act{Name: "refund.issue", Args: args}
	return q
}

func pick(r *rand.Rand, from ...string) string { return from[r.IntN(len(from))] }

func TestBuiltinsAsInOPA(t *testing.T) {
	calls := []string{
		`sprintf("%d %v %s %q", [1, 2.5, "x", "y\n"])`, `sprintf("%v", [{"a": [1, {2, 1}], "b": null, "c": set()}])`,
		`sprintf("%5.1f|%-6s|%06d|%x|%t", [3.14159, "ab", 42, 255, true])`, `sprintf("%d", ["no number"])`, `sprintf("%s", [])`,
		`sprintf("none", [1, "extra"])`, `sprintf("%[2]s %[1]s", ["a", "b"])`, `sprintf("%v %d", [123456789012345678, 12345])`,
		`sprintf("%v", ["\"quoted\" \u00fc\u2028\\"])`, `sprintf("%v", [["\"quoted\" \u00fc\u2028\\"]])`, `sprintf("%", [])`, `sprintf(input.none, [])`,
		`sprintf("%v %v", [1e3, 0.1])`, `sprintf("%v", [{1: "a", "b": 2, [1]: 3, {4}: 5}])`, `sprintf(input.one, [])`, `sprintf("%*d", [5, 42])`,
		`strings.any_prefix_match("abc", ["x", "ab"])`, `strings.any_prefix_match(["q", "abc"], {"x", "ab"})`, `strings.any_prefix_match("abc", [])`,
		`strings.any_suffix_match("abc", "bc")`, `strings.any_suffix_match({"abc"}, ["z"])`, `strings.any_suffix_match("abc", [input.one])`,
		`strings.count("banana", "an")`, `strings.count("", "")`, `strings.count("xyz", "")`, `crypto.sha256("abc")`, `crypto.sha256("ü")`,
		`time.now_ns()`, `time.parse_rfc3339_ns("2026-11-22T13:14:15.000000016Z")`, `time.parse_rfc3339_ns("2026-11-22")`,
		`time.parse_rfc3339_ns("9999-01-01T00:00:00Z")`, `time.parse_rfc3339_ns("1677-09-21T00:12:43.145224192Z")`,
		`time.parse_duration_ns("1h30m")`, `time.parse_duration_ns("2d")`, `time.parse_duration_ns("-1.5w2d3h")`, `time.parse_duration_ns("1y")`,
		`time.parse_duration_ns("5")`, `time.parse_duration_ns("")`, `time.parse_duration_ns("d")`, `time.parse_duration_ns("10µs")`,
		`time.date(1763817255000000016)`, `time.date([1763817255000000016, "Europe/Berlin"])`, `time.clock([1763817255000000016, "Asia/Tokyo"])`,
		`time.weekday(1763817255000000016)`, `time.clock([1763817255000000016, "No/Where"])`, `time.date(input.empty)`, `time.date(input.text)`, `time.date(1e30)`,
		`time.add_date(1763817255000000016, 0, 1, -3)`, `time.add_date(1763817255000000016, 500, 0, 0)`, `time.weekday([0, "UTC"])`, `time.date(1.5)`,
	}
	var text strings.Builder
	for i, c := range calls {
		fmt.Fprintf(&text, "decision[%d] := %s\n", i, c)
	}
	p := load(t, compile(t, text.String()), policy.Options{Now: func(context.Context) time.Time { return testTime() }})
	opa := prepare(t, "data.p.decision", rego.Module("p.rego", "package p\n"+text.String()))
	input := map[string]any{"one": 1, "empty": []any{}, "text": "x"}
	want, got := opa(input).(map[string]any), eval(t, p, input).(map[string]any)
	if len(want) < len(calls)*2/3 {
		t.Errorf("only %d of %d calls are defined", len(want), len(calls))
	}
	for i, c := range calls {
		if diff := cmp.Diff(want[fmt.Sprint(i)], got[fmt.Sprint(i)]); diff != "" {
			t.Errorf("%s: -OPA +driver\n%s", c, diff)
		}
	}
}

func TestSprintfLimit(t *testing.T) {
	p := load(t, compile(t, `decision := "denied" if not harmless
harmless if sprintf(input.format, [concat("", ["x" | some _ in numbers.range(1, 2000)])])`), policy.Options{Instances: 1, Timeout: time.Minute})
	for _, format := range []string{
		"%999999999s%999999999s", "%.999999999f%.999999999f", strings.Repeat("%[1]s", 2000), strings.Repeat("%999999d", 100), "%[1]*d%[1]*d", strings.Repeat("%[1]+q", 300),
	} {
		_, _, err := p.Eval(context.Background(), "p/decision", map[string]any{"format": format})
		wantCode(t, err, kernel.CodeLimit, "sprintf")
	}
	if v, defined, err := p.Eval(context.Background(), "p/decision", map[string]any{"format": "%s"}); defined || err != nil {
		t.Errorf("got %v, error %v", v, err)
	}
}

func BenchmarkRefunds(b *testing.B) {
	p := buildRefunds(b)
	opa := prepare(b, "data.hexdag.authz.decision", rego.Load([]string{"../../../policies", refunds}, nil))
	input, err := kernel.ToValue(&kernel.AccessRequest{
		Subject: kernel.Subject{Type: "user", ID: "support-bot"},
		Action: kernel.Act{Name: "refund.issue", Args: map[string]any{"order_id": "A-1", "amount": 75, "order_total": 80, "currency": "EUR",
			"days_since_delivery": 10, "prior_refunds": 0, "customer_risk": "low", "category": "damaged"}},
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Run("driver", func(b *testing.B) {
		for b.Loop() {
			if _, _, err := p.Eval(context.Background(), "hexdag/authz/decision", input); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("OPA", func(b *testing.B) {
		for b.Loop() {
			opa(input)
		}
	})
}
