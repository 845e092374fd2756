package expr

import (
	"encoding/json"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
)

// FuzzEval: whatever the expression, it never panics, spends no more than its steps
// and memory in proportion to them, and gives JSON or an error that says why and how
// to fix it. Predicate agrees with Eval.
func FuzzEval(f *testing.F) {
	g, scope := readGolden(f)
	for _, c := range g.Cases {
		f.Add(c.Expr)
	}
	for _, source := range hostile {
		if len(source) < 300 {
			f.Add(source)
		}
	}
	for _, source := range strings.Split(seeds, "\n") {
		f.Add(source)
	}
	scope["$input"] = map[string]any{"a": json.Number("1e400"), "b": "é\xff\x00", "c": []any{json.Number(strings.Repeat("7", 2000))}}
	f.Fuzz(func(t *testing.T, source string) {
		p, err := Compile(source)
		if err != nil {
			checkError(t, err, kernel.CodeExpression)
			return
		}
		for _, r := range p.References() {
			if !strings.HasPrefix(source[r.Offset:], r.Path[0]) {
				t.Fatalf("%q: %q is not at %d", source, r.Path, r.Offset)
			}
		}
		m := p.machine(scope)
		before := allocated()
		v, fault := p.eval(m)
		if fault == nil {
			_, _ = m.result(v)
		}
		if used := allocated() - before; used > 256<<20 {
			t.Fatalf("%q allocated %d bytes", source, used)
		}
		if m.steps < -1 || m.steps > maxSteps || len(m.stack) != 0 {
			t.Fatalf("%q: %d steps are left, %d arguments", source, m.steps, len(m.stack))
		}
		p.release(m)
		result, err := p.Eval(clock{scope})
		if err != nil {
			checkError(t, err, kernel.CodeExpressionFailed, kernel.CodeLimit)
			return
		}
		text, err := kernel.EncodeJSON(result)
		if err != nil || len(text) > 4*maxResult || !json.Valid(text) {
			t.Fatalf("%q gave %d bytes of JSON, %v", source, len(text), err)
		}
		again, err := p.Eval(clock{scope})
		if err != nil {
			t.Fatal(err)
		}
		if second, err := kernel.EncodeJSON(again); err != nil || string(second) != string(text) {
			t.Fatalf("%q gave %s, then %s", source, text, second)
		}
		if _, err := p.Predicate(scope); err != nil {
			t.Fatalf("%q has a value, and as a predicate: %v", source, err)
		}
	})
}

type clock struct{ Map }

func (clock) Now() time.Time { return time.Date(2026, 1, 31, 12, 30, 0, 250_000_000, time.UTC) }

func allocated() uint64 {
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.TotalAlloc
}

func checkError(t *testing.T, err error, codes ...kernel.Code) {
	t.Helper()
	var e *kernel.Error
	if !errors.As(err, &e) || e.What == "" || e.Why == "" || e.Fix == "" || strings.ContainsAny(e.Error(), "\x00\x1b\n") {
		t.Fatalf("not a whole error: %q", err)
	}
	for _, code := range codes {
		if e.Code == code {
			return
		}
	}
	t.Fatalf("code %s of %v", e.Code, err)
}

const seeds = `$input.a + 1
$input.b.upper()[::-1] + $input.c.0
users[0].name.split('')[0]
a.b.0.c[1:2, 3]
{k: [v for v in d.values() if v] for k, v in d.items()}
'{0[x][y]:>{1}} {!r}'.format(d, 9)
'%(k)-10s|%%' % d
format(b, '+_=12,.3%')
pow(3, 2, 7) // -2 ** 2 % 5.5
Decimal('1.10') / 3 - Decimal(0.1)
round(-1234.5678, -2), round(Decimal('2.5'))
sorted(set([1, 1.0, True, 'a'][:3]), reverse=True)
zip(range(3), 'abc', [None] * 3)
now() < utcnow() or timestamp('2026-01-01') > 1
format(now(), '%Y-%m-%dT%H:%M:%S.%f%z')
not a if t is True else f is not None
[x for (x, [y, z]) in [(1, (2, 3))] if y < z < 4 != x]
r'\d' "\x41\u00e9\N{DASH}" '''a
b'''
int('0x_f', 0) + int(' 7 ', base=10) + 0b1_0
default(nope.x, coalesce(n, d.nul, dict(a=1, **{})))
1 <= a < 2.5 in [2.5] not in [[]]
lambda x: x ** y
f'{a}' + b'x'
a := 1; b
# a comment`
