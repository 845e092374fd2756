package sandbox_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/redteam/probe"
	"github.com/hexdag/hexdag/host/sandbox"
)

const (
	memory   = probe.MemorySize
	free     = 0x20000 // an address that the scripts leave alone
	maxU32   = 0xFFFFFFFF
	inText   = abi.DocInput
	config   = int(abi.DocConfig)
	request  = int(abi.DocRequest)
	reply    = int(abi.DocReply)
	output   = int(abi.DocOutput)
	textKind = int(abi.KindString)
	jsonKind = int(abi.KindJSON)
)

// field is the result of the import field for a value.
func field(kind abi.Kind, length int) int64 { return int64(kind)<<32 | int64(length) }

// ranges lists, for every import that takes an address, a call with it.
func ranges() map[string]func(s *probe.Script, at, length uint32) {
	return map[string]func(s *probe.Script, at, length uint32){
		"field path": func(s *probe.Script, at, n uint32) { s.Do(probe.Field, 0, at, n, free, 0) },
		"keys path":  func(s *probe.Script, at, n uint32) { s.Do(probe.Keys, 0, at, n, free, 0) },
		"set path":   func(s *probe.Script, at, n uint32) { s.Do(probe.Set, output, at, n, textKind, free, 1) },
		"set value":  func(s *probe.Script, at, n uint32) { s.Do(probe.Set, output, "/v", textKind, at, n) },
		"append":     func(s *probe.Script, at, n uint32) { s.Do(probe.Append, request, at, n) },
		"call op":    func(s *probe.Script, at, n uint32) { s.Do(probe.Call, at, n, 0, 0, 0, 0) },
		"call head":  func(s *probe.Script, at, n uint32) { s.Do(probe.Call, "a.b", at, n, 0, 0) },
		"call body":  func(s *probe.Script, at, n uint32) { s.Do(probe.Call, "a.b", 0, 0, at, n) },
		"log":        func(s *probe.Script, at, n uint32) { s.Do(probe.Log, 0, at, n) },
		"random":     func(s *probe.Script, at, n uint32) { s.Do(probe.Random, at, n) },
		"input":      func(s *probe.Script, at, n uint32) { s.Do(probe.Input, at, max(n, 1<<20)) },
		"field buf":  func(s *probe.Script, at, n uint32) { s.Do(probe.Field, 0, "/args", at, max(n, 1<<20)) },
		"keys buf":   func(s *probe.Script, at, n uint32) { s.Do(probe.Keys, 0, "/args", at, max(n, 1<<20)) },
		"body":       func(s *probe.Script, at, n uint32) { s.Do(probe.Body, 0, 0, at, max(n, 1<<20)) },
	}
}

func TestRangesOutsideOfMemoryAreFaults(t *testing.T) {
	m := loadProbe(t, sandbox.Limits{})
	granted := &fakeHost{random: func([]byte) error { return nil }}
	for name, add := range ranges() {
		s := &probe.Script{}
		for _, r := range [][2]uint32{{memory, 1}, {memory - 1, 2}, {memory + 1, 1}, {maxU32, 1}, {maxU32, 2}, {0x80000000, 100}, {maxU32 - 63, 64}} {
			add(s, r[0], r[1])
		}
		results, _ := play(t, m, s, granted)
		for i, got := range results {
			if abi.Status(got) != abi.Fault {
				t.Errorf("%s, range %d: %d, want fault", name, i, got)
			}
		}
	}
}

// What is both too long and outside may be either error, but never anything else.
func TestLengthsThatOverflow(t *testing.T) {
	m := loadProbe(t, sandbox.Limits{})
	granted := &fakeHost{random: func([]byte) error { return nil }}
	refusals := []abi.Status{abi.Fault, abi.Limit, abi.Unsupported}
	for name, add := range ranges() {
		s := &probe.Script{}
		if name == "log" { // a line that is too long is cut, so its length alone is no error
			add(s, memory, maxU32)
		} else {
			for _, r := range [][2]uint32{{maxU32, maxU32}, {0x80000000, 0x80000000}, {memory - 1, maxU32}, {memory, 1 << 31}} {
				add(s, r[0], r[1])
			}
		}
		results, _ := play(t, m, s, granted)
		for i, got := range results {
			if !slices.Contains(refusals, abi.Status(got)) {
				t.Errorf("%s, range %d: %d, want a refusal", name, i, got)
			}
		}
	}
}

func TestTheLastByteIsInside(t *testing.T) {
	m := loadProbe(t, sandbox.Limits{})
	h := &fakeHost{random: func(p []byte) error { p[0] = 7; return nil }}
	s := new(probe.Script).
		Do(probe.Random, memory-1, 1).Do(probe.Load, memory-1).
		Do(probe.Store, memory-1, '/').Do(probe.Field, 0, memory-1, 1, 0, 0). // "/" names the member ""
		Do(probe.Field, 0, "/args/a", memory-2, 2).Do(probe.Load, memory-1).
		Do(probe.Log, 0, memory-1, 1).
		Do(probe.Append, request, memory-1, 1).
		Do(probe.Append, request, 0, 0).
		Do(probe.Field, 0, 0, 0, 0, 0)
	results, _ := play(t, m, s, h)
	whole := field(abi.KindObject, len(encode(t, input())))
	want := []int64{0, 7, 0, 0, field(abi.KindString, 2), 0xA9, 0, 0, 0, whole}
	if !slices.Equal(results, want) {
		t.Errorf("got %d, want %d", results, want)
	}
}

func encode(t testing.TB, v kernel.Value) []byte {
	t.Helper()
	text, err := kernel.EncodeJSON(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// row is one call and what it answers.
type row struct {
	name string
	f    probe.Func
	args []any
	want int64
}

// check plays every row in a call of its own, so that none sees another's writes.
func check(t *testing.T, m *sandbox.Module, h sandbox.Host, rows []row) {
	t.Helper()
	for _, r := range rows {
		results, _ := play(t, m, new(probe.Script).Do(r.f, r.args...), h)
		if results[0] != r.want {
			t.Errorf("%s: %d (%s), want %d (%s)", r.name, results[0], abi.Status(results[0]), r.want, abi.Status(r.want))
		}
	}
}

func TestPointers(t *testing.T) {
	m := loadProbe(t, sandbox.Limits{})
	path := func(p string) []any { return []any{0, p, 0, 0} }
	set := func(p string) []any { return []any{output, p, textKind, "v"} }
	long := "/" + strings.Repeat("a", 1023)
	tokens := strings.Repeat("/a", 64)
	check(t, m, nil, []row{
		{"no slash", probe.Field, path("args"), int64(abi.Invalid)},
		{"tilde at the end", probe.Field, path("/args/~"), int64(abi.Invalid)},
		{"tilde two", probe.Field, path("/args/~2"), int64(abi.Invalid)},
		{"tilde in an absent document", probe.Field, []any{reply, "/~", 0, 0}, int64(abi.Invalid)},
		{"tilde behind what is not there", probe.Field, path("/none/~"), int64(abi.Invalid)},
		{"escaped slash", probe.Field, path("/args/o/x~1y"), field(abi.KindString, 0)},
		{"escaped tilde", probe.Field, path("/args/o/~0"), field(abi.KindBool, 5)},
		{"64 tokens", probe.Field, path(tokens), 0},
		{"65 tokens", probe.Field, path(tokens + "/a"), int64(abi.Limit)},
		{"65 tokens of keys", probe.Keys, path(tokens + "/a"), int64(abi.Limit)},
		{"65 tokens of set", probe.Set, set(tokens + "/a"), int64(abi.Limit)},
		{"1,024 bytes", probe.Field, path(long), 0},
		{"1,025 bytes", probe.Field, path(long + "a"), int64(abi.Limit)},
		{"1,025 bytes of set", probe.Set, set(long + "a"), int64(abi.Limit)},
		{"set, not UTF-8", probe.Set, set("/\xff"), int64(abi.Invalid)},
		{"index", probe.Field, path("/args/n/1"), field(abi.KindBool, 4)},
		{"index with a zero before it", probe.Field, path("/args/n/01"), 0},
		{"index with a sign", probe.Field, path("/args/n/+1"), 0},
		{"index past the end", probe.Field, path("/args/n/3"), 0},
		{"index that overflows", probe.Field, path("/args/n/18446744073709551617"), 0},
		{"dash", probe.Field, path("/args/n/-"), 0},
		{"through a string", probe.Field, path("/args/a/0"), 0},
		{"null", probe.Field, path("/args/n/2"), field(abi.KindNull, 4)},
		{"keys of an array", probe.Keys, path("/args/n"), int64(3)<<32 | 6},
		{"keys of an object", probe.Keys, path("/args/o"), int64(2)<<32 | 8},
		{"keys of a string", probe.Keys, path("/args/a"), int64(abi.Invalid)},
		{"keys of nothing", probe.Keys, path("/none"), int64(abi.NotFound)},
	})
}

func TestUnknownNumbers(t *testing.T) {
	m := loadProbe(t, sandbox.Limits{})
	granted := &fakeHost{clock: func(abi.ClockID) (int64, error) { return 1, nil }, random: func([]byte) error { return nil }}
	unsupported := int64(abi.Unsupported)
	rows := []row{
		{"kind 8", probe.Set, []any{output, "/v", 8, "1"}, unsupported},
		{"kind -1", probe.Set, []any{output, "/v", maxU32, "1"}, unsupported},
		{"clock 2", probe.Clock, []any{2}, unsupported},
		{"clock -1", probe.Clock, []any{maxU32}, unsupported},
		{"random of 64 KiB", probe.Random, []any{free, 1 << 16}, 0},
		{"random of a byte more", probe.Random, []any{free, 1<<16 + 1}, int64(abi.Limit)},
		{"op of 129 bytes", probe.Call, []any{strings.Repeat("o", 129), 0, 0, 0, 0}, unsupported},
	}
	for _, doc := range []any{5, 1000, 0x80000000, maxU32} {
		name := fmt.Sprint("document ", doc)
		rows = append(rows,
			row{name + " field", probe.Field, []any{doc, "", 0, 0}, unsupported},
			row{name + " keys", probe.Keys, []any{doc, "", 0, 0}, unsupported},
			row{name + " set", probe.Set, []any{doc, "", jsonKind, "{}"}, unsupported},
			row{name + " body", probe.Body, []any{doc, 0, 0, 0}, unsupported},
			row{name + " append", probe.Append, []any{doc, "x"}, unsupported})
	}
	check(t, m, granted, rows)
}

func TestValues(t *testing.T) {
	m := loadProbe(t, sandbox.Limits{})
	set := func(kind abi.Kind, v string) []any { return []any{output, "/v", int(kind), v} }
	rows := []row{
		{"text", probe.Set, set(abi.KindString, "é\x00\n"), 0},
		{"text, not UTF-8", probe.Set, set(abi.KindString, "a\xff"), int64(abi.Invalid)},
		{"text, a surrogate", probe.Set, set(abi.KindString, "\xed\xa0\x80"), int64(abi.Invalid)},
		{"a number of another kind", probe.Set, set(abi.KindBool, "1"), int64(abi.Invalid)},
		{"a huge number keeps its spelling", probe.Set, set(abi.KindNumber, "1e400"), 0},
		{"NaN", probe.Set, set(abi.KindNumber, "NaN"), int64(abi.Invalid)},
		{"nothing", probe.Set, set(abi.KindJSON, ""), int64(abi.Invalid)},
		{"two values", probe.Set, set(abi.KindJSON, "1 2"), int64(abi.Invalid)},
		{"a member twice", probe.Set, set(abi.KindJSON, `{"a":1,"\u0061":2}`), int64(abi.Invalid)},
		{"a lone surrogate", probe.Set, set(abi.KindJSON, `"\ud800"`), int64(abi.Invalid)},
		{"nesting 128", probe.Set, set(abi.KindJSON, nested(128)), 0},
		{"nesting 131", probe.Set, set(abi.KindJSON, nested(131)), int64(abi.Invalid)},
		{"nesting 40,000", probe.Set, set(abi.KindJSON, nested(40_000)), int64(abi.Invalid)},
		{"open brackets", probe.Set, set(abi.KindJSON, strings.Repeat("[", 80_000)), int64(abi.Invalid)},
	}
	for _, op := range []string{"1", "null", "[]", `"x"`, "{} x", `{"a":1,"a":1}`, nested(200)} {
		rows = append(rows, row{"request " + op[:min(len(op), 9)], probe.Call, []any{"a.b", op, 0, 0}, int64(abi.Invalid)})
	}
	check(t, m, &fakeHost{}, rows)
}

func nested(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }

func TestWhatAGuestMayWrite(t *testing.T) {
	m := loadProbe(t, sandbox.Limits{})
	set := func(doc int, path string) []any { return []any{doc, path, textKind, "v"} }
	remove := func(doc int, path string) []any { return []any{doc, path, 0, 0, 0} }
	denied, absent := int64(abi.Denied), int64(abi.NotFound)
	check(t, m, nil, []row{
		{"the whole input", probe.Set, set(0, ""), denied},
		{"the run", probe.Set, set(0, "/run/tenant"), denied},
		{"a new member", probe.Set, set(0, "/principal"), denied},
		{"a name that starts alike", probe.Set, set(0, "/args2"), denied},
		{"an escape of the name", probe.Set, set(0, "/args~1x"), denied},
		{"another case", probe.Set, set(0, "/Args/a"), denied},
		{"the run, by removal", probe.Set, remove(0, "/run"), denied},
		{"the patchable root", probe.Set, set(0, "/args"), 0},
		{"below it", probe.Set, set(0, "/args/a"), 0},
		{"config", probe.Set, set(config, "/x"), denied},
		{"reply", probe.Set, set(reply, "/x"), denied},
		{"body of the input", probe.Append, []any{0, "x"}, denied},
		{"body of config", probe.Append, []any{config, "x"}, denied},
		{"body of the reply", probe.Append, []any{reply, "x"}, denied},
		{"under a string", probe.Set, set(0, "/args/a/b"), absent},
		{"past an array's end", probe.Set, set(0, "/args/n/3"), absent},
		{"at an array's end", probe.Set, set(0, "/args/n/-"), 0},
		{"below an array's end", probe.Set, set(0, "/args/n/-/x"), absent},
		{"what is not there", probe.Set, remove(output, "/x"), absent},
		{"the whole output", probe.Set, remove(output, ""), 0},
	})
}

func TestOffsetsOfABody(t *testing.T) {
	m := loadProbe(t, sandbox.Limits{})
	s := &probe.Script{}
	s.Do(probe.Append, request, "abc").
		Do(probe.Body, request, 1<<32, free, 10).Do(probe.Body, request, uint64(1<<63), free, 10).Do(probe.Body, request, uint64(1<<64-1), free, 10).
		Do(probe.Body, request, 3, memory, 10).Do(probe.Load, free).
		Do(probe.Body, request, 2, free, 10).Do(probe.Load, free).Do(probe.Load, free+1)
	results, _ := play(t, m, s, nil)
	if want := []int64{0, 3, 3, 3, 3, 0, 3, 'c', 0}; !slices.Equal(results, want) {
		t.Errorf("got %d, want %d", results, want)
	}
}
