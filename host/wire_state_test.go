package host_test

import (
	"testing"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/testserver"
)

// TestRedisMemory: what one host remembers, another finds, and finds again by a query.
func TestRedisMemory(t *testing.T) {
	r := testserver.NewRedis(t)
	t.Setenv("SHARED_REDIS_TOKEN", r.Addr)
	spec := "  ports: {memory: {adapter: redis, config: {url: 'redis://${SHARED_REDIS_TOKEN}/2', prefix: 'shop:', max_keys: 10}}}\n"
	one, two := newSite(t, spec), newSite(t, spec)
	if _, err := one.result(t, one.open(t), map[string]any{"n": 1}, service("last", "memory.set", "{key: \"'k'\", value: $input, ttl: 60}", "")); err != nil {
		t.Fatal(err)
	}
	h := two.open(t)
	got, err := two.result(t, h, nil, service("last", "memory.get", recall, ""))
	if v, _ := got["value"].(map[string]any); err != nil || v["n"] != kernel.Number(1) {
		t.Errorf("%v, %v", got, err)
	}
	got, err = two.result(t, h, map[string]any{"n": 1}, service("last", "memory.query", "{where: $input}", ""))
	if found, _ := got["entries"].([]any); err != nil || len(found) != 1 {
		t.Errorf("%v, %v", got, err)
	}
}
