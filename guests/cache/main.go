// Command cache is a hook around port calls or nodes that answers from what was
// answered before: a call with the same operation and arguments, or a node with the
// same name and input, is skipped, and the kept reply or output is its result.
//
// Configuration, all of it optional:
//
//	ttl_s      how long an answer is kept, in seconds; 300
//	max_bytes  of the arguments and of the answer as JSON; larger ones are not kept; 65536
//	name       caches with different names are apart; "cache"
//
// Answers are kept in the memory port, under NAME/OPERATION/HASH, with the arguments
// beside them: two calls whose hashes are the same do not get each other's answer.
// A tenant sees no other tenant's. The order of an object's members does not matter;
// 1 and 1.0 are two arguments. Calls and replies with raw bytes beside them are not
// kept, nor is what failed.
//
// Hook what gives the same answer twice and may be a while old. A cache that cannot
// be read or written is none: the call is made. It cannot hook the memory port, which
// it calls itself.
package main

import (
	"strconv"
	"strings"

	hexdag "github.com/hexdag/hexdag/guests/sdk/go"
	"github.com/hexdag/hexdag/guests/sdk/go/nodeafter"
	"github.com/hexdag/hexdag/guests/sdk/go/nodebefore"
	"github.com/hexdag/hexdag/guests/sdk/go/portafter"
	"github.com/hexdag/hexdag/guests/sdk/go/portbefore"
)

func init() {
	portbefore.Handle(func(c *hexdag.PortCall) hexdag.Verdict {
		return skip(portEntry(c), c.Payload().BodySize(), c.Result())
	})
	portafter.Handle(func(c *hexdag.PortCall) hexdag.Verdict {
		return keep(portEntry(c), c.Payload().BodySize(), c.Reply())
	})
	nodebefore.Handle(func(c *hexdag.NodeCall) hexdag.Verdict {
		return skip(nodeEntry(c), 0, c.Result())
	})
	nodeafter.Handle(func(c *hexdag.NodeCall) hexdag.Verdict {
		return keep(nodeEntry(c), 0, c.Output())
	})
}

func main() {}

// entry is what an answer is kept by.
type entry struct {
	what string // the operation, or the node
	args hexdag.Value
}

func portEntry(c *hexdag.PortCall) entry {
	args, _ := c.Args().Get("") // what cannot be read is absent
	return entry{c.Op(), args}
}

func nodeEntry(c *hexdag.NodeCall) entry {
	input, _ := c.Input().Get("")
	return entry{"node/" + c.Node(), input}
}

// key is where an answer is kept: FNV-1a's hash of the arguments tells them apart
// well enough, and what the entry holds decides.
func (e entry) key() string {
	h := uint64(14695981039346656037)
	for i := range len(e.args.Text) {
		h = (h ^ uint64(e.args.Text[i])) * 1099511628211
	}
	name := hexdag.Config().String("/name")
	if name == "" {
		name = "cache"
	}
	return name + "/" + e.what + "/" + strconv.FormatUint(h, 16)
}

// usable says whether a call is one that is kept, and with what configuration.
func (e entry) usable(body int64) (maxBytes int, v hexdag.Verdict, ok bool) {
	config := hexdag.Config()
	most, ttl := config.Int("/max_bytes", 64<<10), config.Int("/ttl_s", 300)
	switch {
	case strings.HasPrefix(e.what, "memory."):
		return 0, hexdag.Fail("cache", "it cannot hook "+e.what+", in which it keeps its answers"), false
	case most < 1 || ttl < 1:
		return 0, hexdag.Fail("cache", "config: ttl_s and max_bytes are positive integers"), false
	case e.args.Kind == hexdag.KindAbsent || body > 0 || int64(len(e.args.Text)) > most:
		return 0, hexdag.Continue(), false
	}
	return int(most), hexdag.Continue(), true
}

// skip answers from the cache.
func skip(e entry, body int64, result hexdag.Doc) hexdag.Verdict {
	if _, v, ok := e.usable(body); !ok {
		return v
	}
	reply, err := hexdag.NewCall("memory.get").String("/key", e.key()).Do()
	if err != nil {
		hexdag.Log(hexdag.LevelWarn, err.Error())
		return hexdag.Continue()
	}
	kept, err := reply.Get("/value/args")
	if err != nil || kept != e.args {
		return hexdag.Continue()
	}
	answer, err := reply.Get("/value/answer")
	if err != nil || answer.Kind == hexdag.KindAbsent {
		return hexdag.Continue()
	}
	result.SetValue("", answer)
	return hexdag.Skip()
}

// keep keeps an answer.
func keep(e entry, body int64, answer hexdag.Doc) hexdag.Verdict {
	most, v, ok := e.usable(body)
	if !ok {
		return v
	}
	value, err := answer.Get("")
	if err != nil || value.Kind == hexdag.KindAbsent || len(value.Text) > most {
		return hexdag.Continue()
	}
	_, err = hexdag.NewCall("memory.set").String("/key", e.key()).Value("/value/args", e.args).Value("/value/answer", value).
		Int("/ttl", hexdag.Config().Int("/ttl_s", 300)).Do()
	if err != nil {
		hexdag.Log(hexdag.LevelWarn, err.Error())
	}
	return hexdag.Continue()
}
