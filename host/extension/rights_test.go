package extension_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/extension"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/redteam/probe"
)

// says fails unless err has the code and says each of the words.
func says(t *testing.T, err error, code kernel.Code, words ...string) {
	t.Helper()
	if kernel.CodeOf(err) != code {
		t.Errorf("code %q, want %q (%v)", kernel.CodeOf(err), code, err)
		return
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q does not say %q", err, word)
		}
	}
}

// Each link of the chain that is missing at load is named, with the line that adds it.
func TestTheChainAtLoad(t *testing.T) {
	s := newSite(t)
	load := func(wasm []byte, requests, grants []any) error {
		_, err := s.load(t, wasm, &abi.Manifest{Capabilities: capabilities(t, requests...)}, extension.Spec{Grants: capabilities(t, grants...)})
		return err
	}
	_, err := s.load(t, hostile(t, "ungranted-call"), nil, extension.Spec{Grants: capabilities(t, "test.echo")})
	says(t, err, kernel.CodeModuleGrant, "imports hexdag_v1.call", "requests nothing for it", "capabilities in manifest.json")
	says(t, load(hostile(t, "ungranted-call"), []any{abi.OpClock}, []any{abi.OpClock}), kernel.CodeModuleGrant, "imports hexdag_v1.call")
	says(t, load(probe.Wasm, []any{"test.echo"}, []any{"test.echo"}), kernel.CodeModuleGrant, "imports hexdag_v1.clock", abi.OpClock)
	says(t, load(probe.Wasm, []any{"test.echo", abi.OpClock}, []any{"test.echo", abi.OpClock}), kernel.CodeModuleGrant, "imports hexdag_v1.random", abi.OpRandom)
	says(t, load(hostile(t, "ungranted-call"), []any{topic("orders")}, nil), kernel.CodeModuleGrant,
		"was not granted", `test.echo: {topic: "orders"}`, "add under grants", `- test.echo: {topic: "orders"}`)
	says(t, load(hostile(t, "ungranted-call"), []any{"test.echo"}, []any{"test.echo", "test.nothing"}), kernel.CodeConfig, "can never apply", "test.nothing", "test.echo")
	says(t, load(hostile(t, "ungranted-call"), []any{"test.echo"}, []any{map[string]any{"test.echo": map[string]any{"subject": "x"}}}), kernel.CodeConfig, "subject", "topic")
	if err := load(hostile(t, "ungranted-call"), []any{topic("orders")}, []any{topic("orders")}); err != nil {
		t.Errorf("the whole chain is there: %v", err)
	}
}

// answer is what one call of test.echo answered a guest.
type answer struct {
	status abi.Status
	code   string
	text   string
}

// ask has the probe call test.echo with some arguments.
func ask(t *testing.T, m *extension.Module, args string) answer {
	t.Helper()
	const at = 0x20000
	s := new(probe.Script).Do(probe.Call, "test.echo", args, 0, 0).
		Do(probe.Field, int(abi.DocReply), "/code", at, 100).Do(probe.Field, int(abi.DocReply), "/message", at+100, 1000).
		Do(probe.Append, int(abi.DocOutput), at, 1100)
	results, before := play(t, m, s)
	return answer{abi.Status(results[0]), before[:uint32(results[1])&0xff], strings.TrimRight(before[100:], "\x00")}
}

// And each that is missing at a call: the guest is told, the record made, the
// operation not reached.
func TestTheChainAtACall(t *testing.T) {
	s := newSite(t)
	narrow := s.probe(t, []any{topic("orders.*")}, []any{topic("orders.new")})
	refused := func(m *extension.Module, args string, words ...string) {
		t.Helper()
		s.calls, s.records = nil, nil
		got := ask(t, m, args)
		if got.status != abi.Denied || got.code != string(kernel.CodeDenied) || len(s.calls) > 0 {
			t.Errorf("%s: %+v, reached %d times", args, got, len(s.calls))
		}
		for _, word := range words {
			if !strings.Contains(got.text, word) {
				t.Errorf("%s: %q does not say %q", args, got.text, word)
			}
		}
		if len(s.records) != 1 || s.records[0].Effect != kernel.Forbid || s.records[0].Action != "test.echo" || s.records[0].RunID != "r1" {
			t.Errorf("%s: records %+v", args, s.records)
		}
	}
	refused(narrow, `{"topic":"payments"}`, "manifest does not request it", `topic: "payments"`)
	refused(narrow, `{"topic":"orders.old"}`, "was not granted it", `topic: "orders.old"`)
	refused(narrow, `{"key":"orders.new"}`, "manifest does not request it")
	refused(narrow, `{}`)
	s.decide = func(*kernel.AccessRequest) kernel.Decision {
		return kernel.Decision{Effect: kernel.Forbid, Reasons: []kernel.Reason{{ID: "rule.7", Msg: "not on Sundays"}}}
	}
	refused(narrow, `{"topic":"orders.new"}`, "governance denied", "not on Sundays", "rule.7")
	s.decide, s.records = nil, nil
	if got := ask(t, narrow, `{"topic":"orders.new"}`); got.status != abi.OK || len(s.calls) != 1 || s.records[0].Effect != kernel.Allow {
		t.Errorf("with the whole chain: %+v, records %+v", got, s.records)
	}
}

// The fix in a refusal is the line that, added, lets the call through.
func TestTheFixIsTheLine(t *testing.T) {
	s := newSite(t)
	m := s.probe(t, []any{"test.echo"}, []any{topic("orders")})
	caller := &kernel.PortCall{Op: "test.echo", Args: map[string]any{"topic": "pay.new"}}
	hook, err := m.PortHook()
	if err != nil {
		t.Fatal(err)
	}
	script := new(probe.Script).Do(probe.Call, "test.echo", `{"topic":"pay.new"}`, 0, 0)
	caller.Body = script.Image()
	if _, err := hook.BeforePort(inRun(), caller); err != nil {
		t.Fatal(err)
	}
	msg := s.records[0].Reasons[0].Msg
	_, line, found := strings.Cut(msg, "add under grants of the module: - ")
	line, _, ended := strings.Cut(line, ")")
	if !found || !ended {
		t.Fatalf("the refusal names no line: %q", msg)
	}
	again := s.probe(t, []any{"test.echo"}, []any{topic("orders"), parseLine(t, line)})
	if got := ask(t, again, `{"topic":"pay.new"}`); got.status != abi.OK {
		t.Errorf("with the line %q: %+v", line, got)
	}
}

// parseLine reads a grant as operators write it: op: {argument: "pattern"}.
func parseLine(t *testing.T, line string) any {
	t.Helper()
	op, rest, _ := strings.Cut(line, ": {")
	name, pattern, _ := strings.Cut(strings.TrimSuffix(rest, "}"), ": ")
	var text string
	if err := json.Unmarshal([]byte(pattern), &text); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	return map[string]any{op: map[string]any{name: text}}
}

// Patterns and values that look alike are not alike.
func TestWildcardTricks(t *testing.T) {
	s := newSite(t)
	for _, c := range []struct {
		pattern, value string
		allowed        bool
	}{
		{"orders", "orders", true}, {"orders", "ORDERS", false}, {"orders", "orders ", false}, {"orders", "orders.", false},
		{"orders", `orders\u0000`, false}, {"orders", "*", false}, {"orders", "orders*", false}, {"orders", "", false}, {"orders", "./orders", false},
		{"orders.*", "orders.new", true}, {"orders.*", "orders.new.eu", false}, {"orders.*", "orders.*", true}, {"orders.*", "orders", false},
		{"orders.*", "orders.a/b", false}, {"orders.*", "orders.a:b", false}, {"orders.*", "orders.%2e", true}, {"orders.*", "orders...", false},
		{"orders.**", "orders.new.eu", true}, {"orders.**", "payments", false},
		{"*", "orders", true}, {"*", "orders.new", false}, {"*", "..", false}, {"*", "../x", false},
		{"files/*", "files/..", false}, {"files/*", "files/../secret", false}, {"files/*", "files/%2e%2e", true},
		{"ord?rs", "orders", false}, {"[o]rders", "orders", false}, {"(orders|x)", "orders", false}, {`orders\*`, "orders*", false},
		{"straße", "STRASSE", false}, {"k", "\u212a", false}, // the Kelvin sign folds to k
	} {
		m := s.probe(t, []any{"test.echo"}, []any{topic(c.pattern)})
		if got := ask(t, m, `{"topic":"`+c.value+`"}`); (got.status == abi.OK) != c.allowed {
			t.Errorf("grant %q, topic %q: %s", c.pattern, c.value, got.status)
		}
	}
}

// A value of another type is not the string that it looks like.
func TestArgumentTypes(t *testing.T) {
	s := newSite(t)
	m := s.probe(t, []any{"test.echo"}, []any{topic("1")})
	for _, v := range []string{`1`, `["1"]`, `{"1":"1"}`, `true`} {
		if got := ask(t, m, `{"topic":`+v+`}`); got.status != abi.Invalid {
			t.Errorf("topic %s: %+v", v, got)
		}
	}
	if got := ask(t, m, `{"topic":null}`); got.status != abi.Denied {
		t.Errorf("no topic: %+v", got)
	}
	if len(s.calls) > 0 {
		t.Errorf("reached %d times", len(s.calls))
	}
}

// A module may know what it may not do, and no more: what exists and what does
// not look the same.
func TestNoOracle(t *testing.T) {
	s := newSite(t)
	m := s.probe(t, []any{"test.echo"}, []any{topic("mine")})
	there, absent := ask(t, m, `{"topic":"theirs"}`), ask(t, m, `{"topic":"nobody"}`)
	if there.status != absent.status || there.code != absent.code || strings.ReplaceAll(there.text, "theirs", "nobody") != absent.text {
		t.Errorf("%+v and %+v differ", there, absent)
	}
}

// The rights of a nested call are the intersection: a tool does nothing for a
// caller that the caller may not do itself.
func TestTheConfusedDeputy(t *testing.T) {
	s := newSite(t)
	tool, err := s.load(t, hostile(t, "deputy"), &abi.Manifest{Capabilities: capabilities(t, "test.echo"), Tools: []abi.Tool{{Name: "relay"}}},
		extension.Spec{Name: "relay", Grants: capabilities(t, "test.echo")})
	if err != nil {
		t.Fatal(err)
	}
	allowed := func(topics ...string) kernel.ModuleRights {
		return kernel.ModuleRights{Name: "asker", Check: func(_ string, args map[string]string) error {
			if slices.Contains(topics, args["topic"]) {
				return nil
			}
			return &kernel.Error{Code: kernel.CodeDenied, What: "not the asker's"}
		}}
	}
	for _, c := range []struct {
		chain []kernel.ModuleRights
		want  abi.Status
	}{
		{nil, abi.OK}, {[]kernel.ModuleRights{allowed("orders")}, abi.OK}, {[]kernel.ModuleRights{allowed()}, abi.Denied},
		{[]kernel.ModuleRights{allowed("orders"), allowed("payments")}, abi.Denied},
	} {
		s.calls = nil
		_, err := tool.CallTool(inRun(), "relay", map[string]any{"topic": "orders"}, "n1", kernel.Caller{Principal: "alice", Modules: c.chain})
		got, ok := statusOf(err)
		if !ok || got != c.want || (len(s.calls) == 1) != (c.want == abi.OK) {
			t.Errorf("on behalf of %d modules: %v (%v), reached %d times", len(c.chain), got, err, len(s.calls))
		}
		if len(s.calls) == 1 && len(s.calls[0].Caller.Modules) != len(c.chain)+1 {
			t.Errorf("the call came with the chain %v", s.calls[0].Caller.Chain())
		}
	}
}

// statusOf reads what the deputy was answered: it asks to be called again after
// as many milliseconds.
func statusOf(err error) (abi.Status, bool) {
	e, ok := err.(*kernel.Error)
	if !ok || e.Code != kernel.CodeRetry {
		return 0, false
	}
	return -abi.Status(e.RetryAfter.Milliseconds()), true
}

// The clock and randomness are rights as any other, along the whole chain.
func TestClockAndRandomNeedTheChain(t *testing.T) {
	s := newSite(t)
	const at = 0x20000
	script := func() *probe.Script {
		return new(probe.Script).Do(probe.Clock, 0).Do(probe.Clock, 1).Do(probe.Random, at, 32).Do(probe.Append, int(abi.DocOutput), at, 32)
	}
	m := s.probe(t, []any{"test.echo"}, []any{"test.echo"})
	results, first := play(t, m, script())
	_, second := play(t, m, script())
	if results[0] <= 0 || results[1] < 0 || results[2] != 0 || first == second {
		t.Errorf("granted: %d, %x and %x", results, first, second)
	}
	_, err := s.load(t, probe.Wasm, &abi.Manifest{Capabilities: capabilities(t, abi.OpClock, abi.OpRandom, "test.echo")},
		extension.Spec{Grants: capabilities(t, "test.echo", abi.OpRandom)})
	says(t, err, kernel.CodeModuleGrant, abi.OpClock)
}

// A module whose bytes are not the pinned ones is refused, wherever they differ.
func TestThePinnedDigest(t *testing.T) {
	s := newSite(t)
	m, err := s.load(t, hostile(t, "canary"), nil, extension.Spec{})
	if err != nil {
		t.Fatal(err)
	}
	digest := m.Digest()
	if _, err := s.load(t, hostile(t, "canary"), nil, extension.Spec{Digest: digest}); err != nil {
		t.Error(err)
	}
	altered, err := abi.AppendCustomSection(hostile(t, "canary"), "signature", []byte("valid, honestly"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.load(t, altered, nil, extension.Spec{Digest: digest})
	says(t, err, kernel.CodeModuleInvalid, "pinned", digest)
}

// What a guest is told of the run is what the host knows of it.
func TestARunCannotBeForged(t *testing.T) {
	s := newSite(t)
	m := s.probe(t, []any{"test.echo"}, []any{"test.echo"})
	got := ask(t, m, `{"topic":"orders","run_id":"forged","tenant":"bob","principal":"root"}`)
	r := s.records[0]
	if got.status != abi.OK || r.RunID != "r1" || r.Tenant != "alice-inc" || r.Principal != "alice" || !slices.Equal(r.Chain, []string{"alice", "module:guest"}) {
		t.Errorf("%+v, record %+v", got, r)
	}
	results, _ := play(t, m, new(probe.Script).Do(probe.Set, 0, "/run/tenant", 4, "bob").Do(probe.Set, 0, "/chain/0", 4, "root").Do(probe.Set, 0, "/op", 4, "other"))
	if !slices.Equal(results, []int64{-2, -2, -2}) {
		t.Errorf("the guest wrote to what the host says: %d", results)
	}
}
