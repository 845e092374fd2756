package source

import (
	"encoding/json"
	"math/big"
	"regexp"
	"strconv"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
)

var (
	variable   = regexp.MustCompile(`\$\{([A-Z_][A-Z0-9_]*)(?::([^}]*))?\}`)
	secretName = regexp.MustCompile(`^(.*_(API_KEY|SECRET|TOKEN|PASSWORD|CREDENTIAL)|SECRET_.*)$`)
)

// Env answers for an environment variable that a file may read.
type Env func(name string) (string, bool)

// Substitute puts variables in place of ${NAME} and ${NAME:default} in every
// string of v, and adds a problem for each that has neither value nor default. A
// string that it changed becomes the boolean or the number that it then spells.
// Names of secrets are left as they are: whoever opens an adapter resolves them.
func (p *Problems) Substitute(v *Value, env Env) *Value {
	switch t := v.V.(type) {
	case string:
		if !strings.Contains(t, "${") {
			return v
		}
		return p.substituteText(v, t, env)
	case []*Value:
		list := make([]*Value, len(t))
		for i, item := range t {
			list[i] = p.Substitute(item, env)
		}
		return v.With(list)
	case *Mapping:
		m := NewMapping()
		for _, name := range t.Names {
			m.Put(name, t.Keys[name], p.Substitute(t.Members[name], env))
		}
		return v.With(m)
	}
	return v
}

func (p *Problems) substituteText(v *Value, text string, env Env) *Value {
	changed := variable.ReplaceAllStringFunc(text, func(match string) string {
		found := variable.FindStringSubmatch(match)
		name, hasDefault := found[1], strings.Contains(match, ":")
		if secretName.MatchString(name) {
			return match
		}
		if value, ok := env(name); ok {
			return value
		}
		if hasDefault {
			return found[2]
		}
		p.Add(v.Errorf(p.Code, "set it, give it a default as in ${"+name+":default}, or, where there is a configuration, list it there under env", "the environment variable %s is not set, or not for this file to read", name))
		return match
	})
	if changed == text {
		return v
	}
	return v.With(Coerce(changed))
}

// Secrets is Substitute for the names of secrets alone, in the text of an
// adapter's configuration. missing names the first that has no value.
func Secrets(text string, env Env) (resolved, missing string) {
	resolved = variable.ReplaceAllStringFunc(text, func(match string) string {
		found := variable.FindStringSubmatch(match)
		if value, ok := env(found[1]); ok {
			return value
		}
		if strings.Contains(match, ":") {
			return found[2]
		}
		if missing == "" {
			missing = found[1]
		}
		return match
	})
	return resolved, missing
}

// maxDigits is how long an integer that a variable spells may be.
const maxDigits = 300

// Coerce reads a text that was put together as hexDAG does: true, yes and 1 are
// true, false, no and 0 false, then integers, then floats, and the rest is text.
func Coerce(text string) any {
	switch strings.ToLower(text) {
	case "true", "yes", "1":
		return true
	case "false", "no", "0":
		return false
	}
	if n, ok := new(big.Int).SetString(text, 10); ok && len(text) <= maxDigits {
		return json.Number(n.String())
	}
	if f, err := strconv.ParseFloat(text, 64); err == nil && strings.ContainsAny(text, "0123456789") && !strings.ContainsAny(text, "xXpP_") {
		if _, err := kernel.DecodeJSON([]byte(float(f))); err == nil {
			return float(f)
		}
	}
	return text
}
