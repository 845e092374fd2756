// The hook in Go: it reads two fields and sets one. Like most Go programs it
// brings encoding/json along.
package main

import (
	"encoding/json"

	hexdag "github.com/hexdag/hexdag/guests/sdk/go"
	"github.com/hexdag/hexdag/guests/sdk/go/nodebefore"
)

var rules struct{ Greeting string }

func init() {
	if err := json.Unmarshal([]byte(`{"greeting":"hello "}`), &rules); err != nil {
		panic(err)
	}
	nodebefore.Handle(func(c *hexdag.NodeCall) hexdag.Verdict {
		c.Input().SetString("/greeting", rules.Greeting+c.Input().String("/name")+" from "+c.Input().String("/city"))
		return hexdag.Replace()
	})
}

func main() {}
