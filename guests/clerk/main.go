// Clerk decides by lists of actions in its configuration, and refuses records that
// speak of what is secret:
//
//	{"allow": ["llm.complete"], "approve": ["database.insert"], "secret": "hunter2"}
package main

import (
	"strings"

	hexdag "github.com/hexdag/hexdag/guests/sdk/go"
	"github.com/hexdag/hexdag/guests/sdk/go/audit"
	"github.com/hexdag/hexdag/guests/sdk/go/authorize"
	"github.com/hexdag/hexdag/guests/sdk/go/permissions"
)

func init() {
	authorize.Handle(decide)
	audit.Handle(inspect)
	permissions.Handle(list)
}

// effects are the lists, the strictest first.
var effects = [...]string{"approve", "allow"}

func decide(g *hexdag.GovernanceCall) hexdag.Verdict {
	config := hexdag.Config()
	for _, effect := range effects {
		for i := range config.Len("/" + effect) {
			if config.String("/"+effect+"/"+digits(i)) == g.Action() {
				return g.Decide(effect, "clerk."+effect, g.Subject().String("/id")+" may")
			}
		}
	}
	return hexdag.Continue() // no answer
}

func inspect(g *hexdag.GovernanceCall) hexdag.Verdict {
	secret := hexdag.Config().String("/secret")
	if secret != "" && strings.Contains(g.Record().String("/detail"), secret) {
		return hexdag.Deny("secret", "the record tells a secret")
	}
	return hexdag.Continue()
}

func list(g *hexdag.GovernanceCall) hexdag.Verdict {
	config, n := hexdag.Config(), 0
	g.Result().SetJSON("/permissions", "[]")
	for _, effect := range effects {
		for i := range config.Len("/" + effect) {
			g.Result().SetJSON("/permissions/-", "{}")
			at := "/permissions/" + digits(n)
			g.Result().SetString(at+"/action", config.String("/"+effect+"/"+digits(i)))
			g.Result().SetString(at+"/resource", "**")
			g.Result().SetString(at+"/effect", effect)
			n++
		}
	}
	return hexdag.Continue()
}

// digits writes a small number without fmt, which would double the module.
func digits(n int) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return digits(n/10) + string(rune('0'+n%10))
}

func main() {}
