package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/guests/sdk/go/hexdagtest"
)

const ticket = `{"run":{"run_id":"ann@example.com"},"input":{
	"customer":{"name":"Anna Müller","alias":["Änne"]},
	"message":"I am Anna. Mail ann@example.com.",
	"card":4111111111111111,
	"total":84.90,
	"notes":[{"a/b":"Änne, +49 30 1234567"}]}}`

func hostWithMetrics(t *testing.T) *hexdagtest.Host {
	host := hexdagtest.New(t)
	host.OnCall("metrics.count", func(hexdagtest.Request) hexdagtest.Reply { return hexdagtest.Reply{Value: `{}`} })
	return host
}

func TestRedactsEveryFieldByDefault(t *testing.T) {
	host := hostWithMetrics(t)
	host.Config(`{"names_from":["/input/customer/name","/input/customer/alias","/input/customer/none"]}`)
	got := host.NodeBefore(redact, ticket)
	want := `{"input":{"card":"[CARD]","customer":{"alias":["[NAME]"],"name":"[NAME]"},"message":"I am [NAME]. Mail [EMAIL].",` +
		`"notes":[{"a/b":"[NAME], [PHONE]"}],"total":84.90},"run":{"run_id":"ann@example.com"}}`
	if got.Verdict != "replace" || got.Payload != want {
		t.Errorf("got %+v", got)
	}
	if len(got.Calls) != 1 || got.Calls[0].Args != `{"delta":7,"name":"fields_redacted"}` {
		t.Errorf("calls %+v", got.Calls)
	}
}

func TestRedactsOnlyConfiguredFields(t *testing.T) {
	host := hostWithMetrics(t)
	host.Config(`{"fields":["/input/message","/input/none"]}`)
	got := host.NodeBefore(redact, ticket)
	if got.At("/input/message") != "I am Anna. Mail [EMAIL]." || got.At("/input/card") != "4111111111111111" {
		t.Errorf("got %+v", got)
	}
}

func TestContinuesWhenThereIsNothing(t *testing.T) {
	got := hostWithMetrics(t).NodeBefore(redact, `{"input":{"message":"hello","n":1,"z":null}}`)
	if got.Verdict != "continue" || len(got.Calls) != 0 {
		t.Errorf("got %+v", got)
	}
}

func TestRedactsWithoutItsMetric(t *testing.T) {
	got := hexdagtest.New(t).NodeBefore(redact, ticket)
	if got.Verdict != "replace" || !slices.ContainsFunc(got.Log, func(s string) bool { return strings.Contains(s, "metrics.count: denied") }) {
		t.Errorf("got %+v", got)
	}
}

func TestFailsClosed(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 70) + `"ann@example.com"` + strings.Repeat("}", 70)
	for _, tc := range []struct{ name, config, payload string }{
		{"fields is no list", `{"fields":"/input/message"}`, ticket},
		{"a field is no pointer", `{"fields":["input"]}`, ticket},
		{"a field is no string", `{"fields":[1]}`, ticket},
		{"a field beside the input", `{"fields":["/run"]}`, ticket},
		{"a field that looks like the input", `{"fields":["/inputs"]}`, ticket},
		{"a malformed pointer", `{"fields":["/input/~2"]}`, ticket},
		{"names_from is no list", `{"names_from":{}}`, ticket},
		{"a malformed pointer to names", `{"names_from":["/~"]}`, ticket},
		{"deeper than a pointer reaches", `{}`, `{"input":` + deep + `}`},
	} {
		host := hostWithMetrics(t)
		host.Config(tc.config)
		if got := host.NodeBefore(redact, tc.payload); got.Verdict != "error" || got.Reason() == "" {
			t.Errorf("%s: got %+v", tc.name, got)
		}
	}
}
