package host_test

import (
	"strings"
	"testing"

	"github.com/hexdag/hexdag/host"
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

// TestPostgresDatabase: rows of Postgres in a run, and what a pipeline may not bring.
func TestPostgresDatabase(t *testing.T) {
	server := testserver.NewPostgres(t)
	url := server.NewDatabase()
	server.SQL("test1", "CREATE TABLE orders (id text, total float8); INSERT INTO orders VALUES ('A', 1.5)")
	s := newSite(t, "  endpoints: ['"+server.Addr+"']\n  ports: {database: {adapter: postgres, config: {url: '"+url+"', read_only: true}}}\n")
	h := s.open(t)
	got, err := s.result(t, h, nil, service("last", "database.query", "{table: \"'orders'\"}", ""))
	if rows, _ := got["rows"].([]any); err != nil || len(rows) != 1 {
		t.Errorf("%v, %v", got, err)
	}
	_, err = s.result(t, h, map[string]any{"id": "B"}, service("last", "database.insert", "{table: \"'orders'\", row: $input}", ""))
	wantError(t, err, kernel.CodeDenied, "read-only")
	for url, says := range map[string]string{
		url: "names its host, user and password",
		strings.Replace(url, "postgres@", "postgres:x@", 1) + "&sslkey=/etc/key": "parameter sslkey",
		"postgres://a:b@127.0.0.1:1/x":                                           "may not send to Postgres at 127.0.0.1:1",
		"postgres://a:b@" + server.Addr + "/x?host=/run":                         "two hosts",
	} {
		s.write(t, "own.yaml", "kind: Pipeline\nmetadata: {name: own}\nspec:\n  ports:\n    database: {adapter: postgres, config: {url: '"+url+"'}}\n  nodes: []\n")
		_, err := h.Load(t.Context(), s.path("own.yaml"), host.LoadOptions{})
		wantError(t, err, kernel.CodeConfig, says)
	}
}
