package testserver

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host/testenv"
)

// S3 starts versitygw, a server of S3's protocol over a folder, with one bucket, and
// returns that one's URL. Its credentials go into the test's environment. It skips the test, or in
// CI fails it, where there is none.
func S3(t *testing.T) (bucketURL string) {
	t.Helper()
	testenv.NeedServer(t, "S3 server")
	program := builtProgram(t, "versitygw")
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "data", "bucket"), 0o700); err != nil {
		t.Fatal(err)
	}
	addr := serve(t, func(port int) *exec.Cmd {
		return exec.Command(program, "--access", "access", "--secret", "secretsecret", "--port", loopback(port), "--quiet", "posix", filepath.Join(dir, "data"))
	})
	t.Setenv("AWS_ACCESS_KEY_ID", "access")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secretsecret")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	return "s3://bucket?region=us-east-1&use_path_style=true&endpoint=http://" + addr
}

// GCS starts fake-gcs-server, which speaks Google Cloud Storage's protocol, as S3 does.
func GCS(t *testing.T) (bucketURL string) {
	t.Helper()
	testenv.NeedServer(t, "GCS server")
	program := builtProgram(t, "fake-gcs-server")
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "bucket"), 0o700); err != nil {
		t.Fatal(err)
	}
	addr := serve(t, func(port int) *exec.Cmd {
		return exec.Command(program, "-scheme", "http", "-host", "127.0.0.1", "-port", strconv.Itoa(port), "-public-host", loopback(port), "-data", dir, "-filesystem-root", filepath.Join(dir, "root"), "-log-level", "error")
	})
	t.Setenv("STORAGE_EMULATOR_HOST", addr)
	return "gs://bucket"
}

// Azure starts Azurite, which speaks Azure Blob Storage's protocol, as S3 does.
func Azure(t *testing.T) (bucketURL string) {
	t.Helper()
	testenv.NeedServer(t, "Azurite")
	node := testenv.NeedProgram(t, "node", "nodejs npm")
	script := filepath.Join(buildDir(t), "azurite", "node_modules", "azurite", "dist", "src", "blob", "main.js")
	if _, err := os.Stat(script); err != nil {
		testenv.Missing(t, "Azurite; run 'make toolchains'")
	}
	dir := t.TempDir()
	addr := serve(t, func(port int) *exec.Cmd {
		return exec.Command(node, script, "--silent", "--skipApiVersionCheck", "--disableTelemetry", "--blobHost", "127.0.0.1", "--blobPort", strconv.Itoa(port), "--location", dir)
	})
	// Azurite's account and key are public, and the same everywhere.
	const key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
	t.Setenv("AZURE_STORAGE_ACCOUNT", "devstoreaccount1")
	t.Setenv("AZURE_STORAGE_KEY", key)
	return "azblob://bucket?protocol=http&localemu=true&domain=" + addr
}

// MLflow starts an MLflow server that serves artifacts alone and returns its URL, as S3 does.
func MLflow(t *testing.T) (serverURL string) {
	t.Helper()
	testenv.NeedServer(t, "MLflow")
	program := filepath.Join(buildDir(t), "mlflow", "bin", "mlflow")
	if _, err := os.Stat(program); err != nil {
		testenv.Missing(t, "MLflow; run 'make toolchains'")
	}
	dir := t.TempDir()
	return "http://" + serve(t, func(port int) *exec.Cmd {
		cmd := exec.Command(program, "server", "--artifacts-only", "--host", "127.0.0.1", "--port", strconv.Itoa(port), "--workers", "1", "--artifacts-destination", dir)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "MLFLOW_DISABLE_TELEMETRY=true", "DO_NOT_TRACK=true")
		return cmd
	})
}

// serve starts a server on a free port and waits until it listens there.
func serve(t *testing.T, command func(port int) *exec.Cmd) (addr string) {
	t.Helper()
	port := FreePort(t)
	return start(t, loopback(port), nil, func() *exec.Cmd {
		cmd := command(port)
		cmd.WaitDelay = time.Second // a child that it left may hold its output
		return cmd
	}).Address()
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// builtProgram returns a program that 'make toolchains' builds.
func builtProgram(t testing.TB, name string) string {
	t.Helper()
	found, _ := filepath.Glob(filepath.Join(buildDir(t), "bin", name+"-v*")) // the pattern is good
	if len(found) == 0 {
		testenv.Missing(t, fmt.Sprintf("%s; run 'make toolchains'", name))
	}
	return found[len(found)-1]
}

// buildDir returns the folder that 'make toolchains' installs into.
func buildDir(t testing.TB) string {
	t.Helper()
	_, file, _, ok := runtime.Caller(0)
	if !ok || !strings.HasSuffix(filepath.ToSlash(file), "host/testserver/objectstore.go") {
		t.Fatal("this program was built without the paths of its sources")
	}
	return filepath.Join(filepath.Dir(file), "..", "..", ".build")
}
