// Command mcp-conformance has the tools whose names the official conformance suite of the Model Context Protocol calls, so
// that the suite holds `hexdag mcp` to the protocol with a sandboxed module behind it. It is an example, too, of a tool that
// answers in MCP's own form: {"content": [...]}, for images, sound and documents.
package main

import (
	hexdag "github.com/hexdag/hexdag/guests/sdk/go"
	"github.com/hexdag/hexdag/guests/sdk/go/toolcall"
)

func init() { toolcall.Handle(answer) }

func main() {}

// What the suite looks for: a PNG of one pixel, and a WAV of no sample.
const (
	pixel    = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
	silence  = "UklGRiQAAABXQVZFZm10IBAAAAABAAEARKwAAIhYAQACABAAZGF0YQAAAAA="
	image    = `{"type":"image","mimeType":"image/png","data":"` + pixel + `"}`
	audio    = `{"type":"audio","mimeType":"audio/wav","data":"` + silence + `"}`
	document = `{"type":"resource","resource":{"uri":"test://embedded-resource","mimeType":"text/plain","text":"This is an embedded resource content."}}`
	mixed    = `{"type":"text","text":"Multiple content types test:"},` + image + `,{"type":"resource","resource":{"uri":"test://mixed-content-resource","mimeType":"application/json","text":"{\"test\":\"data\",\"value\":123}"}}`
)

func answer(c *hexdag.ToolCall) hexdag.Verdict {
	if v, known := asks(c); known {
		return v
	}
	switch c.Tool() {
	case "test_simple_text":
		return text(c, "This is a simple text response for testing.")
	case "test_image_content":
		return blocks(c, image)
	case "test_audio_content":
		return blocks(c, audio)
	case "test_embedded_resource":
		return blocks(c, document)
	case "test_multiple_content_types":
		return blocks(c, mixed)
	case "test_tool_with_logging":
		for _, line := range []string{"Tool execution started", "Tool processing data", "Tool execution completed"} {
			hexdag.Log(hexdag.LevelInfo, line)
		}
		return text(c, "Tool with logging executed successfully")
	case "test_tool_with_progress":
		for range 3 { // each call of a port is a step that the client is told of
			if _, err := hexdag.NewCall("metrics.count").String("/name", "steps").Int("/delta", 1).Do(); err != nil {
				return hexdag.FailWith(err)
			}
		}
		return text(c, "Tool with progress executed successfully")
	case "test_logging_tool":
		hexdag.Log(hexdag.LevelInfo, "test_logging_tool executed")
		return text(c, "logged")
	case "test_streaming_elicitation":
		return text(c, "a result, and no request beside it")
	case "test_error_handling":
		return hexdag.Fail("intended", "This tool intentionally returns an error for testing")
	case "json_schema_2020_12_tool":
		return text(c, "JSON Schema 2020-12 tool called with: "+c.Args().Raw(""))
	case "data_of":
		id := c.Args().String("/id")
		c.Result().SetString("/id", id)
		c.Result().SetString("/data", "Data for ID: "+id)
		c.Result().SetJSON("/templateTest", "true")
		return hexdag.Continue()
	case "test_x_mcp_header":
		return text(c, "region="+c.Args().String("/region"))
	}
	return hexdag.Fail("no_tool", "there is no such tool")
}

func text(c *hexdag.ToolCall, text string) hexdag.Verdict {
	c.Result().SetString("", text)
	return hexdag.Continue()
}

func blocks(c *hexdag.ToolCall, list string) hexdag.Verdict {
	c.Result().SetJSON("/content", "["+list+"]")
	return hexdag.Continue()
}
