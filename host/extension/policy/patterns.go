package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	lru "github.com/hashicorp/golang-lru/v2"
)

// Patterns are matched here and not in the module, where OPA's runtime would compile each
// anew for every decision: that takes some hundred times as long. The compiler puts
// calls of these builtins in the place of OPA's, which have the same names without the prefix.
const hostPrefix = "hexdag."

// PatternBuiltins returns the names of OPA's builtins that the host takes over from the module, and
// by which it does.
func PatternBuiltins() map[string]string {
	names := map[string]string{}
	for _, name := range []string{"glob.match", "regex.find_all_string_submatch_n", "regex.is_valid", "regex.match"} {
		names[name] = hostPrefix + name
	}
	return names
}

const (
	// maxPattern bounds a pattern's bytes.
	maxPattern = 16 << 10
	// maxSteps bounds what a match takes: the pattern's instructions times the text's bytes.
	// At most some tenths of a second.
	maxSteps = 16 << 20
	// maxPatterns is how many compiled patterns a policy's module keeps.
	maxPatterns = 512
)

// patterns are compiled patterns, for all instances of a module.
type patterns struct {
	kept *lru.Cache[patternName, *pattern]
}

// patternName is the text of a regular expression, or of a glob with delimiters.
type patternName struct {
	glob             bool
	delimiters, text string
}

// pattern is a compiled pattern, or one that is none.
type pattern struct {
	*regexp.Regexp
	steps int // for each byte of a text
}

func newPatterns() *patterns {
	kept, err := lru.New[patternName, *pattern](maxPatterns)
	if err != nil {
		panic("policy: " + err.Error()) // the size is positive
	}
	return &patterns{kept}
}

func (p *patterns) builtins() map[string]builtin {
	return map[string]builtin{
		hostPrefix + "regex.match":                      pure(2, p.regexMatch),
		hostPrefix + "regex.is_valid":                   pure(1, p.regexIsValid),
		hostPrefix + "regex.find_all_string_submatch_n": pure(3, p.regexFindAll),
		hostPrefix + "glob.match":                       pure(3, p.globMatch),
	}
}

// compile returns a regular expression, nil for what is none.
func (p *patterns) compile(text string) (*pattern, error) {
	if len(text) > maxPattern {
		return nil, fmt.Errorf("%w: a pattern of %d bytes, of %d", errLimit, len(text), maxPattern)
	}
	name := patternName{text: text}
	if known, ok := p.kept.Get(name); ok {
		return known, nil
	}
	made := &pattern{}
	if parsed, err := syntax.Parse(text, syntax.Perl); err == nil {
		program, err := syntax.Compile(parsed.Simplify())
		if err != nil {
			return nil, err
		}
		made.Regexp, made.steps = regexp.MustCompile(text), len(program.Inst)
	}
	p.kept.Add(name, made)
	return made, nil
}

// on returns the expression if it can be matched against a text within the limit.
func (p *pattern) on(text string) (*regexp.Regexp, error) {
	if p.Regexp == nil {
		return nil, errOperand
	}
	if p.steps*(len(text)+1) > maxSteps {
		return nil, fmt.Errorf("%w: a pattern of %d instructions on %d bytes", errLimit, p.steps, len(text))
	}
	return p.Regexp, nil
}

func (p *patterns) regexMatch(args []any) (any, error) {
	text, ok := args[0].(string)
	value, ok2 := args[1].(string)
	if !ok || !ok2 {
		return nil, errOperand
	}
	c, err := p.compile(text)
	if err != nil {
		return nil, err
	}
	return c.match(value)
}

func (p *pattern) match(value string) (any, error) {
	re, err := p.on(value)
	if err != nil {
		return nil, err
	}
	return re.MatchString(value), nil
}

func (p *patterns) regexIsValid(args []any) (any, error) {
	text, ok := args[0].(string)
	if !ok {
		return false, nil
	}
	c, err := p.compile(text)
	if err != nil {
		return nil, err
	}
	return c.Regexp != nil, nil
}

func (p *patterns) regexFindAll(args []any) (any, error) {
	text, ok := args[0].(string)
	value, ok2 := args[1].(string)
	n, ok3 := args[2].(json.Number)
	most, err := n.Int64()
	if !ok || !ok2 || !ok3 || err != nil {
		return nil, errOperand
	}
	c, err := p.compile(text)
	if err != nil {
		return nil, err
	}
	re, err := c.on(value)
	if err != nil {
		return nil, err
	}
	found := []any{}
	for _, groups := range re.FindAllStringSubmatch(value, int(max(min(most, maxTerm), -1))) {
		texts := make([]any, len(groups))
		for i, g := range groups {
			texts[i] = g
		}
		found = append(found, texts)
	}
	return found, nil
}

// globMatch matches a glob, as a regular expression: that takes time by the lengths, where
// backtracking can take a power of them.
func (p *patterns) globMatch(args []any) (any, error) {
	glob, ok := args[0].(string)
	value, ok2 := args[2].(string)
	delimiters, err := delimitersOf(args[1])
	if !ok || !ok2 || err != nil {
		return nil, errOperand
	}
	if len(glob) > maxPattern {
		return nil, fmt.Errorf("%w: a glob of %d bytes, of %d", errLimit, len(glob), maxPattern)
	}
	c, err := p.compileGlob(glob, delimiters)
	if err != nil {
		return nil, err
	}
	return c.match(value)
}

// compileGlob is compile for a glob.
func (p *patterns) compileGlob(glob, delimiters string) (*pattern, error) {
	name := patternName{true, delimiters, glob}
	if known, ok := p.kept.Get(name); ok {
		return known, nil
	}
	made := &pattern{}
	if text, err := globRegexp(glob, delimiters); err == nil {
		if made, err = p.compile(text); err != nil {
			return nil, err
		}
	}
	p.kept.Add(name, made)
	return made, nil
}

// delimitersOf returns what * and ? do not match: nothing for null, a dot for an empty array.
func delimitersOf(v any) (string, error) {
	if v == nil {
		return "", nil
	}
	items, ok := v.([]any)
	if !ok {
		return "", errOperand
	}
	if len(items) == 0 {
		return ".", nil
	}
	runes := make([]string, len(items))
	for i, item := range items {
		text, ok := item.(string)
		if !ok || len([]rune(text)) != 1 {
			return "", errOperand
		}
		runes[i] = text
	}
	slices.Sort(runes)
	return strings.Join(runes, ""), nil
}

var errGlob = errors.New("no glob")
