package anthropicllm_test

import (
	"testing"

	"github.com/hexdag/hexdag/host/ports/llm/anthropicllm"
	"github.com/hexdag/hexdag/host/ports/llm/llmtest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	llmtest.RunEndpoint(t, llmtest.Endpoint{Open: anthropicllm.FromConfig, Quota: true, Foreign: "claude-3-test"})
}
