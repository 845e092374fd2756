package main

import (
	hexdag "github.com/hexdag/hexdag/guests/sdk/go"
	"github.com/hexdag/hexdag/guests/sdk/go/nodebefore"
)

func init() { nodebefore.Handle(greet) }

func greet(c *hexdag.NodeCall) hexdag.Verdict {
	name := c.Input().String("/name")
	if name == "" {
		return hexdag.Deny("no_name", "the input has no name")
	}
	c.Input().SetString("/greeting", "hello "+name)
	return hexdag.Replace()
}

func main() {}
