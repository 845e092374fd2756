package redteam

import (
	"context"
	"fmt"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/httpport"
	"github.com/hexdag/hexdag/host/ports/memory"
	"github.com/hexdag/hexdag/host/ports/memory/memstore"
	"github.com/hexdag/hexdag/host/redteam/probe"
)

// registerPorts offers real ports to attack: the memory, in which another tenant
// has a key; the web, from which nothing is held back but what no grant opens;
// and http.request, which is not done but noted, to attack its grants.
func (s *site) registerPorts() error {
	m := memory.New(memstore.New(), memory.Options{})
	if err := m.Set(context.Background(), "alice-inc", "secret", "alice's", 0); err != nil {
		return err
	}
	web, err := httpport.New(httpport.Config{Hosts: []string{"**"}, Timeout: 1})
	if err != nil {
		return err
	}
	ops := append(m.Ops(), web.Ops()...)
	for i := range ops {
		if ops[i].Name == "http.request" {
			ops[i].Func = s.echo
		}
	}
	return s.door.Register(ops...)
}

// asks is a script that calls one operation with each of the arguments.
func asks(op string, args ...string) *probe.Script {
	s := &probe.Script{}
	for _, a := range args {
		s.Do(probe.Call, op, a, 0, 0)
	}
	return s
}

// gets are the arguments of requests for URLs.
func gets(urls []string) []string {
	args := make([]string, len(urls))
	for i, u := range urls {
		text, err := kernel.EncodeJSON(map[string]any{"url": u})
		if err != nil {
			panic(err) // it is a constant of this package
		}
		args[i] = string(text)
	}
	return args
}

// granted is the probe with one more right.
func granted(op, arg, pattern string) guest {
	g := theProbe()
	g.requests = append(everything(), op)
	var right any = op
	if arg != "" {
		right = map[string]any{op: map[string]any{arg: pattern}}
	}
	g.grants = append(everything(), right)
	return g
}

// specialURLs are places of the host's network and of its cloud.
var specialURLs = []string{
	"http://127.0.0.1/", "http://localhost/", "http://[::1]/", "http://[::ffff:127.0.0.1]/", "http://0.0.0.0/", "http://10.0.0.1/", "http://192.168.1.1/", "http://169.254.169.254/latest/meta-data/",
	"http://[::ffff:169.254.169.254]/", "http://[fd00:ec2::254]/", "http://100.100.100.200/", "http://100.64.0.1/", "http://[64:ff9b::7f00:1]/", "http://[2002:7f00:1::]/", "http://[fe80::1]/", "http://224.0.0.1/",
}

// twoFacedURLs are those that two readers could take for different places.
var twoFacedURLs = []string{
	"http://api.example.com@127.0.0.1/", `http://api.example.com\@127.0.0.1/`, "http://2130706433/", "http://0x7f000001/", "http://0177.0.0.1/", "http://127.1/", "http://api.example.com%2eevil.example/",
	"file:///etc/passwd", "unix:///var/run/docker.sock", "gopher://127.0.0.1:25/", "//127.0.0.1/", "http://api.example.com..",
}

// otherHosts look like api.example.com.
var otherHosts = []string{
	"https://evil.example/", "https://api.example.com.evil.example/", "https://evilapi.example.com/", "https://api.example.com@evil.example/", "https://evil.example/?api.example.com", "https://evil.example/#@api.example.com",
	"https://api.example.com:8443/", "https://\u0430pi.example.com/", "https://api.example.comm/", "https://api-example.com/", "https://a/api.example.com", "http://127.0.0.1/", `https://api.example.com\.evil.example/`,
}

// portCases attack ports that there are, with the tricks of groups F and G.
func portCases() []Case {
	denied := func(id, what string, attack attack) Case {
		return Case{ID: id, What: what, Source: "probe.wat", Want: "denied", Record: kernel.Forbid, attack: attack}
	}
	forged := []string{`{"url":"https://evil.example/","host":"api.example.com"}`, `{"host":"api.example.com"}`, `{"url":["https://api.example.com/"],"host":"api.example.com"}`}
	web := granted("api_call.get", "", "")
	ssrf := denied("G76a", "asks for what is on the host's own network", probing(web, asks("api_call.get", gets(specialURLs)...)))
	ssrf.Record = kernel.Allow // the right to ask is granted; it is the address that is refused
	twoFaced := Case{ID: "G76b", What: "asks for URLs that two readers take for different places", Source: "probe.wat", Want: "invalid", Record: kernel.Allow, attack: probing(web, asks("api_call.get", gets(twoFacedURLs)...))}
	headers := Case{ID: "G76c", What: "smuggles headers, and another host's name", Source: "probe.wat", Want: "invalid", Record: kernel.Allow, attack: probing(web, asks("api_call.get",
		`{"url":"https://api.example.com/","headers":{"Host":"evil.example"}}`, `{"url":"https://api.example.com/","headers":{"X":"a\r\nHost: evil.example"}}`, `{"url":"https://api.example.com/","headers":{"X\r\nHost":"evil.example"}}`,
		`{"url":"https://api.example.com/","headers":{"Transfer-Encoding":"chunked"}}`, `{"url":"https://api.example.com/","headers":{"Proxy-Authorization":"x"}}`))}
	return []Case{
		denied("F58d", "asks the memory for keys that it has no grant for", probing(granted("memory.get", "key", "mine/*"), asks("memory.get",
			`{"key":"secret"}`, `{"key":"mine/../secret"}`, `{"key":"mine"}`, `{"key":"MINE/a"}`, `{"key":"mine/a/b"}`, `{"key":""}`, `{}`))),
		{ID: "F62b", What: "asks for another tenant's key, and says that it is that tenant", Source: "probe.wat", Want: "not there", Record: kernel.Allow, attack: otherTenant},
		denied("F65e", "asks for a host that it has no grant for", unreached(granted("http.request", "host", "api.example.com"), asks("http.request", append(gets(otherHosts), forged...)...))),
		ssrf, twoFaced, headers,
	}
}

// otherTenant reads a key that another tenant has, and the answer of the port.
func otherTenant(ctx context.Context, s *site) string {
	script := asks("memory.get", `{"key":"secret"}`).Do(probe.Field, replyDoc, "/found", free, 1000).Do(probe.Append, outputDoc, free, 1000)
	results, output, err := s.probe(ctx, granted("memory.get", "", ""), script)
	if err != nil || results[0] != 0 {
		return fmt.Sprintf("%v, %v", results, err)
	}
	claims := asks("memory.get", `{"key":"secret","tenant":"alice-inc"}`, `{"key":"alice-inc/secret"}`)
	if results, _, err = s.probe(ctx, granted("memory.get", "", ""), claims); err != nil || results[0] >= 0 {
		return fmt.Sprintf("the claim was taken: %v, %v", results, err)
	}
	if text := string(output); !strings.HasPrefix(text, "false") {
		return "it is there: " + kernel.Quote(text)
	}
	return "not there"
}
