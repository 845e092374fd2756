package lint

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline/source"
)

// secretPattern is what a kind of secret looks like. Its group 1 is what may be
// shown of it: what all secrets of the kind begin with. Before it a word begins, or
// what is left of a line break that was escaped.
type secretPattern struct {
	what  string
	text  *regexp.Regexp
	digit bool // a word without a digit is none
}

var secretPatterns = []secretPattern{
	{"a private key", regexp.MustCompile(`(-----BEGIN [A-Z ]*PRIVATE KEY-----)(?s:.*?)(?:-----END [A-Z ]*PRIVATE KEY-----|\z)`), false},
	{"an API key", regexp.MustCompile(`(?:\b|\\[nrt])(sk-)[A-Za-z0-9_-]{16,}`), true},
	{"a GitHub token", regexp.MustCompile(`(?:\b|\\[nrt])(gh[pousr]_)[A-Za-z0-9]{20,}`), false},
	{"a GitHub token", regexp.MustCompile(`(?:\b|\\[nrt])(github_pat_)[A-Za-z0-9_]{20,}`), false},
	{"a GitLab token", regexp.MustCompile(`(?:\b|\\[nrt])(glpat-)[A-Za-z0-9_-]{16,}`), false},
	{"an AWS access key", regexp.MustCompile(`(?:\b|\\[nrt])(AKIA|ASIA)[0-9A-Z]{16}\b`), false},
	{"a Google API key", regexp.MustCompile(`(?:\b|\\[nrt])(AIza)[0-9A-Za-z_-]{30,}`), false},
	{"a Slack token", regexp.MustCompile(`(?:\b|\\[nrt])(xox[abeprs]-)[A-Za-z0-9-]{10,}`), false},
	{"a Hugging Face token", regexp.MustCompile(`(?:\b|\\[nrt])(hf_)[A-Za-z0-9]{20,}`), true},
	{"a JSON Web Token", regexp.MustCompile(`(?:\b|\\[nrt])(eyJ)[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}`), false},
	{"a password in an address", regexp.MustCompile(`(?:\b|\\[nrt])([a-z][a-z0-9+.-]*://)[^/\s:@${}]+:[^/\s@${}]+@`), false},
}

// find returns where the next secret in a text is; nil if there is none.
func (p *secretPattern) find(text string) []int {
	for from := 0; ; {
		m := p.text.FindStringSubmatchIndex(text[from:])
		if m == nil {
			return nil
		}
		for i := range m {
			if m[i] >= 0 {
				m[i] += from
			}
		}
		if !p.digit || strings.ContainsAny(text[m[0]:m[1]], "0123456789") {
			return m
		}
		from = m[1]
	}
}

// mask cuts every secret in a text down to what all of its kind begin with.
func mask(text string) string {
	for _, p := range secretPatterns {
		done := 0
		for m := p.find(text); m != nil; m = p.find(text[done:]) {
			shown, end := m[3]+done, m[1]+done
			text = text[:shown] + "…" + text[end:]
			done = shown + len("…")
		}
	}
	return text
}

// secrets looks for secrets in the strings of v. path is the members that lead to
// it, configured whether one of them holds values that are taken as they are.
func (l *linter) secrets(v *source.Value, path []string, configured bool) {
	switch t := v.V.(type) {
	case string:
		l.secret(v, t, path, configured)
	case []*source.Value:
		for _, item := range t {
			l.secrets(item, path, configured)
		}
	case *source.Mapping:
		for _, name := range t.Names {
			taken := configured || slices.Contains([]string{"config", "params", "headers"}, name)
			l.secrets(t.Members[name], append(slices.Clip(path), name), taken)
		}
	}
}

const secretFix = "keep it out of the file: the configuration of an adapter can name ${NAME_API_KEY}; and replace it, for it is known by now"

func (l *linter) secret(v *source.Value, text string, path []string, configured bool) {
	for _, p := range secretPatterns {
		if m := p.find(text); m != nil {
			l.add(Secret, v.Where(), fmt.Sprintf("%s is written into the file: %s… (%d characters)", p.what, text[m[2]:m[3]], len([]rune(text[m[0]:m[1]]))), secretFix)
			return
		}
	}
	if configured && isSecretName(path) && isLiteral(text) {
		l.add(Secret, v.Where(), fmt.Sprintf("%s is written into the file: a text of %d characters", kernel.Quote(path[len(path)-1]), len([]rune(text))), secretFix)
	}
}

var secretMember = regexp.MustCompile(`(?i)^(.*[_-])?(password|passwd|secret|api[_-]?key|access[_-]?key|private[_-]?key|token|credentials?|authorization)$`)

func isSecretName(path []string) bool {
	return len(path) > 0 && secretMember.MatchString(path[len(path)-1])
}

// isLiteral reports whether a text stands for itself and is long enough to keep
// something secret.
func isLiteral(text string) bool {
	return len(text) >= 8 && !strings.Contains(text, "${") && !strings.Contains(text, "{{")
}
