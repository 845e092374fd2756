package spelling

import (
	"strings"
	"testing"
)

func TestSuggest(t *testing.T) {
	known := []string{"timeout", "max_steps", "zeta", "zeta"}
	for name, want := range map[string]string{
		"timeuot":                 "did you mean timeout?",
		"MAX_STEP":                "did you mean max_steps?",
		"completely different":    "known are max_steps, timeout, zeta",
		"":                        "known are max_steps, timeout, zeta",
		strings.Repeat("t", 5000): "known are max_steps, timeout, zeta",
	} {
		if got := Suggest(name, known); got != want {
			t.Errorf("%.20q: %s, want %s", name, got, want)
		}
	}
	if got := Suggest("a", nil); got != "" {
		t.Errorf("suggests %q of nothing", got)
	}
	if got := Suggest("tab", []string{"ta\tb"}); got != `did you mean ta\tb?` {
		t.Errorf("a control character is shown: %q", got)
	}
}

func TestListIsCut(t *testing.T) {
	var names []string
	for i := range 100 {
		names = append(names, strings.Repeat("x", i+1))
	}
	if got := List(names); !strings.HasSuffix(got, ", ...") || strings.Count(got, ",") != maxListed {
		t.Errorf("lists %d of 100", strings.Count(got, ","))
	}
}
