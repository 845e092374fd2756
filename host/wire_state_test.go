package host_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/testserver"
)

// TestRedisMemory: what one host remembers, another finds, and finds again by a query.
func TestRedisMemory(t *testing.T) {
	r := testserver.Redis(t)
	t.Setenv("SHARED_REDIS_TOKEN", r.Address())
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
	server := testserver.Databases(t)
	url := server.NewDatabase()
	server.SQL(url, "CREATE TABLE orders (id text, total float8); INSERT INTO orders VALUES ('A', 1.5)")
	s := newSite(t, "  endpoints: ['"+server.Address()+"']\n  ports: {database: {adapter: postgres, config: {url: '"+url+"', read_only: true}}}\n")
	h := s.open(t)
	got, err := s.result(t, h, nil, service("last", "database.query", "{table: \"'orders'\"}", ""))
	if rows, _ := got["rows"].([]any); err != nil || len(rows) != 1 {
		t.Errorf("%v, %v", got, err)
	}
	_, err = s.result(t, h, map[string]any{"id": "B"}, service("last", "database.insert", "{table: \"'orders'\", row: $input}", ""))
	wantError(t, err, kernel.CodeDenied, "read-only")
	for url, says := range map[string]string{
		url: "names its host, user and password",
		strings.Replace(url, "hexdag@", "hexdag:x@", 1) + "&sslkey=/etc/key": "parameter sslkey",
		"postgres://a:b@127.0.0.1:1/x":                                       "may not send to Postgres at 127.0.0.1:1",
		"postgres://a:b@" + server.Address() + "/x?host=/run":                "two hosts",
	} {
		s.write(t, "own.yaml", "kind: Pipeline\nmetadata: {name: own}\nspec:\n  ports:\n    database: {adapter: postgres, config: {url: '"+url+"'}}\n  nodes: []\n")
		_, err := h.Load(t.Context(), s.path("own.yaml"), host.LoadOptions{})
		wantError(t, err, kernel.CodeConfig, says)
	}
}

// TestFileStorage: without configuration files are in the host's state; a folder is the
// operator's to name, and a pipeline's is below its own.
func TestFileStorage(t *testing.T) {
	s := newSite(t, "  tenant: acme\n")
	h := s.open(t)
	put, get := service("a", "file_storage.write", "{path: \"'reports/may.txt'\", content: $input}", ""), service("last", "file_storage.read", "{path: \"'reports/may.txt'\"}", "a")
	got, err := s.result(t, h, "tea", put, get)
	if err != nil || got["content"] != "tea" || readFile(t, s.path(".hexdag/files/acme/reports/may.txt")) != "tea" || h.Stores()["file_storage"] != s.path(".hexdag/files") {
		t.Errorf("%v, %v, %v", got, err, h.Stores())
	}
	_, err = s.result(t, h, "tea", service("last", "file_storage.read", "{path: \"'../audit/lock'\"}", ""))
	wantError(t, err, kernel.CodeArguments, "is no path")
	docs := newSite(t, "  ports: {file_storage: {adapter: local, config: {root: docs, shared: true, read_only: true}}}\n")
	docs.write(t, "docs/guide.md", "# Guide")
	got, err = docs.result(t, docs.open(t), nil, service("last", "file_storage.list", "{prefix: \"'g'\"}", ""))
	if files, _ := got["files"].([]any); err != nil || len(files) != 1 {
		t.Errorf("%v, %v", got, err)
	}
	for spec, says := range map[string]string{
		"{adapter: local, config: {root: ../elsewhere}}": "outside the pipeline's folder",
		"{adapter: local, config: {root: /etc}}":         "outside the pipeline's folder",
		"{adapter: blob, config: {url: 'file:///etc'}}":  "may not open the bucket",
		"{adapter: local, config: {max_files: -1}}":      "they are positive",
		"{adapter: local, config: {path: x}}":            "it takes root, max_file_bytes",
		"{adapter: s3}":                                  "known are blob, local",
	} {
		s.write(t, "own.yaml", "kind: Pipeline\nmetadata: {name: own}\nspec:\n  ports:\n    file_storage: "+spec+"\n  nodes: []\n")
		_, err := h.Load(t.Context(), s.path("own.yaml"), host.LoadOptions{})
		wantError(t, err, kernel.CodeConfig, says)
	}
	s.write(t, "own.yaml", "kind: Pipeline\nmetadata: {name: own}\nspec:\n  ports: {file_storage: {adapter: blob, config: {url: 'mem://'}}}\n  nodes:\n    - "+put+"\n    - "+get+"\n")
	p, err := h.Load(t.Context(), s.path("own.yaml"), host.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(t.Context())
	if res := p.Run(t.Context(), "cake", host.RunOptions{}); res.Err != nil {
		t.Error(res.Err)
	}
	if text := readFile(t, s.path(".hexdag/files/acme/reports/may.txt")); text != "tea" {
		t.Errorf("the operator's file is %q", text)
	}
}

// TestVectorSearch: what one node keeps another finds, in each adapter.
func TestVectorSearch(t *testing.T) {
	server := testserver.VectorDatabases(t)
	for spec, lasts := range map[string]bool{
		"  tenant: acme\n": false,
		"  ports: {vector_search: {adapter: hnsw, config: {metric: euclidean, max_vectors: 10}}}\n":      false,
		"  ports: {vector_search: {adapter: pgvector, config: {url: '" + server.NewDatabase() + "'}}}\n": true,
	} {
		s := newSite(t, spec)
		h := s.open(t)
		put := service("a", "vector_search.upsert", "{collection: \"'docs'\", vectors: $input}", "")
		find := func(depends string) string {
			return service("last", "vector_search.search", "{collection: \"'docs'\", vector: \"[1, 0]\", filters: \"{'lang': 'en'}\", top_k: 1}", depends)
		}
		docs := []any{map[string]any{"id": "x", "vector": []any{1, 0.5}, "metadata": map[string]any{"lang": "en"}}, map[string]any{"id": "y", "vector": []any{1, 0}, "metadata": map[string]any{"lang": "de"}}}
		found := func(got map[string]any, err error) string {
			matches, _ := got["matches"].([]any)
			if err != nil || len(matches) != 1 {
				return fmt.Sprint(got, err)
			}
			id, _ := matches[0].(map[string]any)["id"].(string)
			return id
		}
		if got := found(s.result(t, h, docs, put, find("a"))); got != "x" {
			t.Errorf("%s: %s", spec, got)
		}
		if err := h.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := found(s.result(t, s.open(t), nil, find(""))); (got == "x") != lasts {
			t.Errorf("%s: after a restart: %s", spec, got)
		}
	}
	for spec, says := range map[string]string{
		"{adapter: memory, config: {metric: manhattan}}":    "known are cosine, dot and euclidean",
		"{adapter: memory, config: {max_dimension: 20000}}": "at most 16000",
		"{adapter: hnsw, config: {url: x}}":                 "it takes metric",
		"{adapter: pgvector}":                               "url is missing",
	} {
		_, err := newSite(t, "  ports:\n    vector_search: "+spec+"\n").new(t)
		wantError(t, err, kernel.CodeConfig, says, "hexdag.yaml:5:")
	}
	s := newSite(t, "  tenant: acme\n")
	s.write(t, "own.yaml", "kind: Pipeline\nmetadata: {name: own}\nspec:\n  ports:\n    vector_search: {adapter: pgvector, config: {url: 'postgres://a:b@127.0.0.1:1/x'}}\n  nodes: []\n")
	_, err := s.open(t).Load(t.Context(), s.path("own.yaml"), host.LoadOptions{})
	wantError(t, err, kernel.CodeConfig, "may not send to Postgres")
}
