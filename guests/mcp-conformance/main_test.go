package main

import (
	"strings"
	"testing"

	"github.com/hexdag/hexdag/guests/sdk/go/hexdagtest"
)

func TestAnswers(t *testing.T) {
	for tool, says := range map[string]string{
		"test_simple_text":            "This is a simple text response for testing.",
		"test_audio_content":          `"type":"audio"`,
		"test_embedded_resource":      "test://embedded-resource",
		"test_multiple_content_types": "image/png",
		"test_tool_with_logging":      "successfully",
		"test_tool_with_progress":     "successfully",
		"json_schema_2020_12_tool":    `{\"name\":\"a\"}`,
	} {
		host := hexdagtest.New(t)
		host.OnCall("metrics.count", func(hexdagtest.Request) hexdagtest.Reply { return hexdagtest.Reply{Value: "{}"} })
		got := host.ToolCall(answer, `{"tool": "`+tool+`", "args": {"name": "a"}}`)
		if got.Verdict != "continue" || !strings.Contains(got.Output, says) {
			t.Errorf("%s: %+v", tool, got)
		}
	}
	for _, tool := range []string{"test_error_handling", "another"} {
		if got := hexdagtest.New(t).ToolCall(answer, `{"tool": "`+tool+`", "args": {}}`); got.Verdict != "error" {
			t.Errorf("%s: %+v", tool, got)
		}
	}
}
