package googlellm_test

import (
	"testing"

	"github.com/hexdag/hexdag/host/ports/llm/googlellm"
	"github.com/hexdag/hexdag/host/ports/llm/llmtest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	llmtest.RunEndpoint(t, llmtest.Endpoint{Open: googlellm.FromConfig, Embeds: true})
}
