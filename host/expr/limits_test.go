package expr

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/host/kernel"
)

// hostile are expressions that try to cost much. Each ends in an error of a limit,
// before it runs or while it does; benchmarks show in what time.
var hostile = map[string]string{
	"power":                 "2**10**9",
	"power of a big":        "(2**4000)**4000",
	"power of a name":       "a**10**18",
	"negative power":        "(0-3)**10**6",
	"powers in a list":      "[x**999 for x in range(10**5)]",
	"modular power":         "[pow(3**2500, 3**2500, 3**2500) for x in range(1000)]",
	"big products":          "[(3**2500) * (3**20) for x in range(100000)]",
	"big quotients":         "[(3**2500) / (3**2499 + x) for x in range(100000)]",
	"big texts":             "[str(3**2500) for x in range(100000)]",
	"shifted by hand":       "1" + strings.Repeat("*2**4000", 9),
	"range":                 "range(10**7)",
	"list of a range":       "list(range(10**7))",
	"sum of a range":        "sum(range(10**7))",
	"any of a range":        "any([x > 10**8 for x in range(10**7)])",
	"reversed range":        "reversed(range(10**7))",
	"sorted range":          "sorted(range(10**7))",
	"zip of ranges":         "zip(range(10**7), range(10**7))",
	"set of a range":        "set(range(10**7))",
	"range of a big":        "range(10**30)",
	"count in a range":      "range(10**7).count('a')",
	"text times":            "'a'*10**9",
	"text times a big":      "'a'*10**30",
	"times text":            "10**9*'a'",
	"list times":            "[0]*10**9",
	"list times a big":      "[0]*2**63",
	"lists times":           "[[0]*1000]*1000",
	"doubling":              "'a'*1000*1000*1000",
	"brackets":              strings.Repeat("(", 10_000) + strings.Repeat(")", 10_000),
	"lists":                 strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000),
	"dicts":                 strings.Repeat("{1:", 10_000) + "1" + strings.Repeat("}", 10_000),
	"calls":                 strings.Repeat("str(", 10_000) + strings.Repeat(")", 10_000),
	"subscripts":            strings.Repeat("a[", 10_000) + strings.Repeat("]", 10_000),
	"minuses":               strings.Repeat("-", 60_000) + "1",
	"nots":                  strings.Repeat("not ", 10_000) + "1",
	"conditions":            strings.Repeat("1 if a else ", 5_000) + "1",
	"powers":                strings.Repeat("2**", 10_000) + "1",
	"clauses":               strings.Repeat("[x for x in ", 5_000) + "a" + strings.Repeat("]", 5_000),
	"targets":               "[x for " + strings.Repeat("(", 10_000) + "x" + strings.Repeat(",)", 10_000) + " in a]",
	"attributes of a call":  "str(1)" + strings.Repeat(".upper()", 5_000),
	"long":                  "'" + strings.Repeat("a", 100_000) + "'",
	"long number":           strings.Repeat("9", 60_000),
	"nested loops":          "[1 for a in range(10**4) for b in range(10**4) for c in range(10**4)]",
	"loops in loops":        "[[[1 for a in range(10**3)] for b in range(10**3)] for c in range(10**3)]",
	"loops that give none":  "[1 for a in range(10**4) for b in range(10**4) if 0]",
	"loops over constants":  "[[" + strings.Repeat("1,", 20_000) + "] for a in range(10**5)]",
	"shared lists":          "[[L for i in range(300)] for L in [[M for j in range(300)] for M in [list(range(300))]]]",
	"shared text":           "['a'*1000000 for x in range(10)] and [s for s in ['a'*1000000] for i in range(10**5)]",
	"data many times":       "[data for i in range(90000)]",
	"data as text":          "[str(data) for i in range(10000)]",
	"data as JSON":          "{i: data for i in range(20000)}",
	"width":                 "format(1,'1000000000d')",
	"precision":             "format(1.5,'.1000000000f')",
	"width of a field":      "'{:1000000000}'.format(1)",
	"width in a field":      "'{:{}}'.format(1, 10**9)",
	"width of a percent":    "'%1000000000d' % 1",
	"precision of percent":  "'%.1000000000f' % 1.5",
	"fields":                "['{}{}{}{}{}{}{}{}{}{}'.format(t,t,t,t,t,t,t,t,t,t) for t in ['a'*100000] for i in range(1000)]",
	"wide fields":           "'" + strings.Repeat("{:1000}", 8_000) + "'.format(" + strings.Repeat("1,", 8_000) + ")",
	"integer text":          "int('9'*100000)",
	"integer text in hex":   "int('f'*100000, 16)",
	"float text":            "[float('1'*1000) for i in range(100000)]",
	"spaces before a digit": "[int(' '*100000 + '1') for i in range(100000)]",
	"join":                  "('a'*1000).join(['b'*1000 for i in range(100000)])",
	"join long":             "('a'*1000000).join(['b','c','d'])",
	"join text":             "'ab'.join('c'*1000000)",
	"replace":               "('a'*100000).replace('a', 'b'*100000)",
	"replace nothing":       "('a'*1000000).replace('', 'bb')",
	"replace in a loop":     "[('a'*100000).replace('a', 'b') for i in range(1000)]",
	"split":                 "('a,'*500000).split(',')",
	"split at spaces":       "('a '*500000).split()",
	"characters":            "list('a'*1000000)",
	"upper":                 "['ß'*100000 for i in range(100) if ('ß'*100000).upper()]",
	"find":                  "[('a'*1000000).find('a'*500000 + 'b') for i in range(1000)]",
	"strip":                 "[('a'*500000).strip('abcdefghijklmnopqrstuvwxyz') for i in range(1000)]",
	"in text":               "['b' in t for t in ['a'*1000000] for i in range(100000)]",
	"equal texts":           "[t == u for t in ['a'*1000000] for u in ['a'*1000000] for i in range(100000)]",
	"equal lists":           "[t == u for t in [[0]*50000] for u in [[0]*50000] for i in range(100000)]",
	"sorted texts":          "sorted(['a'*1000 + str(i) for i in range(4000)])",
	"slices":                "[t[1:] for t in [[0]*50000] for i in range(100000)]",
	"slices of text":        "[t[::2] for t in ['é'*100000] for i in range(100000)]",
	"sum of lists":          "sum([[0]*100 for i in range(1000)], [])",
	"sum of texts":          "[sum([[t] for t in range(1000)], []) for i in range(100)]",
	"keys":                  "{('a'*1000, i): 1 for i in range(100000)}",
	"tuple keys":            "[set([t]) for t in [tuple(range(50000))] for i in range(1000)]",
	"Decimal":               "Decimal('1e999999999')",
	"Decimal digits":        "Decimal('9'*1000000)",
	"Decimal sums":          "[Decimal('1e1999') + Decimal('1e-1999') for i in range(100000)]",
	"Decimal powers":        "[Decimal('1.1') ** 9999 for i in range(100000)]",
	"Decimal comparisons":   "[Decimal('1e1999') < 1e-300 for i in range(100000)]",
	"Decimal integers":      "int(Decimal('1e1999'))",
	"round":                 "[round(3**2500, 0-2000) for i in range(100000)]",
	"floats":                "[round(1e300, 300) for i in range(100000)]",
	"float powers":          "[1.0000001**65535.0625 for i in range(100000)]",
	"float integers":        "[int(1e300) * int(1e300) for i in range(100000)]",
	"times":                 "[format(now(), '%Y'*10000) for i in range(1000)]",
	"percent":               "['%s' % t for t in ['a'*100000] for i in range(1000)]",
	"repr":                  "['%r' % t for t in ['\\n'*100000] for i in range(1000)]",
	"ascii":                 "['%a' % t for t in ['é'*100000] for i in range(1000)]",
	"max":                   "[max(t) for t in [['a'*10000]*1000] for i in range(1000)]",
	"unpacking":             "[1 for x, y in ['a'*1000000]]",
	"huge number in data":   "huge + 1",
	"dict of pairs":         "dict([(i, i) for i in range(10**6)])",
	"any of texts":          "[any(t) for t in ['a'*1000000] for i in range(1000)]",
}

func hostileScope() Map {
	list := make([]any, 2000)
	for i := range list {
		list[i] = json.Number("1234567890")
	}
	return Map{"a": json.Number("3"), "data": list, "huge": json.Number(strings.Repeat("9", 100_000))}
}

func TestLimits(t *testing.T) {
	scope := hostileScope()
	for name, source := range hostile {
		t.Run(name, func(t *testing.T) {
			p, err := Compile(source)
			code := kernel.CodeExpression
			if err == nil {
				code = kernel.CodeLimit
				_, err = p.Eval(scope)
			}
			var e *kernel.Error
			if !errors.As(err, &e) || e.Code != code && e.Code != kernel.CodeExpressionFailed {
				t.Fatalf("%v", err)
			}
			if !strings.Contains(e.Why, "limit") || e.Fix == "" {
				t.Errorf("does not name its limit: %s (%s)", e.Why, e.Fix)
			}
			if strings.ContainsAny(e.What+e.Why+e.Fix, "\n\x1b") || len(e.Error()) > 2000 {
				t.Errorf("%d bytes: %q", len(e.Error()), e.Error())
			}
		})
	}
}

// TestWithinLimits: what people write is far from every limit.
func TestWithinLimits(t *testing.T) {
	lines := make([]any, 10_000)
	for i := range lines {
		lines[i] = map[string]any{"name": fmt.Sprint("n", i), "price": json.Number("2.5"), "qty": json.Number("3")}
	}
	scope := Map{"lines": lines, "doc": strings.Repeat("a line of text\n", 30_000), "names": []any{"x", "y"}}
	for source, want := range map[string]string{
		"sum([l.price * l.qty for l in lines if l.qty > 1])":    "75000.0",
		"len(doc.split('\\n'))":                                 "30001",
		"len([l for l in doc.split('\\n') if l.strip()])":       "30000",
		"len(sorted([l.name for l in lines], reverse=True))":    "10000",
		"len({l.name: l for l in lines})":                       "10000",
		"len(join(', ', [l.name for l in lines]))":              "68888",
		"max([len(n.name) for n in lines])":                     "5",
		"2 ** 4095 > 10 ** 1000":                                "true",
		strings.Repeat("(", 90) + "1" + strings.Repeat(")", 90): "1",
		strings.Repeat("1 + ", 5000) + "1":                      "5001",
		"len('" + strings.Repeat("x", 60_000) + "')":            "60000",
	} {
		p, err := Compile(source)
		if err != nil {
			t.Errorf("%.60s: %v", source, err)
			continue
		}
		v, err := p.Eval(scope)
		if err != nil {
			t.Errorf("%.60s: %v", source, err)
			continue
		}
		if got, _ := kernel.EncodeJSON(v); string(got) != want {
			t.Errorf("%.60s: %s, want %s", source, got, want)
		}
	}
}

// BenchmarkHostile shows how long a hostile expression keeps a machine busy, from
// its text to its error. The aim is 50 ms.
func BenchmarkHostile(b *testing.B) {
	scope := hostileScope()
	for name, source := range hostile {
		b.Run(strings.ReplaceAll(name, " ", "-"), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				p, err := Compile(source)
				if err == nil {
					_, err = p.Eval(scope)
				}
				if err == nil {
					b.Fatal("no error")
				}
			}
		})
	}
}
