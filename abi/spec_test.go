package abi

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestSpecificationHasTheNumbers keeps README.md and hexdag.wit from saying other
// than the constants.
func TestSpecificationHasTheNumbers(t *testing.T) {
	read := func(name string) string {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	spec, wit := read("README.md"), read("hexdag.wit")
	want := func(in, where, text string) {
		if !strings.Contains(in, text) {
			t.Errorf("%s does not say %q", where, text)
		}
	}
	kebab := func(name string) string { return strings.ReplaceAll(name, "_", "-") }
	for s := OK; s >= Retry; s-- {
		want(spec, "README.md", fmt.Sprintf("| %d | %s |", s, s))
		if s != OK {
			want(wit, "hexdag.wit", "        "+kebab(s.String())+",")
		}
	}
	for v := Continue; v <= Error; v++ {
		want(spec, "README.md", fmt.Sprintf("| %d | %s |", v, v))
	}
	for _, p := range Points() {
		want(spec, "README.md", "`"+string(p)+"`")
		want(wit, "hexdag.wit", "    "+kebab(string(p))+": func(payload-len: u32) -> verdict;")
	}
	for _, name := range []string{ImportInput, ImportField, ImportKeys, ImportSet, ImportBody, ImportAppend, ImportCall, ImportLog, ImportClock, ImportRandom} {
		want(spec, "README.md", "### `"+name+"(")
		want(wit, "hexdag.wit", "    "+name+": func(")
	}
	for doc, name := range []string{"input", "config", "request", "reply", "output"} {
		want(spec, "README.md", fmt.Sprintf("| %d | %s |", doc, name))
	}
	for kind, name := range []string{"absent", "null", "bool", "number", "string", "array", "object"} {
		want(spec, "README.md", fmt.Sprintf("%s (%d)", name, kind))
	}
}
