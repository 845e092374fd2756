package main

import (
	"strings"
	"testing"
)

func TestExpr(t *testing.T) {
	at := folder(t, map[string]string{"d.json": `{"lines": [{"price": 12.5, "qty": 2}, {"price": 0.5, "qty": 4}]}`, "s.json": `{"n": 3}`, "list.json": `[1]`})
	for _, c := range []struct {
		args []string
		in   string
		want string
	}{
		{[]string{"1 + 1"}, "", "2\n"},
		{[]string{"-2 ** 2"}, "", "-4\n"},
		{[]string{"9 ** 0.5"}, "", "3.0\n"},
		{[]string{"{'a': (1, None), 'b': 'é\\n'}"}, "", `{"a":[1,null],"b":"é\n"}` + "\n"},
		{[]string{"sum([l.price * l.qty for l in lines])", "--data", "@" + at("d.json")}, "", "27.0\n"},
		{[]string{"lines.0.qty + state.n", "--data", "@" + at("d.json"), "--state", "@" + at("s.json")}, "", "5\n"},
		{[]string{"$input.x or default(y, 'none')", "--data", `{"$input": {"x": 0}}`}, "", "\"none\"\n"},
		{[]string{"state", "--state", "[1, 2.50]"}, "", "[1,2.50]\n"},
		{[]string{"a", "--data", "@-"}, `{"a": 12345678901234567890}`, "12345678901234567890\n"},
	} {
		args := append([]string{"expr"}, c.args...)
		if strings.HasPrefix(c.args[0], "-") {
			args = append([]string{"expr", "--"}, c.args...)
		}
		if r := cli(t, c.in, args...); r.code != exitDone || r.out != c.want || r.err != "" {
			t.Errorf("%q: %+v", c.args, r)
		}
	}
	for _, c := range []struct{ args, words []string }{
		{[]string{"lambda: 1"}, []string{"column 1", "lambda is not allowed", "expression.syntax"}},
		{[]string{"(1 + 2"}, []string{"the ( is never closed", "expression.syntax"}},
		{[]string{"a = 1"}, []string{"column 3", "compare with =="}},
		{[]string{"lenght(a)"}, []string{"there is no function lenght", "fix    known are"}},
		{[]string{"uper(a)"}, []string{"did you mean upper?"}},
		{[]string{"nope.x", "--data", `{"\u001b[31mred": 1, "b": 2}`}, []string{"nope.x is missing", "available names: ", `\x1b[31mred, b`, "expression.failed"}},
		{[]string{"1 / n", "--data", `{"n": 0}`}, []string{"column 3: division by zero", "expression.failed"}},
		{[]string{"2**10**9"}, []string{"the limit is 4,096 bits", "code   limit"}},
		{[]string{"a", "--data", "{"}, []string{"--data", "input.invalid"}},
		{[]string{"a", "--data", "@" + at("list.json")}, []string{"--data is no JSON object"}},
		{[]string{"a", "--state", "@" + at("gone.json")}, []string{"gone.json"}},
	} {
		r := cli(t, "", append([]string{"expr"}, c.args...)...)
		r.refuses(t, exitBadInput, c.words...)
		if r.out != "" {
			t.Errorf("%q printed %s", c.args, r.out)
		}
	}
	cli(t, "", "expr").wants(t, exitBadInput, "error: ")
	cli(t, "", "expr", "1", "2").wants(t, exitBadInput, "error: ")
}
