package rewrite

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

type specValue struct {
	Type  string `json:"type"`
	Lane  string `json:"lane_type"`
	Value any    `json:"value"`
}

type specAction struct {
	Type   string      `json:"type"`
	Module string      `json:"module"`
	Field  string      `json:"field"`
	Args   []specValue `json:"args"`
}

type specCommand struct {
	Type       string     `json:"type"`
	Line       int        `json:"line"`
	Filename   string     `json:"filename"`
	Name       string     `json:"name"`
	As         string     `json:"as"`
	ModuleType string     `json:"module_type"`
	Action     specAction `json:"action"`
}

// wazeroDir returns where wazero's sources are.
func wazeroDir(t testing.TB) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/tetratelabs/wazero").Output()
	if err != nil {
		t.Fatal("no sources of wazero, which carry the specification tests:", err)
	}
	return strings.TrimSpace(string(out))
}

// TestSpec runs the WebAssembly core specification tests on original and
// rewritten modules and demands the same of both.
func TestSpec(t *testing.T) {
	root := filepath.Join(wazeroDir(t), "internal", "integration_test", "spectest")
	var total specCount
	for version, features := range map[string]api.CoreFeatures{"v1": api.CoreFeaturesV1, "v2": api.CoreFeaturesV2} {
		files, err := filepath.Glob(filepath.Join(root, version, "testdata", "*.json"))
		if err != nil || len(files) < 50 {
			t.Fatalf("%d specification tests of %s: %v", len(files), version, err)
		}
		for _, file := range files {
			name := version + "/" + strings.TrimSuffix(filepath.Base(file), ".json")
			t.Run(name, func(t *testing.T) { runSpec(t, root, file, name, features, &total) })
		}
	}
	t.Logf("%+v", total)
	if total.executed < 61_000 || total.modules < 2000 || total.refusals < 4000 {
		t.Errorf("too few assertions: %+v", total)
	}
}

// specCount counts what the specification tests did.
type specCount struct {
	modules  int // instantiated in both forms
	executed int // calls compared
	refusals int // modules that both refuse; none is refused in only one form
}

// side is one of the two: the original or the rewritten modules.
type side struct {
	r       wazero.Runtime
	rewrite bool
	named   map[string]api.Module
	all     []api.Module
	last    api.Module
}

func newSide(t *testing.T, root string, features api.CoreFeatures, rewrite bool) *side {
	s := &side{r: newRuntime(t, wazero.NewRuntimeConfig().WithCoreFeatures(features)), rewrite: rewrite, named: map[string]api.Module{}}
	newMeter().define(t, s.r)
	spectest, err := os.ReadFile(filepath.Join(root, "testdata", "spectest.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.r.Instantiate(t.Context(), spectest); err != nil {
		t.Fatal(err)
	}
	return s
}

func specOptions() Options {
	o := DefaultOptions()
	o.MaxDepth = 5000
	o.MaxMemoryPages = maxPages
	o.MaxTableElements = math.MaxInt32
	o.MaxBrTable = 100_000
	o.AllowImportedGlobals = true
	return o
}

func (s *side) instantiate(ctx context.Context, wasm []byte, as, name string) error {
	if s.rewrite {
		res, err := Module(wasm, specOptions())
		if err != nil {
			return err
		}
		wasm = res.Wasm
	}
	compiled, err := s.r.CompileModule(ctx, wasm)
	if err != nil {
		return err
	}
	mod, err := s.r.InstantiateModule(ctx, compiled, wazero.NewModuleConfig().WithName(as))
	if err != nil {
		return err
	}
	s.last = mod
	s.all = append(s.all, mod)
	if name != "" {
		s.named[name] = mod
	}
	return nil
}

func (s *side) act(ctx context.Context, a *specAction) ([]uint64, []api.ValueType, error) {
	mod := s.last
	if a.Module != "" {
		mod = s.named[a.Module]
	}
	if a.Type == "get" {
		g := mod.ExportedGlobal(a.Field)
		return []uint64{g.Get()}, []api.ValueType{g.Type()}, nil
	}
	fn := mod.ExportedFunction(a.Field)
	var args []uint64
	for _, v := range a.Args {
		args = append(args, v.words()...)
	}
	results, err := fn.Call(ctx, args...)
	if s.rewrite && err == nil && depth(mod) != specOptions().MaxDepth {
		return nil, nil, fmt.Errorf("depth after the call: %d", depth(mod))
	}
	if s.rewrite && err != nil {
		s.restore()
	}
	return results, fn.Definition().ResultTypes(), err
}

// restore puts the depth of all instances back after a trap, which a real host
// does by discarding them.
func (s *side) restore() {
	for _, mod := range s.all {
		mod.ExportedGlobal(ExportDepth).(api.MutableGlobal).Set(uint64(specOptions().MaxDepth))
	}
}

func runSpec(t *testing.T, root, file, name string, features api.CoreFeatures, total *specCount) {
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var script struct{ Commands []specCommand }
	if err := json.Unmarshal(raw, &script); err != nil {
		t.Fatal(err)
	}
	original, rewritten := newSide(t, root, features, false), newSide(t, root, features, true)
	for i, c := range script.Commands {
		at := fmt.Sprintf("%s:%d %s", name, c.Line, c.Type)
		switch c.Type {
		case "register": // done with the module before it
		case "action", "assert_return", "assert_trap", "assert_exhaustion":
			if c.Action.Type != "" && original.last != nil {
				compareAction(t, at, &c, original, rewritten)
				total.executed++
				continue
			}
			fallthrough
		default:
			if c.ModuleType == "text" {
				continue
			}
			as := ""
			if next := i + 1; next < len(script.Commands) && script.Commands[next].Type == "register" {
				as = script.Commands[next].As
			}
			wasm, err := os.ReadFile(filepath.Join(filepath.Dir(file), c.Filename))
			if err != nil {
				t.Fatal(at, err)
			}
			compareModule(t, at, wasm, as, &c, original, rewritten, total)
		}
	}
	compareMemories(t, original, rewritten)
}

func compareModule(t *testing.T, at string, wasm []byte, as string, c *specCommand, original, rewritten *side, total *specCount) {
	want := original.instantiate(t.Context(), wasm, as, c.Name)
	got := rewritten.instantiate(t.Context(), wasm, as, c.Name)
	switch {
	case c.Type == "module" && want != nil:
		t.Errorf("%s: the original: %v", at, want)
	case (want == nil) != (got == nil):
		t.Errorf("%s: original: %v, rewritten: %v", at, want, got)
	case want != nil:
		total.refusals++
		_, wantTrap, _ := strings.Cut(firstLine(want), "wasm error: ")
		_, gotTrap, _ := strings.Cut(firstLine(got), "wasm error: ")
		if c.Type == "assert_uninstantiable" && wantTrap != gotTrap {
			t.Errorf("%s: original: %v, rewritten: %v", at, want, got)
		}
	default:
		total.modules++
	}
}

func compareAction(t *testing.T, at string, c *specCommand, original, rewritten *side) {
	t.Helper()
	want, types, wantErr := original.act(t.Context(), &c.Action)
	got, _, gotErr := rewritten.act(t.Context(), &c.Action)
	if wantTrap := c.Type == "assert_trap" || c.Type == "assert_exhaustion"; wantTrap != (wantErr != nil) {
		t.Errorf("%s: the original: %v", at, wantErr)
	}
	if c.Type == "assert_exhaustion" {
		if gotErr == nil || !errors.Is(gotErr, errOverflow) {
			t.Errorf("%s: rewritten: %v", at, gotErr)
		}
		return
	}
	if firstLine(wantErr) != firstLine(gotErr) {
		t.Fatalf("%s: original: %v, rewritten: %v", at, wantErr, gotErr)
	}
	if wantErr == nil && !sameWords(want, got, types) {
		t.Errorf("%s %s: original %x, rewritten %x", at, c.Action.Field, want, got)
	}
}

// sameWords compares results; references are addresses, so only their being null counts.
func sameWords(a, b []uint64, types []api.ValueType) bool {
	for _, t := range types {
		if t == api.ValueTypeExternref || t == api.ValueType(FuncRef) {
			return len(a) == len(b) && len(a) == 1 && (a[0] == 0) == (b[0] == 0)
		}
	}
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] && !(bothNaN(a[i], b[i])) {
			return false
		}
	}
	return true
}

// bothNaN allows the bits of a NaN to differ, as the specification does.
func bothNaN(a, b uint64) bool {
	f64 := math.IsNaN(math.Float64frombits(a)) && math.IsNaN(math.Float64frombits(b))
	return f64 || a>>32 == b>>32 && isNaN32(a) && isNaN32(b)
}

func isNaN32(v uint64) bool { f := math.Float32frombits(uint32(v)); return f != f }

func compareMemories(t *testing.T, original, rewritten *side) {
	for i, mod := range original.all {
		if i >= len(rewritten.all) || reflect.ValueOf(mod.Memory()).IsNil() {
			continue
		}
		a, b := mod.Memory(), rewritten.all[i].Memory()
		size := min(a.Size(), 16<<20)
		x, _ := a.Read(0, size)
		y, _ := b.Read(0, size)
		if a.Size() != b.Size() || !bytes.Equal(x, y) {
			t.Errorf("memories of module %d differ", i)
		}
	}
}

// words returns a value as wazero takes it: v128 in two words, null references as 0.
func (v specValue) words() []uint64 {
	if v.Type == "v128" {
		var words [2]uint64
		lanes := v.Value.([]any)
		bits := 128 / len(lanes)
		for i, lane := range lanes {
			mask := uint64(math.MaxUint64) >> (64 - bits)
			words[i*bits/64] |= parseWord(lane.(string)) & mask << (i * bits % 64)
		}
		return words[:]
	}
	text, _ := v.Value.(string)
	switch v.Type {
	case "funcref":
		return []uint64{0}
	case "externref":
		if text == "null" {
			return []uint64{0}
		}
		return []uint64{parseWord(text) + 1}
	}
	return []uint64{parseWord(text)}
}

func parseWord(text string) uint64 {
	if strings.HasPrefix(text, "nan") {
		return math.Float64bits(math.NaN())
	}
	if n, err := strconv.ParseUint(text, 10, 64); err == nil {
		return n
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		panic(err)
	}
	return uint64(n)
}
