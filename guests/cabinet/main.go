// Command cabinet is a memory port that keeps all that a tenant remembers in one value
// of the memory port that it is over:
//
//	memory: {adapter: module, config: {module: cabinet, over: {adapter: sqlite}}}
//
// So every change replaces the whole, or nothing of it: a copy of the value is the tenant's memory at
// one moment. Changes are made by compare-and-swap alone, so any number of calls and
// processes may share a cabinet. What it cannot be is large: see README.md.
package main

import (
	"strconv"
	"strings"

	hexdag "github.com/hexdag/hexdag/guests/sdk/go"
	"github.com/hexdag/hexdag/guests/sdk/go/portcall"
)

func init() { portcall.Handle(serve) }

func main() {}

func serve(c *hexdag.OperationCall) hexdag.Verdict {
	switch c.Op() {
	case "memory.get":
		return get(c)
	case "memory.set", "memory.compare_and_swap":
		return put(c)
	case "memory.delete":
		return remove(c)
	case "memory.list_keys":
		return list(c)
	}
	return hexdag.Fail("unsupported", "a cabinet does not do "+c.Op())
}

func get(c *hexdag.OperationCall) hexdag.Verdict {
	d, err := open(c.Args())
	if err != nil {
		return hexdag.FailWith(err)
	}
	e, found := d.entries.find(c.Args().String("/key"))
	c.Result().SetBool("/found", found)
	if found {
		c.Result().SetString("/value", e.value)
	}
	return hexdag.Continue()
}

func put(c *hexdag.OperationCall) hexdag.Verdict {
	args := c.Args()
	next := entry{key: args.String("/key"), value: args.String("/value"), expires: args.Int("/expires", 0)}
	swaps := c.Op() == "memory.compare_and_swap"
	return change(c, func(d *drawer) bool {
		old, found := d.entries.find(next.key)
		if swaps {
			holds := !found
			if args.Kind("/expected") != hexdag.KindAbsent {
				holds = found && old.value == args.String("/expected")
			}
			c.Result().SetBool("/swapped", holds)
			if !holds {
				return false
			}
		}
		d.entries.put(next)
		if keys, bytes := d.entries.size(); keys > args.Int("/room/keys", 0) || bytes > args.Int("/room/bytes", 0) {
			c.Result().SetBool("/full", true)
			return false
		}
		return true
	})
}

func remove(c *hexdag.OperationCall) hexdag.Verdict {
	return change(c, func(d *drawer) bool {
		found := d.entries.remove(c.Args().String("/key"))
		c.Result().SetBool("/deleted", found)
		return found
	})
}

func list(c *hexdag.OperationCall) hexdag.Verdict {
	d, err := open(c.Args())
	if err != nil {
		return hexdag.FailWith(err)
	}
	prefix, after, limit := c.Args().String("/prefix"), c.Args().String("/after"), c.Args().Int("/limit", 0)
	var names []byte
	for _, e := range d.entries {
		if limit > 0 && e.key > after && strings.HasPrefix(e.key, prefix) {
			names = strconv.AppendQuote(append(names, ','), e.key) // keys are printable: Go's quotes are JSON's
			limit--
		}
	}
	c.Result().SetJSON("/keys", "["+strings.TrimPrefix(string(names), ",")+"]")
	return hexdag.Continue()
}

// tries is how often a change is made anew because another came between.
const tries = 100

// change opens a tenant's drawer, has it changed and puts it back, again where another
// call did so meanwhile. What f says of a drawer that is not to be put back is the result.
func change(c *hexdag.OperationCall, f func(*drawer) bool) hexdag.Verdict {
	for range tries {
		d, err := open(c.Args())
		if err != nil {
			return hexdag.FailWith(err)
		}
		if !f(d) {
			return hexdag.Continue()
		}
		switch done, err := d.putBack(); {
		case err != nil:
			return hexdag.FailWith(err)
		case done:
			return hexdag.Continue()
		}
	}
	return hexdag.Fail("retry", "others changed the memory each time")
}
