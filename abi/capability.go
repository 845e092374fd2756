package abi

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Capability is the right to one operation, narrowed by patterns on its
// arguments: a manifest requests it, an operator grants it. An argument that is
// not named is unrestricted.
//
// Its JSON (and YAML) form is the bare operation, "llm.complete", or one member,
// {"database.query": {"table": "orders"}}, whose patterns are a string or a list.
type Capability struct {
	Op   string
	Args map[string][]string
}

// MarshalJSON writes the form that UnmarshalJSON reads.
func (c Capability) MarshalJSON() ([]byte, error) {
	if len(c.Args) == 0 {
		return json.Marshal(c.Op)
	}
	return json.Marshal(map[string]map[string][]string{c.Op: c.Args})
}

// UnmarshalJSON reads either form of a capability.
func (c *Capability) UnmarshalJSON(text []byte) error {
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		return err
	}
	parsed, err := ParseCapability(v)
	if err != nil {
		return err
	}
	*c = parsed
	return nil
}

// ParseCapability reads a capability from its decoded JSON or YAML form.
func ParseCapability(v any) (Capability, error) {
	switch v := v.(type) {
	case string:
		return Capability{Op: v}, checkOp(v)
	case map[string]any:
		if len(v) != 1 {
			return Capability{}, fmt.Errorf("a capability names one operation, this one names %d", len(v))
		}
		for op, args := range v {
			return parseArgs(op, args)
		}
	}
	return Capability{}, fmt.Errorf("a capability is an operation or {operation: {argument: pattern}}, not %T", v)
}

func parseArgs(op string, args any) (Capability, error) {
	c := Capability{Op: op}
	if err := checkOp(op); err != nil {
		return c, err
	}
	if args == nil {
		return c, nil
	}
	members, ok := args.(map[string]any)
	if !ok {
		return c, fmt.Errorf("%s: arguments are {name: pattern}, not %T", op, args)
	}
	c.Args = make(map[string][]string, len(members))
	for name, v := range members {
		patterns, err := parsePatterns(v)
		if err != nil {
			return c, fmt.Errorf("%s: %s: %w", op, name, err)
		}
		c.Args[name] = patterns
	}
	return c, nil
}

// A guest writes the patterns of its manifest: matching them must stay cheap.
const (
	maxPattern  = 256 // bytes
	maxPatterns = 64  // of one argument
)

func parsePatterns(v any) ([]string, error) {
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	patterns := make([]string, 0, len(list))
	for _, item := range list {
		s, ok := item.(string)
		if !ok || s == "" || len(s) > maxPattern {
			return nil, fmt.Errorf("a pattern is a string of 1 to %d bytes, not %.80v", maxPattern, item)
		}
		if most, bounds := strings.CutPrefix(s, "<="); bounds {
			if _, err := strconv.ParseUint(most, 10, 63); err != nil {
				return nil, fmt.Errorf("%.80q is no bound: write <= and a whole number", s)
			}
		}
		patterns = append(patterns, s)
	}
	if len(patterns) > maxPatterns {
		return nil, fmt.Errorf("%d patterns are more than %d", len(patterns), maxPatterns)
	}
	if len(patterns) == 0 {
		return nil, fmt.Errorf("an empty list of patterns allows nothing; remove the capability instead")
	}
	return patterns, nil
}

func checkOp(op string) error {
	port, method, ok := strings.Cut(op, ".")
	if !ok || port == "" || method == "" || strings.ContainsAny(op, " *\t\n") {
		return fmt.Errorf("operation %q is not of the form port.method", op)
	}
	return nil
}

// Allows reports whether the capability covers a call of op with these arguments.
// An argument that the capability restricts and the call does not name is not covered.
func (c Capability) Allows(op string, args map[string]string) bool {
	if c.Op != op {
		return false
	}
	for name, patterns := range c.Args {
		value, ok := args[name]
		if !ok || !slices.ContainsFunc(patterns, func(p string) bool { return covers(p, value) }) {
			return false
		}
	}
	return true
}

// String returns the capability as an operator would write the grant.
func (c Capability) String() string {
	if len(c.Args) == 0 {
		return c.Op
	}
	parts := make([]string, 0, len(c.Args))
	for name, patterns := range c.Args {
		value, _ := json.Marshal(patterns)
		if len(patterns) == 1 {
			value, _ = json.Marshal(patterns[0])
		}
		parts = append(parts, name+": "+string(value))
	}
	slices.Sort(parts)
	return c.Op + ": {" + strings.Join(parts, ", ") + "}"
}

// covers reports whether a restriction allows an argument: a pattern that matches it, or "<=N",
// which allows the whole numbers from 0 to N.
func covers(restriction, value string) bool {
	most, bounds := strings.CutPrefix(restriction, "<=")
	if !bounds {
		return Match(restriction, value)
	}
	limit, err := strconv.ParseUint(most, 10, 63)
	if err != nil {
		return false
	}
	n, err := strconv.ParseUint(value, 10, 63)
	return err == nil && n <= limit
}

// Match reports whether value matches pattern: * stands for any run of
// characters but '.', '/' and ':', ** for any run at all, the rest for itself.
// It takes time in proportion to the product of both lengths, whatever they hold.
func Match(pattern, value string) bool {
	star := strings.IndexByte(pattern, '*')
	if star < 0 {
		return pattern == value
	}
	if !strings.HasPrefix(value, pattern[:star]) {
		return false
	}
	pattern, value = pattern[star:], value[star:]
	last := strings.LastIndexByte(pattern, '*') + 1
	if !strings.HasSuffix(value, pattern[last:]) {
		return false
	}
	pattern, value = pattern[:last], value[:len(value)-len(pattern[last:])]
	switch pattern {
	case "*":
		return !strings.ContainsAny(value, "./:")
	case "**":
		return true
	}
	return matchStars(pattern, value)
}

// matchStars is Match for a pattern that begins and ends with a star.
func matchStars(pattern, value string) bool {
	// at[i] says that pattern[:i] can match what has been read of value.
	at := make([]bool, len(pattern)+1)
	at[0] = true
	skipStars(pattern, at)
	for i := range len(value) {
		step(pattern, at, value[i])
		skipStars(pattern, at)
	}
	return at[len(pattern)]
}

// step moves every position over one character, in place from the right.
func step(pattern string, at []bool, c byte) {
	separator := strings.IndexByte("./:", c) >= 0
	for i := len(pattern); i >= 0; i-- {
		stays := at[i] && i < len(pattern) && pattern[i] == '*' && (!separator || isDouble(pattern, i))
		comes := i > 0 && at[i-1] && pattern[i-1] != '*' && pattern[i-1] == c
		at[i] = stays || comes
	}
}

// skipStars lets every position before a star also stand behind it.
func skipStars(pattern string, at []bool) {
	for i := range len(pattern) {
		if at[i] && pattern[i] == '*' {
			at[i+1] = true
		}
	}
}

// isDouble reports whether the star at i is the first of two.
func isDouble(pattern string, i int) bool {
	return i+1 < len(pattern) && pattern[i+1] == '*'
}
