# Writes jinja.json: what Jinja2 makes of templates that this package has to
# render alike. Run it with Jinja2 3.1: python3 jinja.py > jinja.json
import json
import sys

import jinja2
from jinja2.sandbox import SandboxedEnvironment

DATA = {
    "name": "Ada", "n": 3, "f": 2.5, "empty": "", "zero": 0, "yes": True, "nothing": None, "s": "  pad  ", "long": "a\nb\nc",
    "xs": [3, 1, 2], "words": ["b", "a"], "none_of": [], "m": {"k": "v", "n": {"deep": [10, {"x": "y"}]}}, "pairs": [["a", 1], ["b", 2]],
    "spec": {"variables": {"env": "dev", "count": 2, "flag": False}},
}

TEMPLATES = r"""
plain {{ name }} text
{{name}}{{ n }}{{   f   }}
{{ yes }} {{ nothing }} {{ xs }} {{ m.k }} {{ words }}
{{ spec.variables.env }}-{{ spec.variables.count }}
{{ m.n.deep[1].x }}{{ m['k'] }}{{ m["n"]["deep"][0] }}
{{ xs[0] }}{{ xs[-1] }}{{ name[0:2] }}
{{ n + 1 }} {{ n * 2 }} {{ n / 2 }} {{ n // 2 }} {{ n % 2 }} {{ n ** 2 }} {{ -n }}
{{ name + '!' }} {{ 'a' 'b' }}
{{ n > 2 and f < 3 }} {{ not yes }} {{ n == 3 or boom }} {{ 1 in xs }} {{ 'z' not in words }}
{{ 'y' if yes else 'n' }} {{ 'y' if empty else 'n' }}
{{ true }} {{ false }} {{ none }} {{ True }}
{{ {'a': {'b': 1}} }} {{ [1, [2]] }}
{{ '}}' }} {{ "{{" }} {{ '%}' }}
{{ "it's" }} {{ 'say "x"' }} {{ 'a\nb' }}
{{ name | upper }} {{ name|lower }} {{ 'aBC' | capitalize }} {{ s | trim }}|
{{ '--x--' | trim('-') }}
{{ 'aXbX' | replace('X', '-') }} {{ 'aXbX' | replace('X', '-', 1) }} {{ 'aXbX' | replace(old='X', new=name|lower) }}
{{ words | join }} {{ words | join(', ') }} {{ xs | join('-') }} {{ xs | join(d=' ') }}
{{ xs | length }} {{ xs | count }} {{ name | length }} {{ m | length }}
{{ xs | length > 2 }} {{ 1 + xs | length }} {{ xs | length + 1 }} {{ not xs | length }}
{{ xs | sort }} {{ xs | sort(reverse=true) }} {{ xs | first }} {{ xs | last }} {{ xs | sort | first }}
{{ 'abc' | reverse }} {{ xs | reverse | list }} {{ 'abc' | first }}{{ 'abc' | last }} {{ 'ab' | list }}
{{ xs | sum }} {{ xs | sum(start=10) }} {{ xs | min }} {{ xs | max }} {{ -3 | abs }} {{ n - 5 | abs }}
{{ '42' | int }} {{ '42.7' | int }} {{ 'x' | int }} {{ 'x' | int(7) }} {{ 'x' | int(default=8) }} {{ f | int }} {{ '2.5' | float }} {{ 'x' | float }} {{ 'x' | float(1.5) }}
{{ 2.567 | round(1) }} {{ 2.5 | round }} {{ 3 | round }}
{{ n | string + '!' }} {{ f | string }}
{{ missing | default('d') }} {{ m.gone | default('d') }} {{ empty | default('d') }}| {{ empty | default('d', true) }} {{ zero | d(5, boolean=true) }} {{ nothing | default('d') }} {{ missing | default }}| {{ name | default('d') }}
{{ missing | default(name | upper) }} {{ missing | d('a') | upper }}
{{ (missing | default(3)) + 1 }} {{ [missing | default(1), 2] }} {{ 'x' if missing is defined else 'u' }}
{{ name is defined }} {{ missing is defined }} {{ missing is not defined }} {{ missing is undefined }} {{ m.k is defined }} {{ m.z is defined }}
{{ nothing is none }} {{ n is not none }} {{ name is string }} {{ n is number }} {{ yes is boolean }} {{ m is mapping }} {{ xs is sequence }} {{ n is string }}
{{ not missing is defined }} {{ name is string and n is number }}
{{ name.upper() | lower }} {{ (name) | lower }} {{ m.get('k') | upper }} {{ 'A' | lower + 'b' | upper }}
{{ m.items() | length }} {{ m.k | replace('v', 'w') | upper }}
{{ long | indent }} {{ long | indent(2) }} {{ long | indent(width=1) }}
{% if yes %}a{% endif %} {% if empty %}a{% else %}b{% endif %} {% if zero %}a{% elif n == 3 %}c{% else %}d{% endif %}
{% if xs %}x{% endif %}{% if none_of %}y{% endif %}{% if nothing %}z{% endif %}{% if not m %}w{% endif %}
{% if yes %}{% if zero %}1{% else %}2{% endif %}{% endif %}
{% for x in xs %}{{ x }},{% endfor %}
{% for x in xs %}{{ loop.index }}/{{ loop.index0 }}/{{ loop.first }}/{{ loop.last }}/{{ loop.length }} {% endfor %}
{% for x in none_of %}a{% else %}none{% endfor %} {% for x in xs %}{{ x }}{% else %}none{% endfor %}
{% for a, b in pairs %}{{ a }}={{ b }};{% endfor %} {% for k, v in m.items() %}{{ k }}{% endfor %}
{% for c in name %}[{{ c }}]{% endfor %} {% for k in m %}{{ k }} {% endfor %}
{% for x in xs | sort %}{{ x }}{% endfor %} {% for x in range(3) %}{{ x }}{% endfor %} {% for x in xs[1:] %}{{ x }}{% endfor %}
{% for x in xs %}{% for y in words %}{{ x }}{{ y }}{{ loop.index }} {% endfor %}{{ loop.index }} {% endfor %}
{% for x in xs %}{% if loop.last %}.{% else %}{{ x }}, {% endif %}{% endfor %}
{% for x in xs %}{{ x }}{% if not loop.last %}, {% endif %}{% endfor %}
{% set a = 1 %}{{ a }}{% set a = a + 1 %}{{ a }}
{% set a = 1 %}{% for x in xs %}{% set a = x %}{{ a }}{% endfor %}{{ a }}
{% if yes %}{% set a = 5 %}{% endif %}{{ a }}
{% for x in xs %}{{ name }}{% endfor %}{{ name }}
{% set xs = words %}{{ xs | join }}
{% raw %}{{ not }} {% for %}{# x #}{% endraw %}!
{# comment {{ x }} #}a{# two⏎lines #}b
a  {{- name -}}  b
a  {%- if yes -%}  b  {%- endif -%}  c
a {#- c -#} b
a {%- raw -%} {{ x }} {%- endraw -%} b
{% for x in xs -%}⏎  {{ x }}⏎{%- endfor %}
a⏎ {%- if yes %}⏎b⏎{%- endif %}⏎⏎ {{- 'c' -}} ⏎ d⏎
{{ "a" }}
x{{ 1 }}
{{ 1 -}}
{ {name} } {{{ 'a': 1 }}} % } #}
{{ 5 }}%{{ 6 }} {{ '{%' }}
{{- ' a ' -}}
{{ nothing or 'x' }} {{ empty or name }} {{ n and f }}
{{ 1 < n < 5 }} {{ xs == [3, 1, 2] }}
{{ xs|length }}{{ xs | first|string }}
{{ (xs | length) * 2 }} {{ (words | join('-')) + '!' }}
{{ m.n.deep[0] | string }} {{ m.n.deep | length }}
"""

FAILING = r"""
{{ missing }}
{{ m.gone }}
{{ m.gone.deeper }}
{{ missing | upper }}
{% if missing %}x{% endif %}
{% for x in missing %}x{% endfor %}
{% set a = missing %}{{ a }}
{% for x in xs %}{% set b = x %}{% endfor %}{{ b }}
{{ loop.index }}
{{ x
{{ }}
{% if yes %}
{% endif %}
{% for x in xs %}
{% else %}
{% for x xs %}{% endfor %}
{% for 1 in xs %}{% endfor %}
{% if yes %}{% endfor %}
{% if yes %}{% else %}{% else %}{% endif %}
{% set 1 = 2 %}
{# x
{% nope %}
{% %}
{{ name | }}
{{ name | nope }}
{{ name | replace('a') }}
{{ name | upper(1) }}
{{ | upper }}
{{ n + }}
{{ 'a }}
{{ xs | join(, ) }}
{{ 1 / 0 }}
{{ name + 1 }}
{% for a, b in xs %}{% endfor %}
{% for x in n %}{% endfor %}
{{ 'a' ~ }}
{{ name is nope }}
{% endraw %}
"""


def environment():
    return SandboxedEnvironment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)


def split(text):
    """A template is a line; its own line ends are written ⏎."""
    return [line.replace("⏎", "\n") for line in text.strip("\n").split("\n")]


def main():
    renders = []
    for template in split(TEMPLATES):
        renders.append({"template": template, "want": environment().from_string(template).render(DATA)})
    fails = []
    for template in split(FAILING):
        try:
            got = environment().from_string(template).render(DATA)
            sys.exit(f"{template} renders as {got}")
        except Exception:
            fails.append(template)
    json.dump({"data": DATA, "renders": renders, "fails": fails}, sys.stdout, indent=1)
    print()


main()
