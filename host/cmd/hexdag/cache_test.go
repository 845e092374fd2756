package main

import (
	"strings"
	"testing"
)

// What a run was answered is there for the next process's.
func TestRunFromCache(t *testing.T) {
	at := folder(t, map[string]string{
		"hexdag.yaml":   "kind: Config\nspec: {ports: {llm: {adapter: mock, config: {responses: [one, two]}}}}\n",
		"pipeline.yaml": "kind: Pipeline\nmetadata: {name: p}\nspec: {nodes: [{kind: llm_node, metadata: {name: ask}, spec: {human_message: hi, cache: {ttl: 1h}}}]}\n",
	})
	run := func(fromCache bool, args ...string) {
		t.Helper()
		r := cli(t, "", append([]string{"run", at("pipeline.yaml")}, args...)...)
		r.wants(t, exitDone, "one")
		if strings.Contains(r.out+r.err, "from cache") != fromCache {
			t.Errorf("%v:\n%s%s", args, r.out, r.err)
		}
	}
	run(false)
	run(true)
	run(false, "--no-cache")
	cli(t, "", "run", at("pipeline.yaml"), "--json").wants(t, exitDone, `"cached":{"ask":{"run_id":"`, `"llm_calls":0`)
}
