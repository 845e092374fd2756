package toolchain

import (
	"strings"
	"testing"
)

func TestUncoloured(t *testing.T) {
	for _, pieces := range [][]string{
		{"a \x1b[1;31mred\x1b[0m end"},
		{"a \x1b", "[1;", "31m", "red\x1b[0", "m end"},
		{"\x1b[0m\x1b[0ma red end"},
		{"a red end\x1b[0m"},
	} {
		var b strings.Builder
		u := &uncoloured{to: &b}
		for _, p := range pieces {
			if n, err := u.Write([]byte(p)); n != len(p) || err != nil {
				t.Errorf("%q: %d, %v", p, n, err)
			}
		}
		if b.String() != "a red end" {
			t.Errorf("%q: %q", pieces, b.String())
		}
	}
	// What is no colour stays: whoever shows it escapes it.
	var b strings.Builder
	u := &uncoloured{to: &b}
	_, _ = u.Write([]byte("\x1b[2Jx\x1b]0;t\a"))
	if b.String() != "\x1b[2Jx\x1b]0;t\a" {
		t.Errorf("%q", b.String())
	}
}
