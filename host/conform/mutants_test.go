package conform_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/abi/tck"
	"github.com/hexdag/hexdag/host/testenv"
)

// mutant is a change to the C SDK or its probe that breaks a rule of the ABI, as
// an SDK of another language might, and a group whose vectors have to see it.
type mutant struct {
	name, file, from, to, group string
}

const sdk, probe = "hexdag.h", "probe/probe.c"

var mutants = []mutant{
	{"an integer loses its last digits", sdk, "sum = sum * 10 + digit;", "sum = (uint64_t)(double)(sum * 10 + digit);", "numbers"},
	{"an integer wraps", sdk, "if (digit > 9 || sum > (most - digit) / 10) return 0;", "if (digit > 9) return 0;", "numbers"},
	{"the smallest integer is none", sdk, "most = (uint64_t)INT64_MAX + (uint64_t)i;", "most = (uint64_t)INT64_MAX;", "numbers"},
	{"a text of any kind is a string", sdk, "(uint32_t)(r >> 32) != kind || ", "", "fields"},
	{"names are not unescaped", sdk, "if (c == '~' && left > 1) {", "if (0) {", "fields"},
	{"~01 is unescaped twice", sdk, "c = *from == '1' ? '/' : '~';", "c = *from == '1' || from[1] == '1' ? '/' : '~';", "fields"},
	{"a name is escaped in the wrong order", sdk, `if (*name == '~') hexdag_add(t, "~0");`, `if (*name == '~') hexdag_add(t, "~00");`, "fields"},
	{"a read of a body says the total", sdk, "return (uint64_t)total - offset < cap ? (int64_t)((uint64_t)total - offset) : (int64_t)cap;", "return (uint64_t)total - offset < cap ? total : (int64_t)cap;", "bodies"},
	{"a body past its end has bytes", sdk, "if (offset >= (uint64_t)total) return 0;", "if (offset > (uint64_t)total) return cap;", "bodies"},
	{"a delay is cut to 16 bits", sdk, "(uint64_t)milliseconds << 32", "(uint64_t)(milliseconds & 0xffff) << 32", "verdicts"},
	{"a refusal goes out with half a result", sdk, "hexdag_remove(HEXDAG_OUTPUT, \"\");\n    hexdag_set_text(HEXDAG_OUTPUT, \"/code\"", "hexdag_set_text(HEXDAG_OUTPUT, \"/code\"", "verdicts"},
	{"an error is a denial", sdk, "return hexdag_explain(HEXDAG_ERROR, code, reason);", "return hexdag_explain(HEXDAG_DENY, code, reason);", "verdicts"},
	{"a verdict that is not legal", probe, `if (hexdag_equal(does, "replace")) *verdict = HEXDAG_REPLACE;`, `if (hexdag_equal(does, "replace")) *verdict = 17;`, "patches"},
	{"replace where nothing was to be", probe, "*verdict = HEXDAG_CONTINUE;\n        if", "*verdict = HEXDAG_REPLACE;\n        if", "patches"},
	{"a port that answers with a patch", probe, "HEXDAG_EXPORT(port_call) { return play(); }", "HEXDAG_EXPORT(port_call) { uint64_t v = play(); return v == HEXDAG_CONTINUE ? HEXDAG_REPLACE : v; }", "operations"},
	{"an observer that answers with a patch", probe, "HEXDAG_EXPORT(observe) { return play(); }", "HEXDAG_EXPORT(observe) { uint64_t v = play(); return v == HEXDAG_CONTINUE ? HEXDAG_REPLACE : v; }", "events"},
	{"an observer that gives up what is to come again", probe, "HEXDAG_EXPORT(observe) { return play(); }", "HEXDAG_EXPORT(observe) { uint64_t v = play(); return v == HEXDAG_ERROR ? HEXDAG_DENY : v; }", "events"},
	{"an observer that cannot be called", probe, "HEXDAG_EXPORT(observe) { return play(); }", "", "events"},
	{"true is written as a number", sdk, "HEXDAG_BOOL, value ? \"true\" : \"false\", value ? 4 : 5", "HEXDAG_JSON, value ? \"1\" : \"0\", 1", "writes"},
	{"a text that looks like JSON becomes JSON", sdk, "HEXDAG_STRING, value, hexdag_strlen(value)", "value[0] == '{' ? HEXDAG_JSON : HEXDAG_STRING, value, hexdag_strlen(value)", "writes"},
	{"a text ends at 4096 bytes", probe, "text_len = (uint32_t)r;", "text_len = (uint32_t)r > 4096 ? 4096 : (uint32_t)r;", "boundaries"},
	{"absent is null", probe, `"absent", "null", "bool"`, `"null", "null", "bool"`, "fields"},
	{"a request is left behind", probe, `hexdag_remove(HEXDAG_REQUEST, "");`, "", "calls"},
	{"a call's body is forgotten", probe, "value_len > 0 ? hexdag_call_body(op, value, value_len) : hexdag_call_port(op)", "hexdag_call_port(op)", "calls"},
	{"a status is taken for another", sdk, `case HEXDAG_TIMEOUT: return "timeout";`, `case HEXDAG_TIMEOUT: return "failed";`, "calls"},
	{"a denied call is ignored", probe, "say(&t);\n}\n\nstatic void log_line", "if (status != HEXDAG_DENIED) say(&t);\n}\n\nstatic void log_line", "calls"},
	{"levels of the log are turned round", sdk, "HEXDAG_DEBUG, HEXDAG_INFO, HEXDAG_WARN, HEXDAG_LOG_ERROR };", "HEXDAG_LOG_ERROR, HEXDAG_INFO, HEXDAG_WARN, HEXDAG_DEBUG };", "services"},
	{"a guest traps at a path that is malformed", probe, "if (r < 0) {\n        say_status(r);\n        return;\n    }\n    uint32_t kind", "if (r < 0) __builtin_trap();\n    uint32_t kind", "fields"},
	{"the configuration is looked for in the input", sdk, "enum { HEXDAG_INPUT, HEXDAG_CONFIG, ", "enum { HEXDAG_CONFIG, HEXDAG_INPUT, ", "config"},
}

// TestBrokenGuestsAreCaught changes one thing of a guest that passes, and has the
// kit see it.
func TestBrokenGuestsAreCaught(t *testing.T) {
	if testing.Short() || testenv.Race {
		t.Skip("compiles two dozen guests")
	}
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			checks := run(t, build(t, mutate(t, m)))
			if tck.Passed(checks) == len(checks) {
				t.Fatal("the kit sees nothing")
			}
			for _, g := range tck.Groups(checks) {
				if g.Name == m.group && tck.Passed(g.Checks) == len(g.Checks) {
					t.Errorf("the vectors of %s see nothing", g.Name)
				}
			}
		})
	}
}

// mutate copies the C SDK with its probe and makes the change, and returns the
// probe's directory.
func mutate(t *testing.T, m mutant) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "probe"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{sdk, probe, "probe/manifest.json"} {
		text, err := os.ReadFile(filepath.Join(sdks, "c", name))
		if err != nil {
			t.Fatal(err)
		}
		if name == m.file {
			if n := strings.Count(string(text), m.from); n != 1 {
				t.Fatalf("what is to be changed is there %d times", n)
			}
			text = []byte(strings.Replace(string(text), m.from, m.to, 1))
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "probe")
}
