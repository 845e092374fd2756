package kernel

import (
	"strings"
	"testing"
)

func TestDidYouMean(t *testing.T) {
	known := []string{"upper", "lower", "len"}
	for name, want := range map[string]string{
		"uper": "did you mean upper?", "LOWER": "did you mean lower?", "eval": "known are len, lower, upper",
		"": "known are len, lower, upper", strings.Repeat("x", 1_000_000): "known are len, lower, upper",
	} {
		if got := DidYouMean(name, known); got != want {
			t.Errorf("%.20s: %s, want %s", name, got, want)
		}
	}
	if got := DidYouMean("\x1b[1m", []string{"\x1b[2m"}); got != `did you mean \x1b[2m?` {
		t.Errorf("what a file names is shown as it is: %q", got)
	}
}
