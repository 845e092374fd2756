package httpapi_test

import (
	"context"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/hexdag/hexdag/host/server/httpapi"
	"github.com/hexdag/hexdag/host/testenv"
)

// TestFuzz has schemathesis ask all that the description of the API allows, and much that it does not: no answer is the server's own fault, and
// each is as described.
func TestFuzz(t *testing.T) {
	testenv.NeedServer(t, "schemathesis")
	st, err := filepath.Abs("../../../.build/schemathesis/bin/st")
	if err == nil {
		_, err = exec.LookPath(st)
	}
	if err != nil {
		testenv.Missing(t, "schemathesis; run 'make toolchains'")
	}
	reload := func(context.Context, httpapi.Identity) (*httpapi.Reloaded, error) {
		return &httpapi.Reloaded{Modules: []string{}, Pipelines: []string{}}, nil
	}
	s := open(t, options{api: httpapi.Options{PerSecond: 100_000, Reload: reload}})
	cmd := exec.CommandContext(t.Context(), st, "run", s.URL+"/openapi.json", "--header", "Authorization: Bearer "+adaToken, //nolint:gosec // this test
		"--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance,missing_required_header,unsupported_method,use_after_free",
		"--phases", "examples,coverage,fuzzing", "--max-examples", "15", "--seed", "1", "--continue-on-failure", "--request-timeout", "60", "--suppress-health-check", "all", "--no-color")
	cmd.Dir = t.TempDir() // where it keeps what it found
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
