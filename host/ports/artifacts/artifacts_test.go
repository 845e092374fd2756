package artifacts_test

import (
	"bufio"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/artifacts"
	"github.com/hexdag/hexdag/host/ports/artifacts/memartifacts"
	"github.com/hexdag/hexdag/host/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func wantCode(t *testing.T, what string, err error, want kernel.Code) {
	t.Helper()
	if got := kernel.CodeOf(err); got != want {
		t.Errorf("%s: got %v (%s), want %s", what, err, got, want)
	}
}

func TestNames(t *testing.T) {
	s := artifacts.New(memartifacts.NewBucket(), artifacts.Options{})
	try := func(runID, name string, opts artifacts.StoreOptions) error {
		_, err := s.Store(t.Context(), runID, name, strings.NewReader("x"), opts)
		return err
	}
	for _, name := range []string{"a", "a/b/c.json", "..a", "a..b/...", "März 2026 (1).txt", "日本", strings.Repeat("x", 255)} {
		wantCode(t, name, try("run", name, artifacts.StoreOptions{}), "")
	}
	for _, name := range []string{
		"", ".", "..", "../a", "a/../b", "a/..", "/a", "a/", "a//b", "./a", "a/./b", `a\b`, `..\a`, "C:a", "a:stream",
		"a\x00b", "a\nb", "a\x1b[31m", "a\u202eb", "a\u200bb", "a\u00a0b", "a\xff", strings.Repeat("x", 256),
	} {
		wantCode(t, kernel.Quote(name), try("run", name, artifacts.StoreOptions{}), kernel.CodeArguments)
	}
	for _, runID := range []string{"", "a\nb", "\xff", strings.Repeat("x", 256)} {
		wantCode(t, kernel.Quote(runID), try(runID, "a", artifacts.StoreOptions{}), kernel.CodeArguments)
		_, err := s.List(t.Context(), runID)
		wantCode(t, "List "+kernel.Quote(runID), err, kernel.CodeArguments)
	}
	wantCode(t, "a run id is no path", try("../run", "a", artifacts.StoreOptions{}), "")
	for _, contentType := range []string{"text/", "a b", "text/plain\r\nx: y", strings.Repeat("x", 256)} {
		wantCode(t, kernel.Quote(contentType), try("run", "a", artifacts.StoreOptions{ContentType: contentType}), kernel.CodeArguments)
	}
	wantCode(t, "no JSON", try("run", "a", artifacts.StoreOptions{Metadata: map[string]any{"f": func() {}}}), kernel.CodeArguments)
	wantCode(t, "large metadata", try("run", "a", artifacts.StoreOptions{Metadata: map[string]any{"x": strings.Repeat("x", 64<<10)}}), kernel.CodeArguments)
}

// TestLargestManifest fills everything that a manifest holds to its limit.
func TestLargestManifest(t *testing.T) {
	s := artifacts.New(memartifacts.NewBucket(), artifacts.Options{})
	long := strings.Repeat("<", 255) // six bytes each in JSON
	metadata := map[string]any{"x": strings.Repeat("x", 64<<10-len(`{"x":""}`))}
	a, err := s.Store(t.Context(), long, long, strings.NewReader("x"), artifacts.StoreOptions{ContentType: "text/" + strings.Repeat("x", 250), Metadata: metadata})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.RetrieveBytes(t.Context(), a.ID, 1); err != nil {
		t.Error(err)
	}
}

func TestIDs(t *testing.T) {
	s := artifacts.New(memartifacts.NewBucket(), artifacts.Options{})
	a, err := s.Store(t.Context(), "run", "a", strings.NewReader("x"), artifacts.StoreOptions{})
	if err != nil {
		t.Fatal(err)
	}
	other := a.ID[:len(a.ID)-1] + "0"
	if other == a.ID {
		other = a.ID[:len(a.ID)-1] + "1"
	}
	for id, want := range map[string]kernel.Code{
		"": kernel.CodeArguments, "x": kernel.CodeArguments, "sha256:": kernel.CodeArguments, "sha256:../../x": kernel.CodeArguments,
		strings.TrimPrefix(a.ID, "sha256:"): kernel.CodeArguments, strings.ToUpper(a.ID): kernel.CodeArguments,
		"sha256:" + strings.ToUpper(a.ID[7:]): kernel.CodeArguments, a.ID + "00": kernel.CodeArguments,
		other: kernel.CodeNotFound, a.Digest: kernel.CodeNotFound,
	} {
		_, _, err := s.Retrieve(t.Context(), id)
		wantCode(t, "Retrieve "+id, err, want)
		wantCode(t, "Delete "+id, s.Delete(t.Context(), id), want)
	}
}

func TestRetrieveBytesLimit(t *testing.T) {
	s := artifacts.New(memartifacts.NewBucket(), artifacts.Options{})
	a, err := s.Store(t.Context(), "run", "a", strings.NewReader("12345"), artifacts.StoreOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = s.RetrieveBytes(t.Context(), a.ID, 4)
	wantCode(t, "4 bytes", err, kernel.CodeLimit)
	data, _, err := s.RetrieveBytes(t.Context(), a.ID, 5)
	if err != nil || string(data) != "12345" {
		t.Errorf("%q, %v", data, err)
	}
}

// TestStreams stores and reads more than it would be wise to hold.
func TestStreams(t *testing.T) {
	const size = 64 << 20
	s := artifacts.New(memartifacts.NewBucket(), artifacts.Options{MaxSize: size})
	a, err := s.Store(t.Context(), "run", "a", io.LimitReader(zeros{}, size), artifacts.StoreOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r, _, err := s.Retrieve(t.Context(), a.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if n, err := io.Copy(io.Discard, r); n != size || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
	if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("behind the end: %d, %v", n, err)
	}
	_, err = s.Store(t.Context(), "run", "a", io.LimitReader(zeros{}, size+1), artifacts.StoreOptions{})
	wantCode(t, "one byte more", err, kernel.CodeLimit)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestTenantQuota(t *testing.T) {
	try := func(s *artifacts.Store, tenant, name, data string) (*artifacts.Artifact, error) {
		return s.Store(t.Context(), "run", name, strings.NewReader(data), artifacts.StoreOptions{Origin: artifacts.Origin{Tenant: tenant}})
	}
	bucket := memartifacts.NewBucket()
	_, err := try(artifacts.New(bucket, artifacts.Options{}), "acme", "a", "x")
	wantCode(t, "without a quota", err, "")
	manifest := int64(0) // all here are as long
	for o := range bucket.Walk(t.Context(), "manifests/") {
		manifest = o.Size
	}
	limit := 9 + 2*manifest
	opts := artifacts.Options{TenantBytes: limit}

	bucket = memartifacts.NewBucket()
	s := artifacts.New(bucket, opts)
	first, err := try(s, "acme", "a", "123456")
	wantCode(t, "within", err, "")
	_, err = try(s, "acme", "b", "1234")
	wantCode(t, "beyond", err, kernel.CodeLimit)
	if want := fmt.Sprintf("at most %d bytes with what describes them, those that are there have %d", limit, 6+manifest); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
	_, err = try(s, "umbrella", "b", strings.Repeat("x", int(limit-manifest-4-2))) // one digit more of the size, four letters of the name
	wantCode(t, "another's", err, "")
	_, err = try(s, "acme", "b", "123")
	wantCode(t, "up to it", err, "")
	_, err = try(s, "acme", "a", "123456")
	wantCode(t, "the same again", err, kernel.CodeLimit) // it is not known before it is read that it is the same
	reopened := artifacts.New(bucket, opts)
	_, err = try(reopened, "acme", "c", "")
	wantCode(t, "counted anew, and nothing but a manifest", err, kernel.CodeLimit)
	if err := s.Delete(t.Context(), first.ID); err != nil {
		t.Fatal(err)
	}
	_, err = try(s, "acme", "c", "123456")
	wantCode(t, "after a delete", err, "")
}

// TestTenantQuotaWhileStreaming gives a stream without end.
func TestTenantQuotaWhileStreaming(t *testing.T) {
	s := artifacts.New(memartifacts.NewBucket(), artifacts.Options{TenantBytes: 20 << 20})
	_, err := s.Store(t.Context(), "run", "endless", zeros{}, artifacts.StoreOptions{})
	wantCode(t, "endless", err, kernel.CodeLimit)
	_, err = s.Store(t.Context(), "run", "small", strings.NewReader("x"), artifacts.StoreOptions{})
	wantCode(t, "afterwards", err, "")
}

// TestFiveGigabytes stores and reads a stream in memory that does not grow with it.
func TestFiveGigabytes(t *testing.T) {
	if testing.Short() || testenv.Race {
		t.Skip("NOT CHECKED in -short and with the race detector: a stream of 5 GB")
	}
	const size = 5 << 30
	var peak uint64
	watched := readerFunc(func(p []byte) (int, error) {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		peak = max(peak, m.HeapInuse)
		return zeros{}.Read(p)
	})
	s := artifacts.New(memartifacts.NewBucket(), artifacts.Options{MaxSize: size})
	a, err := s.Store(t.Context(), "run", "large", io.LimitReader(bufio.NewReaderSize(watched, 8<<20), size), artifacts.StoreOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r, _, err := s.Retrieve(t.Context(), a.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if n, err := io.Copy(io.Discard, r); err != nil || n != size {
		t.Errorf("%d bytes, %v", n, err)
	}
	if peak > 128<<20 {
		t.Errorf("%d MiB of memory", peak>>20)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestHundredThousand lists the artifacts of a large run page by page.
func TestHundredThousand(t *testing.T) {
	if testing.Short() || testenv.Race {
		t.Skip("NOT CHECKED in -short and with the race detector: 100,000 artifacts")
	}
	const n = 100_000
	s := artifacts.New(memartifacts.NewBucket(), artifacts.Options{})
	for i := range n {
		if _, err := s.Store(t.Context(), "run", strconv.Itoa(i), strings.NewReader("x"), artifacts.StoreOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	seen, after := map[string]bool{}, ""
	for {
		page, err := s.ListPage(t.Context(), "run", after, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range page {
			if seen[a.Name] || a.ID <= after {
				t.Fatalf("%s comes again, or out of order", a.Name)
			}
			seen[a.Name], after = true, a.ID
		}
		if len(page) < 1000 {
			break
		}
	}
	if len(seen) != n {
		t.Errorf("%d of %d", len(seen), n)
	}
}
