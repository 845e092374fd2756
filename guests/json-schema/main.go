// Command json-schema is a hook that holds what goes into and out of nodes and port
// calls to JSON Schemas.
//
// Configuration, each a schema, at least one of them:
//
//	input   of a node, before it
//	output  of a node that succeeded, after it
//	args    of a port call, before it
//	reply   of a port call that succeeded, after it
//
// What does not fit is denied, with all that is wrong in it, up to ten things.
//
// The schemas are a subset of draft 2020-12: type, enum, const, properties,
// required, additionalProperties, minProperties, maxProperties, items, minItems, maxItems, uniqueItems, minLength,
// maxLength, pattern, minimum, maximum, exclusiveMinimum, exclusiveMaximum, anyOf, oneOf, allOf, not, and
// booleans; title, description, default, examples, $schema, $id and $comment say nothing.
// Any other keyword, $ref and format among them, is an error: a schema is applied as a
// whole or not at all. pattern is Go's regular expressions (RE2), which take no
// more time than the text is long.
//
// It validates here, and does not ask the host to: so it needs no capability, and
// its time is its own limits'. Numbers are compared as floating point.
package main

import (
	"strings"

	hexdag "github.com/hexdag/hexdag/guests/sdk/go"
	"github.com/hexdag/hexdag/guests/sdk/go/nodeafter"
	"github.com/hexdag/hexdag/guests/sdk/go/nodebefore"
	"github.com/hexdag/hexdag/guests/sdk/go/portafter"
	"github.com/hexdag/hexdag/guests/sdk/go/portbefore"
)

func init() {
	nodebefore.Handle(func(c *hexdag.NodeCall) hexdag.Verdict { return hold("input", c.Payload()) })
	nodeafter.Handle(func(c *hexdag.NodeCall) hexdag.Verdict { return hold("output", c.Payload()) })
	portbefore.Handle(func(c *hexdag.PortCall) hexdag.Verdict { return hold("args", c.Payload()) })
	portafter.Handle(func(c *hexdag.PortCall) hexdag.Verdict { return hold("reply", c.Payload()) })
}

func main() {}

// hold compares a member of the payload with the schema of that name.
func hold(member string, payload hexdag.Doc) hexdag.Verdict {
	config := hexdag.Config()
	if config.Kind("/input") == hexdag.KindAbsent && config.Kind("/output") == hexdag.KindAbsent && config.Kind("/args") == hexdag.KindAbsent && config.Kind("/reply") == hexdag.KindAbsent {
		return hexdag.Fail("bad_config", "config: none of input, output, args and reply has a schema")
	}
	if config.Kind("/"+member) == hexdag.KindAbsent || payload.Kind("/error") != hexdag.KindAbsent {
		return hexdag.Continue()
	}
	v := validator{schemas: config, doc: payload}
	wrong := v.check("/"+member, "/"+member)
	if v.err != nil {
		return hexdag.Fail("bad_schema", v.err.Error())
	}
	if len(wrong) > 0 {
		return hexdag.Deny("schema", strings.Join(wrong, "; "))
	}
	return hexdag.Continue()
}
