package mockllm

import (
	"encoding/json"
	"fmt"
	"regexp"
)

// Patterns are expressions that must all match. In JSON, a single one may stand
// without its list.
type Patterns []string

// UnmarshalJSON reads a string or a list of strings.
func (p *Patterns) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil {
		*p = Patterns{one}
		return nil
	}
	var all []string
	if err := json.Unmarshal(text, &all); err != nil {
		return fmt.Errorf("match must be a string or a list of strings")
	}
	*p = all
	return nil
}

// placeholder is ${name} in a reply.
var placeholder = regexp.MustCompile(`\$\{(\w+)\}`)

// rule is a Rule made ready.
type rule struct {
	patterns []*regexp.Regexp
	results  []*regexp.Regexp
	reply    any
	after    string
}

func compile(r Rule) (rule, error) {
	out := rule{reply: r.Reply, after: r.After}
	if len(r.Match) == 0 || r.Reply == nil {
		return out, fmt.Errorf("it must have match and reply")
	}
	groups := map[string]bool{}
	var err error
	if out.patterns, err = compileAll("match", r.Match, groups); err != nil {
		return out, err
	}
	if out.results, err = compileAll("result", r.Result, groups); err != nil {
		return out, err
	}
	return out, checkReply(r.Reply, groups)
}

// compileAll makes expressions ready, and adds the names of their groups.
func compileAll(what string, patterns Patterns, groups map[string]bool) ([]*regexp.Regexp, error) {
	var all []*regexp.Regexp
	for _, expr := range patterns {
		re, err := regexp.Compile(expr)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
		for _, name := range re.SubexpNames() {
			if name != "" && groups[name] {
				return nil, fmt.Errorf("%s: two groups are named %s", what, name)
			}
			groups[name] = name != ""
		}
		all = append(all, re)
	}
	return all, nil
}

// checkReply returns an error if a reply names a group that there is not, or
// cannot be written as JSON.
func checkReply(reply any, groups map[string]bool) error {
	var unknown string
	mapStrings(reply, func(text string) string {
		for _, m := range placeholder.FindAllStringSubmatch(text, -1) {
			if !groups[m[1]] {
				unknown = m[0]
			}
		}
		return text
	})
	if unknown != "" {
		return fmt.Errorf("reply: %s is no named group of match", unknown)
	}
	if _, err := encode(reply); err != nil {
		return fmt.Errorf("reply: %w", err)
	}
	return nil
}

// match reports whether all patterns match, and what their groups captured.
func (r *rule) match(text, results string) (map[string]string, bool) {
	groups := map[string]string{}
	return groups, matchAll(r.patterns, text, groups) && matchAll(r.results, results, groups)
}

func matchAll(patterns []*regexp.Regexp, text string, groups map[string]string) bool {
	for _, re := range patterns {
		found := re.FindStringSubmatch(text)
		if found == nil {
			return false
		}
		for i, name := range re.SubexpNames() {
			groups[name] = found[i]
		}
	}
	return true
}

// expand returns reply with its placeholders filled in.
func expand(reply any, groups map[string]string) any {
	return mapStrings(reply, func(text string) string {
		return placeholder.ReplaceAllStringFunc(text, func(p string) string {
			return groups[p[len("${"):len(p)-len("}")]]
		})
	})
}

// mapStrings returns v with each string in it, names of members apart, put through f.
func mapStrings(v any, f func(string) string) any {
	switch v := v.(type) {
	case string:
		return f(v)
	case []any:
		items := make([]any, len(v))
		for i, item := range v {
			items[i] = mapStrings(item, f)
		}
		return items
	case map[string]any:
		members := make(map[string]any, len(v))
		for name, member := range v {
			members[name] = mapStrings(member, f)
		}
		return members
	}
	return v
}
