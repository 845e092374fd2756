package abi

import (
	"encoding/json"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestMatch(t *testing.T) {
	for _, tc := range []struct {
		pattern, value string
		want           bool
	}{
		{"orders", "orders", true},
		{"orders", "orders2", false},
		{"orders.*", "orders.eu", true},
		{"orders.*", "orders.eu.de", false},
		{"orders.*", "orders.", true},
		{"orders.**", "orders.eu.de", true},
		{"*.paid", "orders.paid", true},
		{"*.paid", "eu.orders.paid", false},
		{"**.paid", "eu.orders.paid", true},
		{"**", "", true},
		{"*", "a/b", false},
		{"a*b*c", "a-x-b-y-c", true},
		{"a*b*c", "a-x-b-y-d", false},
		{"", "", true},
		{"", "x", false},
		{"***", "a.b", true},
	} {
		if got := Match(tc.pattern, tc.value); got != tc.want {
			t.Errorf("Match(%q, %q) = %v, want %v", tc.pattern, tc.value, got, tc.want)
		}
	}
}

// Match is held to a regular expression that says the same.
func TestMatchIsItsDefinition(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	text := func(letters string) string {
		b := make([]byte, r.IntN(7))
		for i := range b {
			b[i] = letters[r.IntN(len(letters))]
		}
		return string(b)
	}
	stars, matched := regexp.MustCompile(`\*+`), 0
	for range 50_000 {
		pattern, value := text("ab.*:*"), text("ab.:")
		definition := ""
		rest := pattern
		for _, run := range stars.FindAllString(pattern, -1) {
			before, after, _ := strings.Cut(rest, run)
			definition += regexp.QuoteMeta(before)
			if rest = after; len(run) > 1 {
				definition += ".*"
			} else {
				definition += "[^./:]*"
			}
		}
		want := regexp.MustCompile("^" + definition + regexp.QuoteMeta(rest) + "$").MatchString(value)
		if got := Match(pattern, value); got != want {
			t.Fatalf("Match(%q, %q) = %v, want %v", pattern, value, got, want)
		}
		if want {
			matched++
		}
	}
	if matched < 1000 {
		t.Errorf("only %d matched", matched)
	}
}

func TestMatchIsPolynomial(t *testing.T) {
	done := make(chan bool, 1)
	go func() { done <- Match(strings.Repeat("**a", 50)+"b", strings.Repeat("a", 5000)) }()
	select {
	case got := <-done:
		if got {
			t.Error("matched a value without a b")
		}
	case <-time.After(20 * time.Second):
		t.Fatal("pattern takes exponential time")
	}
}

func TestCapabilityJSON(t *testing.T) {
	for _, text := range []string{`"llm.complete"`, `{"database.query":{"table":["orders"]}}`} {
		var c Capability
		if err := json.Unmarshal([]byte(text), &c); err != nil {
			t.Fatal(err)
		}
		back, err := json.Marshal(c)
		if err != nil || string(back) != text {
			t.Errorf("%s came back as %s, %v", text, back, err)
		}
	}
	for _, text := range []string{`""`, `"llm"`, `"*.query"`, `{}`, `{"a.b":{"t":[]}}`, `{"a.b":{"t":""}}`, `{"a.b":1}`, `{"a.b":{},"c.d":{}}`, `3`} {
		var c Capability
		if err := json.Unmarshal([]byte(text), &c); err == nil {
			t.Errorf("%s was taken as %v", text, c)
		}
	}
}

func TestCapabilityAllows(t *testing.T) {
	c := Capability{Op: "database.query", Args: map[string][]string{"table": {"orders", "items_*"}}}
	for _, tc := range []struct {
		op   string
		args map[string]string
		want bool
	}{
		{"database.query", map[string]string{"table": "orders"}, true},
		{"database.query", map[string]string{"table": "items_eu"}, true},
		{"database.query", map[string]string{"table": "customers"}, false},
		{"database.query", nil, false},
		{"database.execute", map[string]string{"table": "orders"}, false},
	} {
		if got := c.Allows(tc.op, tc.args); got != tc.want {
			t.Errorf("Allows(%s, %v) = %v, want %v", tc.op, tc.args, got, tc.want)
		}
	}
	if got, want := c.String(), `database.query: {table: ["orders","items_*"]}`; got != want {
		t.Errorf("String() = %s, want %s", got, want)
	}
}

// A grant can bound a number.
func TestCapabilityBounds(t *testing.T) {
	c := Capability{Op: "artifacts.create", Args: map[string][]string{"size": {"<=1000"}}}
	for value, want := range map[string]bool{"0": true, "1000": true, "1001": false, "-1": false, "1e2": false, "10.0": false, "": false, "x": false, "+5": false, "99999999999999999999": false} {
		if got := c.Allows("artifacts.create", map[string]string{"size": value}); got != want {
			t.Errorf("%q: %v", value, got)
		}
	}
	if c.Allows("artifacts.create", nil) {
		t.Error("a call that names no size is covered")
	}
	for _, bad := range []string{`{"a.b":{"size":"<="}}`, `{"a.b":{"size":"<=x"}}`, `{"a.b":{"size":"<=-1"}}`, `{"a.b":{"size":"<=99999999999999999999"}}`} {
		if err := json.Unmarshal([]byte(bad), &c); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}

func TestPackRoundTrip(t *testing.T) {
	v, arg := Unpack(Pack(RetryAfter, 1<<31))
	if v != RetryAfter || arg != 1<<31 {
		t.Errorf("got %v %d", v, arg)
	}
}

func TestPointerEscape(t *testing.T) {
	for _, token := range []string{"a/b", "a~b", "~1", "~01", "", "plain"} {
		if got := UnescapePointer(EscapePointer(token)); got != token {
			t.Errorf("%q came back as %q", token, got)
		}
	}
}
