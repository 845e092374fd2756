package memorytest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/memory"
	"github.com/hexdag/hexdag/host/ports/memory/driver"
)

func (h Harness) testQuery(t *testing.T) {
	m, c := h.open(t, memory.Options{})
	for _, args := range []string{
		`{"key": "o/1", "value": {"state": "paid", "n": 1, "to": {"city": "Bonn", "zip": null}}}`,
		`{"key": "o/2", "value": {"state": "open", "n": 1.0, "to": {"city": "Bonn"}}}`,
		`{"key": "o/3", "value": {"state": "paid", "n": "1", "to": "Bonn"}}`,
		`{"key": "o/4", "value": ["paid"]}`, `{"key": "o/5", "value": "state"}`,
		`{"key": "p/1", "value": {"state": "paid"}}`, `{"key": "o/6", "value": {"state": "paid"}, "ttl": 1}`,
	} {
		if _, err := call(t.Context(), t, m, "acme", "set", args); err != nil {
			t.Fatal(args, err)
		}
	}
	expect(t, m, "acme", "query", `{"where": {"state": "paid"}, "limit": 1}`, `{"entries":[{"key":"o/1","value":{"n":1,"state":"paid","to":{"city":"Bonn","zip":null}}}],"next":"o/1"}`)
	expect(t, m, "acme", "query", `{"prefix": "p/"}`, `{"entries":[{"key":"p/1","value":{"state":"paid"}}]}`)
	for args, want := range map[string]string{
		`{"where": {"state": "paid"}}`:                                     "o/1 o/3 o/6 p/1",
		`{"where": {"state": "paid"}, "prefix": "o/", "after": "o/1"}`:     "o/3 o/6",
		`{"where": {"state": "paid", "n": "1"}}`:                           "o/3",
		`{"where": {"n": 1}}`:                                              "o/1", // 1 and 1.0 are two values
		`{"where": {"to.city": "Bonn"}}`:                                   "o/1 o/2",
		`{"where": {"to.zip": null}}`:                                      "o/1", // what is absent is not null
		`{"where": {"to": {"zip": null, "city": "Bonn"}}}`:                 "o/1",
		`{"where": {"state": "' or 1=1 --"}}`:                              "",
		`{"where": {"state.x": "paid"}}`:                                   "",
		`{"prefix": "o/", "where": {}, "limit": 1000}`:                     "o/1 o/2 o/3 o/4 o/5 o/6",
		`{"prefix": "%"}`:                                                  "",
		`{"where": {"": "paid"}}`:                                          "",
		`{"where": null, "limit": null, "prefix": "o/", "after": "o/5\""}`: "o/6",
	} {
		if got := keysOf(t, m, "acme", args); got != want {
			t.Errorf("%s: %s, want %s", args, got, want)
		}
	}
	if got := keysOf(t, m, "bob", `{}`); got != "" {
		t.Errorf("another tenant sees %s", got)
	}
	c.advance(time.Second)
	if got := keysOf(t, m, "acme", `{"where": {"state": "paid"}}`); got != "o/1 o/3 p/1" {
		t.Errorf("after an entry has expired: %s", got)
	}
	refuse(t, m, "query", `{"where": "state = paid"}`, kernel.CodeArguments, "where must be an object")
	refuse(t, m, "query", `{"limit": 0}`, kernel.CodeArguments, "from 1 to 1000")
	refuse(t, m, "query", `{"limit": 1001}`, kernel.CodeArguments, "from 1 to 1000")
	refuse(t, m, "query", `{"prefix": "a\nb"}`, kernel.CodeArguments, "key")
	refuse(t, m, "query", `{"query": "SELECT 1"}`, kernel.CodeArguments, "it takes prefix, where, limit, after")
}

// keysOf returns what a query finds on its pages, as one text.
func keysOf(t *testing.T, m *memory.Memory, tenant, args string) string {
	t.Helper()
	text, err := call(t.Context(), t, m, tenant, "query", args)
	if err != nil {
		t.Fatalf("%s: %v", args, err)
	}
	v, err := kernel.DecodeJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, e := range v.(map[string]any)["entries"].([]any) {
		keys = append(keys, e.(map[string]any)["key"].(string))
	}
	return strings.Join(keys, " ")
}

// testQueryIsBounded: one call looks at so many bytes, and the next ones at the rest.
func (h Harness) testQueryIsBounded(t *testing.T) {
	m, _ := h.open(t, memory.Options{})
	large := strings.Repeat("x", 250<<10)
	for i := range 40 { // 10 MB
		if err := m.Set(t.Context(), "acme", fmt.Sprintf("k%02d", i), map[string]any{"large": large, "last": i == 39}, 0); err != nil {
			t.Fatal(err)
		}
	}
	found, next, err := m.Query(t.Context(), "acme", memory.Query{Where: map[string]kernel.Value{"last": true}})
	if err != nil || len(found) != 0 || next == "" || next >= "k39" {
		t.Fatalf("the first call: %d entries, next %q, %v", len(found), next, err)
	}
	found, next, err = m.Query(t.Context(), "acme", memory.Query{Where: map[string]kernel.Value{"last": true}, After: next})
	if err != nil || len(found) != 1 || found[0].Key != "k39" || next != "" {
		t.Errorf("the second call: %d entries, next %q, %v", len(found), next, err)
	}
	var keys []string
	for after, calls := "", 0; ; calls++ {
		found, next, err := m.Query(t.Context(), "acme", memory.Query{After: after})
		if err != nil || calls > 40 {
			t.Fatal(calls, err)
		}
		for _, e := range found {
			keys = append(keys, e.Key)
		}
		if after = next; next == "" {
			break
		}
	}
	if len(keys) != 40 || !slices.IsSorted(keys) || len(slices.Compact(keys)) != 40 {
		t.Errorf("page by page: %q", keys)
	}
}

func (h Harness) testEntries(t *testing.T) {
	s := h(t)
	defer s.Close()
	now := time.Now()
	for _, key := range []string{"a", "b", "c", "d"} {
		p := &driver.Put{Entry: driver.Entry{Key: key, Value: []byte(`"` + key + `23456"`)}, Room: driver.Room{Keys: 10, Bytes: 1000}}
		if _, err := s.Put(t.Context(), now, "acme", p); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		after string
		limit int
		bytes int64
		want  string
	}{{"", 10, 1000, "abcd"}, {"", 2, 1000, "ab"}, {"b", 10, 1000, "cd"}, {"", 10, 18, "ab"}, {"", 10, 17, "a"}, {"", 10, 1, "a"}, {"", 10, 0, "a"}, {"d", 10, 0, ""}} {
		got, err := s.Entries(t.Context(), now, "acme", "", c.after, c.limit, c.bytes)
		keys := ""
		for _, e := range got {
			keys += e.Key
			if string(e.Value) != `"`+e.Key+`23456"` {
				t.Errorf("%s has %s", e.Key, e.Value)
			}
		}
		if err != nil || keys != c.want {
			t.Errorf("%+v: %s, %v", c, keys, err)
		}
	}
}
