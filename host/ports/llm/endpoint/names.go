package endpoint

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"strings"

	"github.com/hexdag/hexdag/host/ports/llm/driver"
)

// maxName is the longest name of a tool that all endpoints take.
const maxName = 64

// Names are those of a request's tools as an endpoint takes them: letters, digits, _ and -.
type Names struct{ out, in map[string]string }

// NamesOf returns the names of a request's tools, and of those that were called before.
func NamesOf(req *driver.Request) *Names {
	n := &Names{out: map[string]string{}, in: map[string]string{}}
	for _, t := range req.Tools {
		n.add(t.Name)
	}
	for _, m := range req.Messages {
		for _, c := range m.ToolCalls {
			n.add(c.Name)
		}
	}
	return n
}

func plainRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-'
}

func (n *Names) add(name string) {
	if _, known := n.out[name]; known {
		return
	}
	plain := strings.Map(func(r rune) rune {
		if plainRune(r) {
			return r
		}
		return '_'
	}, name)
	if plain == "" || plain[0] < 'A' { // Google's begin with a letter or _
		plain = "_" + plain
	}
	if len(plain) > maxName {
		plain = plain[:maxName]
	}
	free := plain
	for i := 2; ; i++ {
		if _, taken := n.in[free]; !taken {
			break
		}
		suffix := fmt.Sprintf("_%d", i)
		free = plain[:min(len(plain), maxName-len(suffix))] + suffix
	}
	n.out[name], n.in[free] = free, name
}

// Out returns the name that the endpoint is told.
func (n *Names) Out(name string) string { return n.out[name] }

// In returns the name that the endpoint was told another of; one that it made up is left alone.
func (n *Names) In(name string) string {
	if own, known := n.in[name]; known {
		return own
	}
	return name
}

// CallID returns a call's ID as an endpoint takes it that wants at most longest letters, digits, _ and -: another model of a pool may have
// given it. One ID always becomes the same, and no two become one.
func CallID(id string, longest int) string {
	plain := id != "" && len(id) <= longest && strings.IndexFunc(id, func(r rune) bool { return !plainRune(r) }) < 0
	if plain {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return "call_" + hex.EncodeToString(sum[:16])
}

// combined are the keywords that endpoints refuse in the schema of a tool's arguments, but inside of it.
var combined = []string{"anyOf", "oneOf", "allOf", "not", "enum", "const"}

// Parameters returns the schema of a tool's arguments as endpoints take it, of an object that says no more of itself than its members; nil stays
// nil. Package llm holds calls to the whole schema, and tells the model.
func Parameters(schema map[string]any) map[string]any {
	if schema == nil {
		return nil
	}
	out := maps.Clone(schema)
	for _, name := range combined {
		delete(out, name)
	}
	out["type"] = "object"
	return out
}
