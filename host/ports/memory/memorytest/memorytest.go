// Package memorytest is the suite that every backend of the memory port passes.
package memorytest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/ports/memory"
	"github.com/hexdag/hexdag/host/ports/memory/driver"
)

// Harness makes an empty store. The suite closes it.
type Harness func(t *testing.T) driver.Store

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	t.Run("Values", h.testValues)
	t.Run("Keys", h.testKeys)
	t.Run("Tenants", h.testTenants)
	t.Run("CompareAndSwap", h.testCompareAndSwap)
	t.Run("TTL", h.testTTL)
	t.Run("List", h.testList)
	t.Run("Query", h.testQuery)
	t.Run("QueryIsBounded", h.testQueryIsBounded)
	t.Run("Entries", h.testEntries)
	t.Run("Room", h.testRoom)
	t.Run("RoomOfExpired", h.testRoomOfExpired)
	t.Run("Arguments", h.testArguments)
	t.Run("OneSwapWins", h.testOneSwapWins)
	t.Run("Counter", h.testCounter)
	t.Run("Ended", h.testEnded)
	t.Run("Labels", h.testLabels)
	t.Run("Closed", h.testClosed)
}

// clock is a time that tests move.
type clock struct{ at atomic.Int64 }

func (c *clock) now() time.Time          { return time.Unix(0, c.at.Load()) }
func (c *clock) advance(d time.Duration) { c.at.Add(int64(d)) }

func (h Harness) open(t *testing.T, opts memory.Options) (*memory.Memory, *clock) {
	t.Helper()
	c := &clock{}
	c.at.Store(time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC).UnixNano())
	opts.Now = c.now
	m := memory.New(h(t), opts)
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return m, c
}

// call calls an operation as the door does, with the arguments and the reply as JSON.
func call(ctx context.Context, t *testing.T, m *memory.Memory, tenant, op, args string) (string, error) {
	t.Helper()
	value, err := kernel.DecodeJSON([]byte(args))
	if err != nil {
		t.Fatalf("%s: %v", args, err)
	}
	ops := m.Ops()
	i := slices.IndexFunc(ops, func(o ports.Op) bool { return o.Name == "memory."+op })
	if i < 0 {
		t.Fatalf("there is no operation %s", op)
	}
	ctx = kernel.WithRun(ctx, &kernel.RunContext{RunID: "run", Tenant: tenant})
	reply, err := ops[i].Func(ctx, &kernel.PortCall{Op: "memory." + op, Args: value.(map[string]any)})
	if err != nil {
		return "", err
	}
	text, err := kernel.EncodeJSON(reply.Value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text), nil
}

func expect(t *testing.T, m *memory.Memory, tenant, op, args, want string) {
	t.Helper()
	if got, err := call(t.Context(), t, m, tenant, op, args); err != nil || got != want {
		t.Errorf("%s: %s %s: %s, %v, want %s", tenant, op, args, got, err, want)
	}
}

func refuse(t *testing.T, m *memory.Memory, op, args string, code kernel.Code, says string) {
	t.Helper()
	if got, err := call(t.Context(), t, m, "acme", op, args); kernel.CodeOf(err) != code || !strings.Contains(fmt.Sprint(err), says) {
		t.Errorf("%s %.200s: %s, %v, want %s and %q", op, args, got, err, code, says)
	}
}

func (h Harness) testValues(t *testing.T) {
	m, _ := h.open(t, memory.Options{})
	expect(t, m, "acme", "get", `{"key": "a"}`, `{"found":false,"value":null}`)
	expect(t, m, "acme", "get", `{"key": "a", "default": [1]}`, `{"found":false,"value":[1]}`)
	expect(t, m, "acme", "exists", `{"key": "a"}`, `{"exists":false}`)
	expect(t, m, "acme", "delete", `{"key": "a"}`, `{"deleted":false}`)
	for _, v := range []string{`null`, `true`, `0`, `1.50`, `123456789012345678901234567890`, `""`, `"日本 🦔\u0000"`, `[]`, `{}`, `{"b":[1,{"c":null}],"z":"'; --"}`} {
		expect(t, m, "acme", "set", `{"key": "a", "value": `+v+`}`, `{"key":"a","stored":true}`)
		value, err := kernel.DecodeJSON([]byte(v))
		if err != nil {
			t.Fatal(err)
		}
		text, err := kernel.EncodeJSON(value)
		if err != nil {
			t.Fatal(err)
		}
		expect(t, m, "acme", "get", `{"key": "a", "default": 7}`, `{"found":true,"value":`+string(text)+`}`)
	}
	expect(t, m, "acme", "exists", `{"key": "a"}`, `{"exists":true}`)
	expect(t, m, "acme", "delete", `{"key": "a"}`, `{"deleted":true}`)
	expect(t, m, "acme", "get", `{"key": "a"}`, `{"found":false,"value":null}`)
	large := strings.Repeat("x", 256<<10-2)
	if err := m.Set(t.Context(), "acme", "large", large, 0); err != nil {
		t.Fatal(err)
	}
	if got, found, err := m.Get(t.Context(), "acme", "large"); got != large || !found || err != nil {
		t.Errorf("a large value: %v, %v", found, err)
	}
}

// oddKeys are keys that a backend might take for one another, or for a command.
var oddKeys = []string{"a", "A", "a ", " a", "a.", "a/b", "a/", "/", ".", "..", "../a", "a*", "%", "_", "?", "'", `"`, `'; DROP TABLE entries; --`, "é", "e\u0301", "日本", "🦔", "null", "0", "00", "a:b", `a\b`, "NULL", "ａ", strings.Repeat("k", 512)}

func (h Harness) testKeys(t *testing.T) {
	m, _ := h.open(t, memory.Options{})
	for i, key := range oddKeys {
		if created, err := m.Create(t.Context(), "acme", key, kernel.Number(int64(i)), 0); err != nil || !created {
			t.Errorf("%q: %v, %v", key, created, err)
		}
	}
	for i, key := range oddKeys {
		if got, found, err := m.Get(t.Context(), "acme", key); got != kernel.Number(int64(i)) || !found || err != nil {
			t.Errorf("%q: %v, %v, %v", key, got, found, err)
		}
	}
}

func (h Harness) testTenants(t *testing.T) {
	m, _ := h.open(t, memory.Options{MaxKeys: 2})
	tenants := []string{"", "a", "A", "a/", "a/b", "b", "a\x00b", "a\xff", "'", "%"}
	for _, tenant := range tenants {
		expect(t, m, tenant, "list_keys", `{}`, `{"keys":[]}`)
		if err := m.Set(t.Context(), tenant, "b/c", tenant+"!", 0); err != nil {
			t.Errorf("%q: %v", tenant, err)
		}
		expect(t, m, tenant, "set", `{"key": "x", "value": 1}`, `{"key":"x","stored":true}`)
	}
	for _, tenant := range tenants {
		if v, _, err := m.Get(t.Context(), tenant, "b/c"); err != nil || v != strings.ToValidUTF8(tenant+"!", "\ufffd") {
			t.Errorf("%q has %q, %v", tenant, v, err)
		}
		expect(t, m, tenant, "list_keys", `{}`, `{"keys":["b/c","x"]}`)
		expect(t, m, tenant, "compare_and_swap", `{"key": "x", "value": 2}`, `{"swapped":false}`)
		expect(t, m, tenant, "delete", `{"key": "b/c"}`, `{"deleted":true}`)
		expect(t, m, tenant, "delete", `{"key": "b/c"}`, `{"deleted":false}`)
	}
	// An argument that claims another tenant is no argument.
	refuse(t, m, "get", `{"key": "x", "tenant": "b"}`, kernel.CodeArguments, "unknown argument tenant")
}

func (h Harness) testCompareAndSwap(t *testing.T) {
	m, _ := h.open(t, memory.Options{})
	for _, step := range []struct{ args, want string }{
		{`{"key": "a", "expected": null, "value": 1}`, `false`}, // nothing is not null
		{`{"key": "a", "expected": 1, "value": 1}`, `false`},
		{`{"key": "a", "value": {"n": 1, "m": [null]}}`, `true`},
		{`{"key": "a", "value": 2}`, `false`},
		{`{"key": "a", "expected": {"n": 1}, "value": 2}`, `false`},
		{`{"key": "a", "expected": {"m": [null], "n": 1}, "value": null}`, `true`},
		{`{"key": "a", "expected": false, "value": 3}`, `false`},
		{`{"key": "a", "expected": null, "value": 1}`, `true`},
		{`{"key": "a", "expected": 1.0, "value": 2}`, `false`},
		{`{"key": "a", "expected": "1", "value": 2}`, `false`},
		{`{"key": "b", "expected": 1, "value": 2}`, `false`},
		{`{"key": "a", "expected": 1, "value": 1}`, `true`},
	} {
		expect(t, m, "acme", "compare_and_swap", step.args, `{"swapped":`+step.want+`}`)
	}
	expect(t, m, "acme", "get", `{"key": "a"}`, `{"found":true,"value":1}`)
	expect(t, m, "acme", "exists", `{"key": "b"}`, `{"exists":false}`)
}

func (h Harness) testTTL(t *testing.T) {
	m, c := h.open(t, memory.Options{})
	expect(t, m, "acme", "set", `{"key": "a", "value": 1, "ttl": 10}`, `{"key":"a","stored":true}`)
	expect(t, m, "acme", "set", `{"key": "b", "value": 1, "ttl": 0.5}`, `{"key":"b","stored":true}`)
	expect(t, m, "acme", "set", `{"key": "c", "value": 1}`, `{"key":"c","stored":true}`)
	expect(t, m, "acme", "set", `{"key": "d", "value": 1, "ttl": 10}`, `{"key":"d","stored":true}`)
	expect(t, m, "acme", "set", `{"key": "d", "value": 2, "ttl": null}`, `{"key":"d","stored":true}`) // no longer expires
	c.advance(500 * time.Millisecond)
	expect(t, m, "acme", "list_keys", `{}`, `{"keys":["a","c","d"]}`)
	expect(t, m, "acme", "get", `{"key": "b"}`, `{"found":false,"value":null}`)
	expect(t, m, "acme", "delete", `{"key": "b"}`, `{"deleted":false}`)
	c.advance(9499 * time.Millisecond)
	expect(t, m, "acme", "exists", `{"key": "a"}`, `{"exists":true}`)
	c.advance(time.Millisecond)
	expect(t, m, "acme", "exists", `{"key": "a"}`, `{"exists":false}`)
	expect(t, m, "acme", "compare_and_swap", `{"key": "a", "expected": 1, "value": 2}`, `{"swapped":false}`)
	expect(t, m, "acme", "compare_and_swap", `{"key": "a", "value": 2, "ttl": 1}`, `{"swapped":true}`)
	c.advance(time.Hour)
	expect(t, m, "acme", "list_keys", `{}`, `{"keys":["c","d"]}`)
}

func (h Harness) testList(t *testing.T) {
	m, _ := h.open(t, memory.Options{})
	keys := []string{"a", "a/1", "a/2", "a/é", "a0", "aé", "b", "日本/1"}
	for _, key := range slices.Backward(keys) {
		if err := m.Set(t.Context(), "acme", key, nil, 0); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		prefix, after string
		limit         int
		want          []string
	}{
		{"", "", 100, keys}, {"a/", "", 100, keys[1:4]}, {"a/", "a/1", 100, keys[2:4]}, {"a/", "a/1", 1, keys[2:3]}, {"a", "", 100, keys[:6]},
		{"a", "a", 2, keys[1:3]}, {"c", "", 100, nil}, {"", "b", 100, keys[7:]}, {"日", "", 100, keys[7:]}, {"a/", "b", 100, nil}, {"b", "a", 100, keys[6:7]}, {"%", "", 100, nil}, {"_", "", 100, nil},
	} {
		got, err := m.ListKeys(t.Context(), "acme", c.prefix, c.after, c.limit)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%q after %q: %q, %v, want %q", c.prefix, c.after, got, err, c.want)
		}
	}
	for i := range 1500 {
		if err := m.Set(t.Context(), "many", fmt.Sprintf("k%04d", i), nil, 0); err != nil {
			t.Fatal(err)
		}
	}
	first, err := call(t.Context(), t, m, "many", "list_keys", `{"prefix": "k"}`)
	if err != nil || !strings.Contains(first, `"k0999"],"next":"k0999"`) {
		t.Errorf("the first page ends with %s, %v", first[max(0, len(first)-40):], err)
	}
	second, err := call(t.Context(), t, m, "many", "list_keys", `{"prefix": "k", "after": "k0999"}`)
	if err != nil || !strings.HasPrefix(second, `{"keys":["k1000"`) || !strings.HasSuffix(second, `"k1499"]}`) {
		t.Errorf("the second page: %v", err)
	}
}

func (h Harness) testRoom(t *testing.T) {
	m, _ := h.open(t, memory.Options{MaxKeys: 3, MaxBytes: 100, MaxValueBytes: 60})
	for _, key := range []string{"a", "b", "c"} {
		expect(t, m, "acme", "set", `{"key": "`+key+`", "value": 1}`, `{"key":"`+key+`","stored":true}`)
	}
	refuse(t, m, "set", `{"key": "d", "value": 1}`, kernel.CodeLimit, "3 keys (max_keys)")
	refuse(t, m, "compare_and_swap", `{"key": "d", "value": 1}`, kernel.CodeLimit, "no room")
	expect(t, m, "acme", "set", `{"key": "a", "value": 2}`, `{"key":"a","stored":true}`)
	expect(t, m, "bob", "set", `{"key": "d", "value": 1}`, `{"key":"d","stored":true}`)
	fifty := `"` + strings.Repeat("x", 48) + `"`
	expect(t, m, "acme", "set", `{"key": "a", "value": `+fifty+`}`, `{"key":"a","stored":true}`)
	refuse(t, m, "set", `{"key": "b", "value": `+fifty+`}`, kernel.CodeLimit, "100 bytes (max_bytes)")
	expect(t, m, "acme", "get", `{"key": "b"}`, `{"found":true,"value":1}`)
	expect(t, m, "acme", "delete", `{"key": "a"}`, `{"deleted":true}`)
	expect(t, m, "acme", "set", `{"key": "b", "value": `+fifty+`}`, `{"key":"b","stored":true}`)
	refuse(t, m, "set", `{"key": "b", "value": "`+strings.Repeat("x", 60)+`"}`, kernel.CodeLimit, "62 bytes as JSON, max_value_bytes is 60")
	refuse(t, m, "compare_and_swap", `{"key": "b", "value": 1, "expected": "`+strings.Repeat("x", 60)+`"}`, kernel.CodeLimit, "the expected is too large")
}

func (h Harness) testRoomOfExpired(t *testing.T) {
	m, c := h.open(t, memory.Options{MaxKeys: 2, MaxBytes: 10})
	for round := range 3 {
		for i := range 2 {
			expect(t, m, "acme", "set", fmt.Sprintf(`{"key": "%d-%d", "value": 1, "ttl": 1}`, round, i), fmt.Sprintf(`{"key":"%d-%d","stored":true}`, round, i))
		}
		refuse(t, m, "set", `{"key": "x", "value": 1}`, kernel.CodeLimit, "no room")
		c.advance(time.Second)
	}
	expect(t, m, "acme", "list_keys", `{}`, `{"keys":[]}`)
}

func (h Harness) testArguments(t *testing.T) {
	m, _ := h.open(t, memory.Options{MaxKeyBytes: 10})
	for _, key := range []string{`""`, `"a\nb"`, `"\u0000"`, `"\u001b[2J"`, `"a\u202eb"`, `1`, `null`, `["a"]`, `{}`} {
		refuse(t, m, "get", `{"key": `+key+`}`, kernel.CodeArguments, "key")
		refuse(t, m, "set", `{"key": `+key+`, "value": 1}`, kernel.CodeArguments, "key")
		refuse(t, m, "delete", `{"key": `+key+`}`, kernel.CodeArguments, "key")
	}
	refuse(t, m, "get", `{"key": "12345678901"}`, kernel.CodeLimit, "11 bytes, max_key_bytes is 10")
	refuse(t, m, "get", `{}`, kernel.CodeArguments, "key must be a text")
	refuse(t, m, "set", `{"key": "a"}`, kernel.CodeArguments, "value is missing")
	refuse(t, m, "compare_and_swap", `{"key": "a", "expected": 1}`, kernel.CodeArguments, "value is missing")
	refuse(t, m, "get", `{"key": "a", "ttl": 1}`, kernel.CodeArguments, "unknown argument ttl; it takes key, default")
	refuse(t, m, "list_keys", `{"prefix": 1}`, kernel.CodeArguments, "prefix must be a text")
	refuse(t, m, "list_keys", `{"key": "a"}`, kernel.CodeArguments, "unknown argument key")
	for _, ttl := range []string{`0`, `-1`, `"10"`, `1e9999`, `1e18`, `true`, `0.0001`} {
		refuse(t, m, "set", `{"key": "a", "value": 1, "ttl": `+ttl+`}`, kernel.CodeArguments, "number of seconds")
	}
	ops := m.Ops()
	if _, err := ops[0].Func(t.Context(), &kernel.PortCall{Args: map[string]any{"key": "a"}}); kernel.CodeOf(err) != kernel.CodeInternal {
		t.Errorf("outside a run: %v", err)
	}
}

// testOneSwapWins: of many who create, or swap the same value, one succeeds.
func (h Harness) testOneSwapWins(t *testing.T) {
	m, _ := h.open(t, memory.Options{})
	for round := range 5 {
		var won atomic.Int64
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Go(func() {
				swap := func() (bool, error) {
					return m.CompareAndSwap(t.Context(), "acme", "k", kernel.Number(int64(round)), kernel.Number(int64(round+1)), 0)
				}
				if round == 0 {
					swap = func() (bool, error) { return m.Create(t.Context(), "acme", "k", kernel.Number(1), 0) }
				}
				done, err := swap()
				if err != nil {
					t.Errorf("%d: %v", i, err)
				}
				if done {
					won.Add(1)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Fatalf("round %d: %d won", round, won.Load())
		}
	}
}

// testCounter counts with compare-and-swap: no increment is lost.
func (h Harness) testCounter(t *testing.T) {
	const workers, each = 4, 25
	m, _ := h.open(t, memory.Options{})
	if err := m.Set(t.Context(), "acme", "n", kernel.Number(0), 0); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for n := 0; n < each; {
				v, _, err := m.Get(t.Context(), "acme", "n")
				if err != nil {
					t.Error(err)
					return
				}
				var old int64
				if err := kernel.FromValue(v, &old); err != nil {
					t.Error(err)
					return
				}
				done, err := m.CompareAndSwap(t.Context(), "acme", "n", v, kernel.Number(old+1), 0)
				if err != nil {
					t.Error(err)
					return
				}
				if done {
					n++
				}
			}
		})
	}
	wg.Wait()
	got, _, err := m.Get(t.Context(), "acme", "n")
	if diff := cmp.Diff(kernel.Number(workers*each), got); diff != "" || err != nil {
		t.Errorf("%s, %v", diff, err)
	}
}

func (h Harness) testEnded(t *testing.T) {
	m, _ := h.open(t, memory.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for op, args := range map[string]string{"get": `{"key": "a"}`, "set": `{"key": "a", "value": 1}`, "delete": `{"key": "a"}`, "exists": `{"key": "a"}`, "list_keys": `{}`, "query": `{}`, "compare_and_swap": `{"key": "a", "value": 1}`} {
		if got, err := call(ctx, t, m, "acme", op, args); kernel.CodeOf(err) != kernel.CodeCanceled {
			t.Errorf("%s: %s, %v", op, got, err)
		}
	}
	expect(t, m, "acme", "exists", `{"key": "a"}`, `{"exists":false}`)
}

func (h Harness) testClosed(t *testing.T) {
	store := h(t)
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	_, _, err := store.Get(t.Context(), time.Now(), "acme", "a")
	_, putErr := store.Put(t.Context(), time.Now(), "acme", &driver.Put{Entry: driver.Entry{Key: "a", Value: []byte("1")}, Room: driver.Room{Keys: 1, Bytes: 10}})
	if err == nil || putErr == nil {
		t.Error(errors.Join(err, putErr), "a closed store answers")
	}
}
