"""Writes python.jsonl: what CPython (3.12 or later) answers to expressions of the shared subset.

    python3 testdata/python.py > testdata/python.jsonl
"""

import itertools
import json
from decimal import Decimal

SCOPE = {
    "i": 7, "z": 0, "neg": -7, "big": 2**70, "f": 2.5, "g": -0.1, "t": True, "n": None,
    "s": "Hello, Wörld", "e": "", "xs": [3, 1, 2], "ys": ["b", "a"], "nested": [[1, 2], [3, 4]],
}

NUMBERS = ["0", "1", "-1", "2", "7", "-7", "10", "255", "1.0", "0.1", "-2.5", "3.5", "1e16", "1e-5", "123456789.125", "2**53", "2**63", "-2**63",
           "2**64+1", "10**30", "True", "False", "Decimal('2.25')", "Decimal('-7')", "Decimal('0.1')", "1e308", "-0.0", "9007199254740993"]
PAIRED = ["0", "-1", "7", "-7", "0.1", "-2.5", "1e16", "2**53", "-2**63", "2**64+1", "True", "Decimal('2.25')", "Decimal('-7')", "9007199254740993"]
STRINGS = ["''", "'abc'", "'Hello, Wörld'", "'  pad  '", "'a,b,,c'", "'😀é漢'", "'it\\'s'", "'\"q\"'", "'a\\nb\\t\\x00\\u200b'", "'ßſ'", "'ΑΣ'", "'1_000'", "' 42 '", "'0x1F'", "'1e3'", "'nan'", "'-inf'"]
LISTS = ["[]", "[1, 2, 3]", "[3, 1.5, True]", "(1, 'a')", "(1,)", "range(5)", "range(10, 0, -3)", "set([1, 2, 1])", "{'a': 1, 'b': None}", "{1: 'x', 'y': (2,)}", "[[1], [2]]", "'héllo'", "[None, '']"]


def expressions():
    for a, op, b in itertools.product(PAIRED, ["+", "-", "*", "/", "//", "%", "==", "<"], PAIRED):
        yield f"({a}) {op} ({b})"
    for a, b in itertools.product(["0", "1", "-1", "2", "-2", "2.5", "-8", "10", "0.5"], ["0", "1", "-1", "3", "-2", "0.5", "10", "1.5"]):
        yield f"({a}) ** ({b})"
        yield f"pow({a}, {b})"
    for a in NUMBERS:
        for form in ["str({})", "int({})", "float({})", "bool({})", "abs({})", "-({})", "+({})", "not ({})", "[{}]", "round({})", "round({}, 1)", "round({}, 2)", "round({}, -1)", "'{{}}'.format({})", "'%s' % ({})"]:
            yield form.format(a)
        for spec in ["", "d", "x", "#X", "b", "o", "c", "n", "e", ".3e", "f", ".0f", ",.2f", ".2f", "+.1f", " d", "010d", "<10", ">10", "^11", "*^11", "=+12d", "012.3f", ",", "_", "_x", "%", ".1%", "g", ".3g", ".10g", "G", ".3", "#.0f", "010,d", "08,.1f", "s", "10s", "z", ".5d"]:
            yield f"format({a}, {spec!r})"
        for spec in ["%d", "%5d", "%-5d|", "%05d", "%+d", "% d", "%x", "%#x", "%o", "%e", "%.2f", "%08.2f", "%g", "%s", "%r", "%10s|", "%.3d", "%i", "%c"]:
            yield f"{spec!r} % ({a})"
    for s in STRINGS:
        for form in ["str({})", "len({})", "int({})", "int({}, 16)", "int({}, 0)", "float({})", "bool({})", "{}.upper()", "{}.lower()", "{}.strip()", "{}.strip(' a')", "{}.lstrip()", "{}.rstrip()", "{}.split()", "{}.split(',')", "{}.split(None, 1)",
                     "{}.split(',', 1)", "{}.replace('a', 'xy')", "{}.replace('', '-')", "{}.replace('a', '', 1)", "{}.find('b')", "{}.find('l', 3)", "{}.find('')", "{}.index('c')", "{}.count('l')", "{}.count('')", "{}.startswith('a')", "{}.startswith(('H', 'a'))",
                     "{}.endswith('c')", "{}.startswith('e', 1)", "{}.find('l', -4, -1)", "list({})", "sorted({})", "{}[1:]", "{}[::-1]", "{}[-3:]", "{}[::2]", "{}[5:1:-2]", "{} * 3", "3 * {}", "{} * -1", "{} + 'x'", "'l' in {}", "{} < 'b'", "[c for c in {} if c != 'l']", "min({})", "'-'.join({})", "{}",
                     "'%s' % {}", "'%r' % {}", "'%-12s|' % {}", "'%.2s' % {}", "'{{!r:>15}}'.format({})", "'{{!s}}'.format({})", "'{{!a}}'.format({})"]:
            yield form.format(s)
        for spec in ["", "s", "10", ">12", "^15", "*<14", ".2", "=5", "d", "010", "é>15"]:
            yield f"format({s}, {spec!r})"
    for l in LISTS:  # noqa: E741
        for form in ["len({})", "bool({})", "list({})", "tuple({})", "sum({})", "min({})", "max({})", "sorted({})", "sorted({}, reverse=True)", "list(reversed({}))", "all({})", "any({})", "1 in list({})", "'a' in {}", "2.0 in list({})", "{} == {}", "[x for x in {}]",
                     "list(zip({}, 'ab'))", "{}[1:]", "{}[::-1]", "{}[:2]", "{}[-2:]", "{}[10:0:-2]", "{} * 2", "{} + {}", "dict(zip({}, 'abc'))", "len(set({}))", "[{}, {}]", "str([{}])", "'%s' % [{}]", "min({}, default=0)", "{}.count(1)", "{}.index(3)"]:
            yield form.replace("{}", l)
        for m in LISTS:
            yield f"{l} == {m}"
    yield from (line for line in MORE.strip().splitlines() if line.strip())


MORE = r"""
1 if i > 3 else 2
i > 3 > 1 < 2
0 < i <= 7 != 8
not i == 7 or f
n or e or 'x'
t and i and e
[x * y for x in xs for y in xs if x < y]
[[y for y in x] for x in nested]
{x: x * x for x in xs}
{k: v for k, v in zip(ys, xs)}
len({x % 2 for x in xs})
[a + b for a, b in nested]
[a for (a, b) in nested]
[x for x in xs if x > 1 if x < 3]
[(i, x) for i, x in zip(range(3), xs)]
sum([x for x in xs]) / len(xs)
sum([0.1] * 10)
sum([0.1, 1e16, -1e16])
sum([[1], [2]], [])
sum([1, 2], start=10)
sum([True, True])
sum(['a'])
-2 ** 2
2 ** -1
2 ** 3 ** 2
(-2) ** 2
- - 1
1 - -1
7 // 2 * 2 + 7 % 2
1 + 2 * 3 - 4 / 2
(1, 2) + (3,)
()
(1)
1, 2
[1, 2,]
{}
'a' 'b' "c"
'''tri'ple'''
r'\n\d'
'\x41\u00e9\U0001F600\101\0'
'\q'
0x_ff
0b101 + 0o17
1_000.5
.5 + 5.
1e3
1E-3
0xFF
00
[1, 2, 3][1:][0]
nested[1][0]
xs[0:2] + xs[2:]
xs[-1], xs[-3]
xs[True]
'abc'.upper().lower().find('c')
', '.join(['a', 'b'])
', '.join([])
','.join({'a': 1, 'b': 2})
'{} {}'.format(1, 'a')
'{1} {0} {1}'.format('a', 'b')
'{a} {b:>5}|'.format(a=1, b='x')
'{0[k]} {0[j]}'.format({'k': 1, 'j': [2]})
'{0[0]} {0[1]}'.format(['x', 'y'])
'{{}} {}'.format(1)
'{:{}}|'.format('a', 5)
'{:{w}.{p}f}'.format(3.14159, w=10, p=2)
'{!r} {!s}'.format('a', 'b')
'{:,}'.format(1234567)
'{:%}'.format(0.25)
'{'.format(1)
'}'.format(1)
'{}'.format()
'{x}'.format(y=1)
'{0} {}'.format(1, 2)
'{} {0}'.format(1, 2)
'{:>10} {:<5}|{:^7}|'.format('a', 'b', 'c')
'%s %s' % ('a', 1)
'%(a)s-%(b)03d' % {'a': 1, 'b': 2}
'%s' % (1, 2)
'%s %s' % 'a'
'%d%%' % 50
'%' % 1
'%s' % None
'%s' % [1, 2]
'%s' % ((1, 2),)
'%5.1f|%-8s|%+d' % (2.25, 'ab', 3)
'no' % []
'no' % {}
'no' % 1
'%d' % 2.9
'%d' % 'a'
'%x' % 2.5
'%c%c' % (65, 'b')
'%e' % 12345.678
'%g' % 1e10
'%G' % 1e-10
'%r' % 'a\nb'
'%5s|%-5s|' % ('é', '漢')
{'a': 1} == {'a': 1.0}
{1: 'a', True: 'b', 1.0: 'c'}
{'b': 1, 'a': 2}
{'a': {'b': [1, (2, None)]}}
set([1, 2]) == set([2, 1])
set([1]) < set([1, 2])
set([1, 2]) >= set([1])
set([1, 2]) - set([2])
set([1.0, 1, True])
len(set([(1, 2), (1, 2), (1.0, 2)]))
set([[1]])
{[1]: 2}
[1, 2] < [1, 2, 3]
[1, 'a'] < [1, 'b']
(1, 2) < (1, 3)
[1] == (1,)
'a' < 'B'
'Z' < 'a'
1 == 1.0 == True
1 != 1.5
2**53 == 2.0**53
2**53 + 1 == 2.0**53
2**53 + 1 > 2.0**53
Decimal('0.1') == 0.1
Decimal('0.5') == 0.5
Decimal('0.1') + 1
Decimal('1') / Decimal('3')
Decimal('1.10') + Decimal('2.205')
Decimal('1e3')
Decimal('7') // Decimal('-2')
Decimal('7') % Decimal('-2')
Decimal('-7') % Decimal('2')
Decimal('2') ** 10
Decimal(0.1)
Decimal('1') + 0.5
Decimal('x')
round(Decimal('2.675'), 2)
round(Decimal('2.5'))
str(Decimal('1.50'))
int(Decimal('-3.9'))
sum([Decimal('0.1')] * 3)
Decimal('1.5') > 1
max(Decimal('1.5'), 2)
round(2.675, 2)
round(-0.5)
round(0.5)
round(1.5)
round(1e20)
round(123456, -3)
round(-15, -1)
round(25, -1)
round(1e22, 2)
round(5.015, 2)
round(1234.5678, -2)
round(6.0, -1)
round(5.0, -1)
round(15.0, -1)
round(2.5, None)
round(True)
round('a')
int('12')
int(' -12 ')
int('1_0')
int('1__0')
int('')
int('1.5')
int('ff', 16)
int('0xff', 16)
int('0b11', 0)
int('z', 36)
int('12', 40)
int(1e20)
int(-0.9)
int(None)
int([1])
int(float('nan'))
float('1_0.5')
float('  1e5 ')
float('infinity')
float('0x1p3')
float('')
float(None)
str(1e16)
str(1e15)
str(123456789012345680.0)
str(1e-4)
str(0.00001)
str(1.5e300)
str(-0.0)
str(100.0)
str([1.0, 'a', None, True, {'k': (1,)}])
range(5)
range(0, 10, 3)
list(range(5, 0, -2))
range(3)[1]
range(10)[2:8:3]
range(10)[::-1]
list(range(10)[-3:])
5 in range(0, 10, 5)
4 in range(0, 10, 5)
len(range(10**7))
range(0)
range(1, 2, 0)
range(1.5)
range(3) == range(0, 3, 1)
list(zip([1, 2], 'ab', (True, False)))
list(zip())
dict([('a', 1), ['b', 2]])
dict(a=1, b=2)
dict({'a': 1}, b=2)
dict([1])
tuple('ab')
list({'a': 1})
list(5)
max([])
max('a', 1)
max(1, 2.5, True)
min('b', 'a')
max([1, 2], [1, 3])
min([3, 1, 2])
max([], default=None)
sorted(['b', 'A', 'a'])
sorted([1, 'a'])
sorted([(2, 'a'), (1, 'b')])
sorted({'b': 1, 'a': 2})
sorted('hello')
sorted([3, 1, 2], reverse=True)
sorted([1, True, 1.0])
abs(-5), abs(-2.5)
abs('a')
len(5)
len(None)
'a' + 1
[1] + (1,)
None + 1
'a' * 2.0
[1] * 2
2 * [1]
'abc'[1:2], 'abc'[::-1]
'abc'[::0]
[1, 2, 3][None:2]
[1, 2, 3]['a':]
'a' in 'abc', '' in 'a'
'a' not in ['b']
1 in {1: 2}
None in [None]
{'a': 1}.get('a'), {'a': 1}.get('b'), {'a': 1}.get('b', 2)
list({'a': 1, 'b': 2}.items())
list({'a': 1, 'b': 2}.keys())
list({'a': 1, 'b': 2}.values())
[k + str(v) for k, v in {'a': 1, 'b': 2}.items()]
{'a': 1}.copy()
[1, 2].copy()
[1, 2, 1].index(1, 1)
(1, 2).index(2)
(1, 2, 2).count(2)
range(5).count(3)
range(5).index(3)
'abc'.count('b', 2)
'aaa'.replace('a', 'b', 2)
'abcabc'.find('c', 3)
'abc'.index('z')
'a'.join(['1', 2])
'a b  c '.split(None, 1)
'  a b '.split(None, 0)
'a,b,c'.split(',', -1)
'a,b,c'.split(sep=',', maxsplit=1)
'abc'.split('')
'x\x1cy\u2003z'.split()
'tEST'.upper()
'İ'.lower()
'ŉ'.upper()
'ÀÉ'.lower()
True + True
True * 2.5
-True
+False
not None
not []
not 'a'
pow(2, 10, 1000)
pow(3, -1, 7)
pow(2, -1, 4)
pow(2, 3, 0)
pow(2, 3, -5)
0 ** 0
0 ** -1
0.0 ** -1
(-8) ** 0.5
10.0 ** 400
1e308 * 10 > 1e308
2 ** 0.5
10 ** -2
1e16 + 1
0.1 + 0.2
1 / 3
-7 // 2
-7 % 3
7 % -3
-7.5 // 2
-7.5 % 2
7.5 % -2
1e300 // 1e-300
5 % 0.3
-5 % 0.3
1 // 0.1
2**64 / 3
10**30 / 10**28
10**400 / 10**399
10**400 * 1.0
2**100 % 97
-2**100 // 7
2**64 - 2**64
2**63 - 1 + 1
-2**63 - 1
9223372036854775807 * 2
9223372036854775807 * -1
-9223372036854775808 // -1
1 is True
None is None
'\u00e9' == 'é'
"""


def answer(source):
    """The source and the repr of its value, or the source alone where it raises."""
    env = dict(SCOPE, Decimal=Decimal, reversed=lambda x: list(reversed(x)))
    try:
        v = eval(source, env)
    except Exception:
        return [source]
    return [source] if isinstance(v, complex) else [source, repr(v)]


if __name__ == "__main__":
    import warnings

    warnings.simplefilter("ignore")
    print(json.dumps(SCOPE))
    for source in dict.fromkeys(expressions()):
        print(json.dumps(answer(source)))
