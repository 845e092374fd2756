package openaillm_test

import (
	"testing"

	"github.com/hexdag/hexdag/host/ports/llm/llmtest"
	"github.com/hexdag/hexdag/host/ports/llm/openaillm"
)

func TestEndpoint(t *testing.T) {
	llmtest.RunEndpoint(t, llmtest.Endpoint{Open: openaillm.FromConfig, Path: "/v1", Embeds: true, Quota: true})
}
