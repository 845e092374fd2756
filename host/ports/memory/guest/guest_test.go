package guest_test

import (
	"context"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/extension"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/ports/governance"
	"github.com/hexdag/hexdag/host/ports/governance/allowall"
	"github.com/hexdag/hexdag/host/ports/memory"
	"github.com/hexdag/hexdag/host/ports/memory/driver"
	"github.com/hexdag/hexdag/host/ports/memory/guest"
	"github.com/hexdag/hexdag/host/ports/memory/memorytest"
	"github.com/hexdag/hexdag/host/ports/memory/memstore"
	"github.com/hexdag/hexdag/host/sandbox"
	"github.com/hexdag/hexdag/host/toolchain"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type discard struct{}

func (discard) Audit(context.Context, *kernel.AuditRecord) error { return nil }

// below is a door to the memory that a cabinet is over. Its entries never expire.
func below(t *testing.T) *ports.Door {
	t.Helper()
	m := memory.New(memstore.New(), memory.Options{MaxValueBytes: 64 << 20, MaxBytes: 1 << 30, MaxKeyBytes: 1024})
	t.Cleanup(func() { _ = m.Close() })
	door := ports.NewDoor(governance.New(allowall.Driver{}, governance.Options{}), discard{})
	if err := door.Register(m.Ops()...); err != nil {
		t.Fatal(err)
	}
	return door
}

// cabinet builds guests/cabinet and loads it.
func cabinet(t *testing.T) *extension.Module {
	t.Helper()
	path := filepath.Join(t.TempDir(), "cabinet.wasm")
	if err := toolchain.Build(t.Context(), "../../../../guests/cabinet", path, io.Discard); err != nil {
		t.Fatal(err)
	}
	runtime, err := sandbox.New(t.Context(), sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = runtime.Close(context.Background()) })
	var grants []abi.Capability
	for _, op := range []string{"memory.get", "memory.compare_and_swap"} {
		grants = append(grants, abi.Capability{Op: op, Args: map[string][]string{"key": {"cabinet/**"}}})
	}
	// The suite keeps more than a cabinet is for: all of it is one value.
	m, err := extension.Load(t.Context(), runtime, below(t), slog.New(slog.DiscardHandler), extension.Spec{Name: "cabinet", Path: path, Grants: grants, Limits: sandbox.Limits{Deadline: time.Minute, Fuel: 1 << 40, Document: 64 << 20, Memory: 512 << 20, BytesIn: 1 << 30, BytesOut: 1 << 30}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close(context.Background()) })
	return m
}

// ending is a context's end without what it carries: what a cabinet reads of the memory
// below is all that a tenant has, and no part of what its caller's run is about.
type ending struct{ context.Context }

func (ending) Value(any) any { return nil }

// TestConformance holds a module to what every backend of the port is held to, calls of its own included.
func TestConformance(t *testing.T) {
	if testing.Short() {
		t.Skip("a Go guest is compiled")
	}
	m := cabinet(t)
	run := &kernel.RunContext{RunID: "run", Tenant: "below"}
	memorytest.Run(t, func(t *testing.T) driver.Store {
		door := below(t)
		return guest.New(func(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
			return m.Serve(ports.WithDoor(kernel.WithRun(ending{ctx}, run), door), call)
		})
	})
}

// answers is a store whose every call is answered so.
func answers(value string, err error) (*guest.Store, *kernel.PortCall) {
	asked := &kernel.PortCall{}
	return guest.New(func(_ context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
		*asked = *call
		if err != nil {
			return nil, err
		}
		v, err := kernel.DecodeJSON([]byte(value))
		return &kernel.PortReply{Value: v}, err
	}), asked
}

// TestArguments: the module is asked in the port's words, with what a backend has to know beside them.
func TestArguments(t *testing.T) {
	now := time.Unix(0, 1_700_000_000_000_000_001)
	s, asked := answers(`null`, nil)
	for want, call := range map[string]func() error{
		`memory.get {"key":"k","now":1700000000000000001,"tenant":"acme"}`:                                                                        func() error { _, _, err := s.Get(t.Context(), now, "acme", "k"); return err },
		`memory.delete {"key":"k","now":1700000000000000001,"tenant":"\u0000ff"}`:                                                                 func() error { _, err := s.Delete(t.Context(), now, "\xff", "k"); return err },
		`memory.delete {"key":"k","now":1700000000000000001,"tenant":"\u00000061"}`:                                                               func() error { _, err := s.Delete(t.Context(), now, "\x00a", "k"); return err },
		`memory.list_keys {"after":"a/1","limit":7,"now":1700000000000000001,"prefix":"a/","tenant":""}`:                                          func() error { _, err := s.List(t.Context(), now, "", "a/", "a/1", 7); return err },
		`memory.set {"key":"k","now":1700000000000000001,"room":{"bytes":9,"keys":3},"tenant":"acme","value":"{}"}`:                               func() error { return put(t, s, now, &driver.Put{}) },
		`memory.set {"expires":1700000000000000002,"key":"k","now":1700000000000000001,"room":{"bytes":9,"keys":3},"tenant":"acme","value":"{}"}`: func() error { return put(t, s, now, &driver.Put{Entry: driver.Entry{Expires: now.Add(1)}}) },
		`memory.compare_and_swap {"key":"k","now":1700000000000000001,"room":{"bytes":9,"keys":3},"tenant":"acme","value":"{}"}`:                  func() error { return put(t, s, now, &driver.Put{If: driver.IfAbsent}) },
		`memory.compare_and_swap {"expected":"","key":"k","now":1700000000000000001,"room":{"bytes":9,"keys":3},"tenant":"acme","value":"{}"}`:    func() error { return put(t, s, now, &driver.Put{If: driver.IfEqual, Expected: []byte{}}) },
	} {
		if err := call(); (err != nil) != strings.HasPrefix(want, "memory.compare_and_swap") { // which has to be answered
			t.Errorf("%s: %v", want, err)
		}
		text, err := kernel.EncodeJSON(asked.Args)
		if got := asked.Op + " " + string(text); err != nil || got != want {
			t.Errorf("asked\n%s, want\n%s", got, want)
		}
	}
}

func put(t *testing.T, s *guest.Store, now time.Time, p *driver.Put) error {
	t.Helper()
	p.Key, p.Value, p.Room = "k", []byte("{}"), driver.Room{Keys: 3, Bytes: 9}
	_, err := s.Put(t.Context(), now, "acme", p)
	return err
}

// TestBrokenAnswers: what a module must not answer is the module's failure, and not an empty memory.
func TestBrokenAnswers(t *testing.T) {
	get := func(s *guest.Store) error { _, _, err := s.Get(t.Context(), time.Now(), "acme", "k"); return err }
	set := func(s *guest.Store) error { return put(t, s, time.Now(), &driver.Put{}) }
	swap := func(s *guest.Store) error { return put(t, s, time.Now(), &driver.Put{If: driver.IfAbsent}) }
	list := func(s *guest.Store) error {
		_, err := s.List(t.Context(), time.Now(), "acme", "a/", "a/1", 2)
		return err
	}
	for name, tc := range map[string]struct {
		do     func(*guest.Store) error
		answer string
		code   kernel.Code
		says   string
	}{
		"found nothing":           {get, `{"found": true}`, kernel.CodeABI, "there is no value"},
		"no object":               {get, `[]`, kernel.CodeABI, "memory.get"},
		"a value of another type": {get, `{"found": true, "value": 1}`, kernel.CodeABI, "memory.get"},
		"an unknown member":       {get, `{"fund": true}`, kernel.CodeABI, "fund"},
		"nothing is there":        {get, `null`, "", ""},
		"set says nothing":        {set, `null`, "", ""},
		"swapped is missing":      {swap, `{}`, kernel.CodeABI, "whether it swapped"},
		"no answer to a swap":     {swap, `null`, kernel.CodeABI, "whether it swapped"},
		"a key before after":      {list, `{"keys": ["a/1"]}`, kernel.CodeABI, "not asked for"},
		"a key of another prefix": {list, `{"keys": ["b"]}`, kernel.CodeABI, "not asked for"},
		"keys out of order":       {list, `{"keys": ["a/3", "a/2"]}`, kernel.CodeABI, "not asked for"},
		"too many keys":           {list, `{"keys": ["a/2", "a/3", "a/4"]}`, kernel.CodeABI, "not asked for"},
		"keys as asked":           {list, `{"keys": ["a/2", "a/3"]}`, "", ""},
	} {
		s, _ := answers(tc.answer, nil)
		if err := tc.do(s); kernel.CodeOf(err) != tc.code || err != nil && !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	full, _ := answers(`{"full": true, "swapped": false}`, nil)
	m := memory.New(full, memory.Options{})
	if err := m.Set(t.Context(), "acme", "k", nil, 0); kernel.CodeOf(err) != kernel.CodeLimit || !strings.Contains(err.Error(), "no room") {
		t.Error(err)
	}
	failing, _ := answers("", &kernel.Error{Code: kernel.CodeRetry, What: "later"})
	if err := swap(failing); kernel.CodeOf(err) != kernel.CodeRetry {
		t.Error(err)
	}
}

func TestClosed(t *testing.T) {
	var calls atomic.Int64
	s := guest.New(func(context.Context, *kernel.PortCall) (*kernel.PortReply, error) {
		calls.Add(1)
		return &kernel.PortReply{}, nil
	})
	_ = s.Close()
	if _, err := s.List(t.Context(), time.Now(), "", "", "", 1); kernel.CodeOf(err) != kernel.CodeUnavailable || calls.Load() != 0 {
		t.Errorf("%v after %d calls", err, calls.Load())
	}
}

// TestEntries: within the bytes, but for the first; what goes between the list and the
// value is left out, and is not taken for the end.
func TestEntries(t *testing.T) {
	backend := memstore.New()
	now := time.Now()
	gone := map[string]bool{}
	s := guest.New(func(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
		text := func(name string) string { v, _ := call.Args[name].(string); return v }
		if call.Op == "memory.list_keys" {
			keys, err := backend.List(ctx, now, "acme", text("prefix"), text("after"), 2)
			list := make([]any, len(keys))
			for i, k := range keys {
				list[i] = k
			}
			return &kernel.PortReply{Value: map[string]any{"keys": list}}, err
		}
		value, found, err := backend.Get(ctx, now, "acme", text("key"))
		reply := map[string]any{"found": found && !gone[text("key")]}
		if found {
			reply["value"] = string(value)
		}
		return &kernel.PortReply{Value: reply}, err
	})
	for _, key := range []string{"a/1", "a/2", "a/3", "b"} {
		if _, err := backend.Put(t.Context(), now, "acme", &driver.Put{Entry: driver.Entry{Key: key, Value: []byte(`"` + key + `"`)}, Room: driver.Room{Keys: 9, Bytes: 99}}); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		prefix, after string
		bytes         int64
		gone          []string
		want          string
	}{
		{"", "", 99, nil, "a/1 a/2"}, {"", "a/2", 99, nil, "a/3 b"}, {"", "b", 99, nil, ""}, {"a/", "a/2", 99, nil, "a/3"},
		{"", "", 15, nil, "a/1"}, {"", "", 16, nil, "a/1 a/2"}, {"", "", 1, nil, "a/1"},
		{"", "", 99, []string{"a/1"}, "a/2"}, {"", "", 99, []string{"a/1", "a/2"}, "a/3 b"}, {"", "a/2", 99, []string{"a/3", "b"}, ""},
	} {
		clear(gone)
		for _, key := range tc.gone {
			gone[key] = true
		}
		entries, err := s.Entries(t.Context(), now, "acme", tc.prefix, tc.after, 2, tc.bytes)
		var keys []string
		for _, e := range entries {
			if string(e.Value) != `"`+e.Key+`"` {
				t.Errorf("%s is %s", e.Key, e.Value)
			}
			keys = append(keys, e.Key)
		}
		if got := strings.Join(keys, " "); err != nil || got != tc.want {
			t.Errorf("%+v: %s, %v", tc, got, err)
		}
	}
}
