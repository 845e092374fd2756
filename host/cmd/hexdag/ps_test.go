package main

import (
	"strings"
	"testing"
)

func TestPS(t *testing.T) {
	path := folder(t, map[string]string{
		"hexdag.yaml": "kind: Config\nspec: {tenant: acme}\n",
		"good.yaml":   "kind: Pipeline\nmetadata: {name: good}\nspec: {nodes: [{kind: data_node, metadata: {name: n}, spec: {output: {}}}]}\n",
	})
	config := path("hexdag.yaml")
	cli(t, "", "ps", "--config", config).wants(t, 0, "there are no such runs")
	cli(t, "", "run", path("good.yaml"), "--config", config).wants(t, 0)
	cli(t, "", "ps", "--config", config).wants(t, 0, "completed  good")
	cli(t, "", "ps", "--config", config, "--status", "failed").wants(t, 0, "there are no such runs")
	r := cli(t, "", "ps", "--config", config, "--json", "--pipeline", "good")
	runs := decode[[]map[string]any](t, r.out)
	if len(runs) != 1 || runs[0]["status"] != "completed" || runs[0]["run_id"] == "" {
		t.Error(strings.TrimSpace(r.out))
	}
	cli(t, "", "ps", "--config", config, "--limit", "9999").refuses(t, 1, "limit is 9999", "it is from 1 to 500")
}
