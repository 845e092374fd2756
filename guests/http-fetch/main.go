// Command http-fetch is a tool, fetch, that gets a page or a document from the web
// through the http port: what it may reach is what the operator lists there and
// grants here, as {http.request: {host: api.example.com, method: GET}}.
//
// Configuration, all of it optional:
//
//	max_bytes  of the text that it gives back; what is longer is cut; 100000
//	timeout_s  of the request; the port's own
//
// A status that says that a request failed is a result. What is no text, such as an
// image, is told by its size.
package main

import (
	"strings"
	"unicode/utf8"

	hexdag "github.com/hexdag/hexdag/guests/sdk/go"
	"github.com/hexdag/hexdag/guests/sdk/go/toolcall"
)

func init() { toolcall.Handle(fetch) }

func main() {}

func fetch(c *hexdag.ToolCall) hexdag.Verdict {
	if c.Tool() != "fetch" {
		return hexdag.Fail("no_tool", "the only tool is fetch")
	}
	url := c.Args().String("/url")
	if !strings.HasPrefix(url, "https://") && !strings.HasPrefix(url, "http://") {
		return hexdag.Fail("bad_arguments", "url begins with https:// or http://")
	}
	config := hexdag.Config()
	most, timeout := int(config.Int("/max_bytes", 100_000)), config.Float("/timeout_s", 0)
	if most < 1 || timeout < 0 {
		return hexdag.Fail("bad_config", "config: max_bytes and timeout_s are positive")
	}
	call := hexdag.NewCall("http.request").String("/method", "GET").String("/url", url)
	if timeout > 0 {
		call = call.JSON("/timeout", config.Raw("/timeout_s"))
	}
	reply, err := call.Do()
	if err != nil {
		return hexdag.FailWith(err)
	}
	give(c.Result(), reply, most)
	return hexdag.Continue()
}

// give writes the result: a document's JSON text where the answer was JSON.
func give(result, reply hexdag.Doc, most int) {
	result.SetInt("/status", reply.Int("/status_code", 0))
	result.SetString("/content_type", reply.String("/headers/content-type"))
	if size := reply.BodySize(); size > 0 {
		result.SetInt("/binary_bytes", size)
		return
	}
	text := reply.Raw("/body")
	if reply.Kind("/body") == hexdag.KindNull {
		text = ""
	}
	cut := len(text) > most
	if cut {
		for most > 0 && !utf8.RuneStart(text[most]) {
			most--
		}
		text = text[:most]
	}
	result.SetString("/text", text)
	result.SetBool("/cut", cut)
}
