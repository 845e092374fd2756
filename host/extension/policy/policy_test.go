package policy_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tetratelabs/wazero"
	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/extension/policy"
	"github.com/hexdag/hexdag/host/extension/policy/regoc"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// compile builds a module from one Rego text of package p, with its rule decision
// as the entrypoint.
func compile(t testing.TB, text string, entrypoints ...string) []byte {
	t.Helper()
	name := filepath.Join(t.TempDir(), "p.rego")
	if err := os.WriteFile(name, []byte("package p\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	if entrypoints == nil {
		entrypoints = []string{"p/decision"}
	}
	a, err := regoc.Build(context.Background(), regoc.Source{Dirs: []string{name}}, regoc.Options{Entrypoints: entrypoints})
	if err != nil {
		t.Fatal(err)
	}
	return a.Wasm
}

// load loads for the interpreter: most tests evaluate so little that compiling
// would take longer.
func load(t testing.TB, wasm []byte, opts policy.Options) *policy.Policy {
	t.Helper()
	opts.Interpreter = true
	return loadWith(t, wasm, opts)
}

func loadWith(t testing.TB, wasm []byte, opts policy.Options) *policy.Policy {
	t.Helper()
	p, err := policy.Load(context.Background(), wasm, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func cache(t testing.TB) wazero.CompilationCache {
	t.Helper()
	c := wazero.NewCompilationCache()
	t.Cleanup(func() { c.Close(context.Background()) })
	return c
}

// eval evaluates p/decision, which has to be defined.
func eval(t testing.TB, p *policy.Policy, input any) kernel.Value {
	t.Helper()
	v, defined, err := p.Eval(context.Background(), "p/decision", input)
	if err != nil || !defined {
		t.Fatalf("defined %v, error %v", defined, err)
	}
	return v
}

func wantCode(t testing.TB, err error, want kernel.Code, words ...string) {
	t.Helper()
	if kernel.CodeOf(err) != want {
		t.Errorf("code %s, want %s: %v", kernel.CodeOf(err), want, err)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("the error does not say %q: %v", w, err)
		}
	}
}

func TestEval(t *testing.T) {
	wasm := compile(t, `decision := {"n": input.n + data.add, "s": {3, 1}, "t": sprintf("%v", [input])}`)
	want := map[string]any{"n": json.Number("42"), "s": []any{json.Number("1"), json.Number("3")}, "t": `{"n": 2}`}
	for _, interpreter := range []bool{true, false} {
		p := loadWith(t, wasm, policy.Options{Data: []byte(`{"add": 40}`), Interpreter: interpreter})
		for range 3 { // the heap starts anew each time
			if diff := cmp.Diff(want, eval(t, p, map[string]any{"n": 2})); diff != "" {
				t.Fatal(diff)
			}
		}
		if got := p.Entrypoints(); !slices.Equal(got, []string{"p/decision"}) {
			t.Errorf("entrypoints %v", got)
		}
	}
}

// TestTimeoutCompiled stops compiled code, where it is not the interpreter that
// looks at the clock.
func TestTimeoutCompiled(t *testing.T) {
	p := loadWith(t, compile(t, bomb), policy.Options{Timeout: 50 * time.Millisecond, Instances: 1})
	_, _, err := p.Eval(context.Background(), "p/decision", map[string]any{"bomb": true})
	wantCode(t, err, kernel.CodeTimeout)
}

// TestFuel: the same work takes the same fuel in both engines, each time.
func TestFuel(t *testing.T) {
	if testenv.Race {
		t.Skip("it loads dozens of modules, and runs on one goroutine")
	}
	wasm := compile(t, `decision := count([1 | some a in numbers.range(1, input.n); a % 7 == 0])`)
	caches := map[bool]wazero.CompilationCache{true: cache(t), false: cache(t)}
	enough := func(interpreter bool, fuel int64) bool {
		p := loadWith(t, wasm, policy.Options{Timeout: time.Minute, Instances: 1, Interpreter: interpreter, Fuel: fuel, Cache: caches[interpreter]})
		var ends []bool
		for range 3 {
			_, defined, err := p.Eval(context.Background(), "p/decision", map[string]any{"n": 100})
			if err != nil {
				wantCode(t, err, kernel.CodeLimit, "out of fuel", fmt.Sprint(fuel))
			}
			ends = append(ends, defined)
		}
		if ends[0] != ends[1] || ends[0] != ends[2] {
			t.Errorf("with fuel %d: %v", fuel, ends)
		}
		return ends[0]
	}
	least := sort.Search(10_000_000, func(n int) bool { return n > 0 && enough(false, int64(n)) })
	if least < 10_000 || least == 10_000_000 {
		t.Errorf("it takes fuel %d", least)
	}
	if enough(true, int64(least)-1) || !enough(true, int64(least)) {
		t.Errorf("the interpreter takes other fuel than %d", least)
	}
}

func TestUndefined(t *testing.T) {
	p := load(t, compile(t, `decision := "yes" if input.ok`), policy.Options{})
	for _, input := range []any{nil, json.RawMessage("null"), map[string]any{}, map[string]any{"ok": false}} {
		if v, defined, err := p.Eval(context.Background(), "p/decision", input); defined || err != nil {
			t.Errorf("input %v: %v, defined %v, error %v", input, v, defined, err)
		}
	}
	if v := eval(t, p, map[string]any{"ok": true}); v != "yes" {
		t.Errorf("got %v", v)
	}
}

func TestNoInputIsNotNull(t *testing.T) {
	p := load(t, compile(t, `decision := is_null(input)`), policy.Options{})
	if _, defined, err := p.Eval(context.Background(), "p/decision", nil); defined || err != nil {
		t.Errorf("without input: defined %v, error %v", defined, err)
	}
	if v := eval(t, p, json.RawMessage("null")); v != true {
		t.Errorf("null: got %v", v)
	}
}

func TestUnknownEntrypoint(t *testing.T) {
	p := load(t, compile(t, `decision := 1`), policy.Options{Name: "x.wasm"})
	_, _, err := p.Eval(context.Background(), "p/decison\x1b[31m", nil)
	wantCode(t, err, kernel.CodePolicy, "x.wasm", `p/decison\x1b[31m`, "it has p/decision")
}

// bomb takes longer than any test waits.
const bomb = `decision := count([1 | some a in numbers.range(1, 3000); some b in numbers.range(1, 3000); some c in numbers.range(1, 3000); a + b + c == 0]) if input.bomb

decision := "calm" if not input.bomb
`

func TestTimeout(t *testing.T) {
	p := load(t, compile(t, bomb), policy.Options{Timeout: 50 * time.Millisecond, Instances: 1})
	for range 2 { // the instance is replaced
		start := time.Now()
		_, _, err := p.Eval(context.Background(), "p/decision", map[string]any{"bomb": true})
		wantCode(t, err, kernel.CodeTimeout, "50ms")
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("it took %v", took)
		}
		if v := eval(t, p, map[string]any{}); v != "calm" {
			t.Errorf("got %v", v)
		}
	}
}

func TestCanceled(t *testing.T) {
	p := load(t, compile(t, bomb), policy.Options{Timeout: time.Minute, Instances: 1})
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(50*time.Millisecond, cancel)
	_, _, err := p.Eval(ctx, "p/decision", map[string]any{"bomb": true})
	wantCode(t, err, kernel.CodeCanceled)
}

func TestWaitForInstance(t *testing.T) {
	running := make(chan struct{}, 1)
	p := load(t, compile(t, bomb), policy.Options{Timeout: time.Minute, Instances: 1, Now: func(context.Context) time.Time {
		running <- struct{}{}
		return time.Now()
	}})
	long, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		_, _, err := p.Eval(long, "p/decision", map[string]any{"bomb": true})
		wantCode(t, err, kernel.CodeCanceled, "while it ran")
	})
	<-running
	short, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	_, _, err := p.Eval(short, "p/decision", map[string]any{})
	wantCode(t, err, kernel.CodeTimeout, "waited for an instance")
	stop()
	wg.Wait()
}

func TestMemoryQuota(t *testing.T) {
	p := load(t, compile(t, `decision := count([a | some a in numbers.range(1, input.n)])`), policy.Options{Memory: 2 << 20, Instances: 1, Timeout: 30 * time.Second})
	_, _, err := p.Eval(context.Background(), "p/decision", map[string]any{"n": 10_000_000})
	wantCode(t, err, kernel.CodeTrap)
	if v := eval(t, p, map[string]any{"n": 10}); v != json.Number("10") {
		t.Errorf("the policy's next instance gave %v", v)
	}
	_, err = policy.Load(context.Background(), compile(t, `decision := 1`), policy.Options{Memory: 1 << 16})
	wantCode(t, err, kernel.CodePolicy, "the limit is 1")
}

func TestSizes(t *testing.T) {
	p := load(t, compile(t, `decision := concat("", [x | some i in numbers.range(1, input.n); x := "0123456789"])`), policy.Options{Result: 1000, Input: 1000})
	_, _, err := p.Eval(context.Background(), "p/decision", map[string]any{"n": 200})
	wantCode(t, err, kernel.CodeLimit, "1000 bytes")
	_, _, err = p.Eval(context.Background(), "p/decision", strings.Repeat("x", 1000))
	wantCode(t, err, kernel.CodeLimit, "1002 bytes")
	if v := eval(t, p, map[string]any{"n": 2}); v != "01234567890123456789" {
		t.Errorf("got %v", v)
	}
	_, err = policy.Load(context.Background(), make([]byte, 9<<20), policy.Options{})
	wantCode(t, err, kernel.CodePolicy, "too large")
}

func TestDeepInput(t *testing.T) {
	p := load(t, compile(t, `decision := "fine"`), policy.Options{Instances: 1})
	deep := json.RawMessage(strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000))
	if _, _, err := p.Eval(context.Background(), "p/decision", deep); err == nil {
		t.Error("no error")
	}
	if v := eval(t, p, map[string]any{}); v != "fine" {
		t.Errorf("got %v", v)
	}
}

func TestRefusedBuiltin(t *testing.T) {
	wasm := compile(t, `decision := sprintf("%d", [1])`)
	forged := []byte(strings.Replace(string(wasm), "sprintf\x00", "nosuch!\x00", 1))
	_, err := policy.Load(context.Background(), forged, policy.Options{})
	wantCode(t, err, kernel.CodePolicy, "the policy calls nosuch!", "not among the builtins")
}

func TestData(t *testing.T) {
	wasm := compile(t, `decision := data.x`)
	for _, data := range []string{`[]`, `{"x": 1} 2`, `{`, ``} {
		_, err := policy.Load(context.Background(), wasm, policy.Options{Data: []byte(data)})
		wantCode(t, err, kernel.CodePolicy, "data")
	}
	a := load(t, wasm, policy.Options{Data: []byte(`{"x": 1}`)})
	b := load(t, wasm, policy.Options{Data: []byte(`{"x": 2}`)})
	if a.Digest() == b.Digest() {
		t.Error("other data, same digest")
	}
	if v := eval(t, b, nil); v != json.Number("2") {
		t.Errorf("got %v", v)
	}
}

func TestTime(t *testing.T) {
	calls := 0
	now := time.Date(2026, 11, 22, 13, 14, 15, 16, time.UTC)
	p := load(t, compile(t, `decision := [time.now_ns(), count({t | some _ in numbers.range(1, 50); t := time.now_ns()})]`),
		policy.Options{Now: func(context.Context) time.Time { calls++; return now }})
	want := []any{json.Number(fmt.Sprint(now.UnixNano())), json.Number("1")}
	if diff := cmp.Diff(want, eval(t, p, nil)); diff != "" {
		t.Error(diff)
	}
	if calls != 1 {
		t.Errorf("the clock was read %d times", calls)
	}
}

func TestConcurrent(t *testing.T) {
	p := load(t, compile(t, `decision := sprintf("%s-%d", [input.who, count(input.list)])`), policy.Options{Instances: 3})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 50 {
				input := map[string]any{"who": fmt.Sprint("g", g), "list": make([]any, i)}
				v, _, err := p.Eval(context.Background(), "p/decision", input)
				if want := fmt.Sprintf("g%d-%d", g, i); err != nil || v != want {
					t.Errorf("got %v, want %s, error %v", v, want, err)
				}
			}
		})
	}
	wg.Wait()
}

func TestClose(t *testing.T) {
	p := load(t, compile(t, `decision := 1`), policy.Options{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				v, _, err := p.Eval(context.Background(), "p/decision", nil)
				if err != nil {
					wantClosed(t, err)
					return
				}
				if v != json.Number("1") {
					t.Errorf("got %v", v)
				}
			}
		})
	}
	time.Sleep(20 * time.Millisecond)
	p.Close()
	wg.Wait()
	p.Close()
}

func wantClosed(t *testing.T, err error) {
	if kernel.CodeOf(err) != kernel.CodeUnavailable {
		t.Errorf("got %v", err)
	}
}

func TestSharedCache(t *testing.T) {
	c := cache(t)
	for i := range 6 {
		p, err := policy.Load(context.Background(), compile(t, fmt.Sprintf("decision := sprintf(\"%%d\", [%d + count(input)])", i%3)), policy.Options{Cache: c})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		if v := eval(t, p, []any{}); v != fmt.Sprint(i%3) {
			t.Errorf("got %v", v)
		}
	}
}

func TestErrorsAreKernelErrors(t *testing.T) {
	_, err := policy.Load(context.Background(), []byte("\x00asm\x0d\x00\x01\x00"), policy.Options{Name: "c.wasm"})
	var e *kernel.Error
	if !errors.As(err, &e) || e.Where.File != "c.wasm" || e.Fix == "" {
		t.Errorf("got %#v", err)
	}
}
