package policy

import (
	"math/rand/v2"
	"regexp"
	"testing"

	"github.com/gobwas/glob"

	"github.com/hexdag/hexdag/host/testenv"
)

// TestGlobAsInOPA compares globs with the library that OPA has.
func TestGlobAsInOPA(t *testing.T) {
	rounds := 300_000
	if testing.Short() || testenv.Race {
		rounds = 10_000
	}
	random := rand.New(rand.NewPCG(3, 1))
	patternRunes, textRunes := []rune(`aab.:*?*[]!-{},\^$ü`), []rune("aab.:*c-]!,{}ü^$")
	text := func(from []rune, most int) string {
		runes := make([]rune, random.IntN(most))
		for i := range runes {
			runes[i] = from[random.IntN(len(from))]
		}
		return string(runes)
	}
	globs, matches := 0, 0
	for range rounds {
		pattern, delimiters := text(patternRunes, 9), []string{"", ".", ".:"}[random.IntN(3)]
		want, wantErr := glob.Compile(pattern, []rune(delimiters)...)
		expr, err := globRegexp(pattern, delimiters)
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("%q: OPA says %v, and we %v", pattern, wantErr, err)
		}
		if err != nil {
			continue
		}
		globs++
		re := regexp.MustCompile(expr)
		for range 10 {
			value := text(textRunes, 8)
			got := re.MatchString(value)
			if want.Match(value) != got {
				t.Fatalf("%q with %q: %q matches %v", pattern, delimiters, value, got)
			}
			if got {
				matches++
			}
		}
	}
	if globs < rounds/4 || matches < rounds/10 {
		t.Errorf("of %d texts %d are globs, with %d matches: that tells little", rounds, globs, matches)
	}
}
