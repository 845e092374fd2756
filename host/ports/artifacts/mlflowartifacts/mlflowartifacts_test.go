package mlflowartifacts_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/artifacts"
	"github.com/hexdag/hexdag/host/ports/artifacts/artifactstest"
	"github.com/hexdag/hexdag/host/ports/artifacts/driver"
	"github.com/hexdag/hexdag/host/ports/artifacts/mlflowartifacts"
	"github.com/hexdag/hexdag/host/testserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, opts mlflowartifacts.Options) *mlflowartifacts.Bucket {
	t.Helper()
	b, err := mlflowartifacts.NewBucket(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func TestConformance(t *testing.T) {
	server := testserver.MLflow(t)
	artifactstest.RunConformanceTests(t, func(t *testing.T) driver.Bucket {
		return open(t, mlflowartifacts.Options{URL: server, Prefix: strings.ReplaceAll(t.Name(), "/", "-") + "/", TempDir: t.TempDir()})
	}, artifactstest.NotAtomic, artifactstest.WithoutTimes)
}

func TestConfiguration(t *testing.T) {
	for _, bad := range []string{"", "mlflow", "ftp://mlflow", "https://user:hunter2@mlflow", "https://mlflow?token=hunter2", "https://%"} {
		_, err := mlflowartifacts.NewBucket(mlflowartifacts.Options{URL: bad})
		if kernel.CodeOf(err) != kernel.CodeConfig || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestServer answers as servers do that do not want, or are none.
func TestServer(t *testing.T) {
	t.Setenv("MLFLOW_TRACKING_TOKEN", "hunter2")
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"forbidden": {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no \x1b[31m", http.StatusForbidden) }, `MLflow answers 403 Forbidden: no \x1b[31m`},
		"elsewhere": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://elsewhere.example", http.StatusFound)
		}, "MLflow answers 302"},
		"no JSON": {func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer hunter2" {
				t.Errorf("credentials: %v", r.Header)
			}
			_, _ = w.Write([]byte("<html>"))
		}, "MLflow's list is no JSON"},
	} {
		server := httptest.NewServer(c.answer)
		s := artifacts.New(open(t, mlflowartifacts.Options{URL: server.URL}), artifacts.Options{})
		if _, err := s.List(t.Context(), "run"); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
		server.Close()
	}
}
