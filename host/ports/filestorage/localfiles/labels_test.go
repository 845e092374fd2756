//go:build unix

package localfiles_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/filestorage"
)

func untrusted(t *testing.T) *kernel.Labels {
	t.Helper()
	labels, err := kernel.NewLabels(kernel.Untrusted, "", "http:a")
	if err != nil {
		t.Fatal(err)
	}
	return labels
}

func put(t *testing.T, f *filestorage.Files, path, text string, labels *kernel.Labels) {
	t.Helper()
	if _, err := f.Write(t.Context(), "", path, strings.NewReader(text), filestorage.WriteOptions{Labels: labels}); err != nil {
		t.Error(err)
	}
}

func labelsOf(t *testing.T, f *filestorage.Files, path string) string {
	t.Helper()
	info, err := f.Stat(t.Context(), "", path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Labels.String()
}

func shared(t *testing.T, dir string) *filestorage.Files {
	t.Helper()
	f := filestorage.New(open(t, dir), filestorage.Options{Shared: true})
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// marks returns the files that hold labels.
func marks(t *testing.T, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, ".hexdag/labels/*/*"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestLabelsOfTwoHosts: two that use one folder at once agree on what bytes are labelled, and leave
// no labels behind.
func TestLabelsOfTwoHosts(t *testing.T) {
	dir := t.TempDir()
	hosts := []*filestorage.Files{shared(t, dir), shared(t, dir)}
	web := untrusted(t)
	var writers, readers sync.WaitGroup
	var stop atomic.Bool
	for i, f := range hosts {
		for w := range 2 {
			writers.Go(func() {
				for n := range 80 {
					if labels := web; (n+w)%2 == 0 {
						put(t, f, "x", "web", labels)
					} else {
						put(t, f, "x", "own", nil)
					}
					if i == 0 && n%10 == 9 {
						_ = f.Delete(t.Context(), "", "x") // another may have
					}
				}
			})
		}
		readers.Go(func() {
			for !stop.Load() {
				r, info, err := f.Open(t.Context(), "", "x", 0, -1)
				if kernel.CodeOf(err) == kernel.CodeNotFound {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				text, err := io.ReadAll(r)
				_ = r.Close()
				if err != nil || string(text) == "web" && info.Labels == nil {
					t.Errorf("%s has %s, %v", text, info.Labels, err)
					return
				}
			}
		})
	}
	writers.Wait()
	stop.Store(true)
	readers.Wait()
	put(t, hosts[0], "x", "own", nil)
	if got := labelsOf(t, hosts[1], "x"); got != "trusted, public" || len(marks(t, dir)) > 0 {
		t.Errorf("%s, %v", got, marks(t, dir))
	}
}

// TestLabelsAfterCrash: what a crash leaves makes labels stricter at most, and goes with what it is of.
func TestLabelsAfterCrash(t *testing.T) {
	dir := t.TempDir()
	f := shared(t, dir)
	put(t, f, "x", "own", nil)
	put(t, f, "other", "web", untrusted(t))
	put(t, f, "x2", "web", untrusted(t))
	mark := marks(t, dir)
	// A writer of x ended before its file had its place.
	left := filepath.Join(dir, ".hexdag", "LEFT")
	if err := os.WriteFile(left, []byte("web"), 0o600); err != nil {
		t.Fatal(err)
	}
	put(t, f, "x", "web", untrusted(t))
	var of string
	for _, m := range marks(t, dir) {
		if text, err := os.ReadFile(m); err == nil && strings.Contains(string(text), `"x"`) {
			of = m
		}
	}
	text, err := os.ReadFile(of)
	if err != nil || len(mark) != 2 {
		t.Fatal(err, mark)
	}
	put(t, f, "x", "own", nil)
	ofLeft := filepath.Join(filepath.Dir(of), "LEFT")
	if err := os.MkdirAll(filepath.Dir(of), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(ofLeft, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := labelsOf(t, f, "x"); got != "trusted, public" {
		t.Errorf("labels of what was never there: %s", got)
	}
	put(t, f, "x", "own", nil)
	if got := labelsOf(t, f, "x"); got != "trusted, public" || len(marks(t, dir)) != 3 {
		t.Errorf("%s, %v", got, marks(t, dir))
	}
	// What it left goes with its labels.
	if err := os.Chtimes(left, time.Time{}, time.Now().Add(-25*time.Hour)); err != nil {
		t.Fatal(err)
	}
	again := shared(t, dir)
	if got := labelsOf(t, again, "x"); got != "trusted, public" || len(marks(t, dir)) != 2 {
		t.Errorf("%s, %v", got, marks(t, dir))
	}
	// It ended after that, but before it took the older's labels away: they count until x is written anew.
	if err := os.MkdirAll(filepath.Dir(of), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(ofLeft, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := labelsOf(t, f, "x"); got != "untrusted, public (http:a)" {
		t.Errorf("%s", got)
	}
	put(t, f, "x", "own", nil)
	if got := labelsOf(t, f, "x"); got != "trusted, public" || len(marks(t, dir)) != 2 {
		t.Errorf("%s, %v", got, marks(t, dir))
	}
}

// TestDamagedLabels: what nobody can read is the worst, until the file is written anew or deleted.
func TestDamagedLabels(t *testing.T) {
	dir := t.TempDir()
	f := shared(t, dir)
	for _, mend := range []func(){func() { put(t, f, "x", "own", nil) }, func() {
		if err := f.Delete(t.Context(), "", "x"); err != nil {
			t.Error(err)
		}
		put(t, f, "x", "own", nil)
	}} {
		put(t, f, "x", "web", untrusted(t))
		if err := os.WriteFile(marks(t, dir)[0], []byte(`{"path": "x", "lab`), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := labelsOf(t, f, "x"); got != "untrusted, secret (file_storage:damaged)" {
			t.Errorf("damaged: %s", got)
		}
		mend()
		if got := labelsOf(t, f, "x"); got != "trusted, public" || len(marks(t, dir)) > 0 {
			t.Errorf("%s, %v", got, marks(t, dir))
		}
	}
}

// TestLabelsGoWithTheFolder: a copy of the folder has them, whatever the file system calls its files; so
// has a file that its operator mends.
func TestLabelsGoWithTheFolder(t *testing.T) {
	dir, copied := t.TempDir(), filepath.Join(t.TempDir(), "copy")
	f := shared(t, dir)
	put(t, f, "d/x", "web", untrusted(t))
	if _, err := f.Stat(t.Context(), "", "d/X"); err == nil {
		t.Skip("the file system ignores case")
	}
	put(t, f, "d/X", "own", nil)
	put(t, f, "d/y", "own", nil)
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "d/x"), []byte("mended"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, f := range []*filestorage.Files{f, shared(t, copied)} {
		for path, want := range map[string]string{"d/x": "untrusted, public (http:a)", "d/X": "trusted, public", "d/y": "trusted, public"} {
			if got := labelsOf(t, f, path); got != want {
				t.Errorf("%s: %s", path, got)
			}
		}
		put(t, f, "d/X", "own", nil) // which is another file
		if got := labelsOf(t, f, "d/x"); got != "untrusted, public (http:a)" {
			t.Errorf("%s", got)
		}
	}
}

// TestLabelsOfTwoNames: a file that was given its name, and has not lost that of while it was written, has
// its labels.
func TestLabelsOfTwoNames(t *testing.T) {
	dir := t.TempDir()
	f := shared(t, dir)
	put(t, f, "x", "web", untrusted(t))
	if err := os.Link(filepath.Join(dir, "x"), filepath.Join(dir, ".hexdag", filepath.Base(marks(t, dir)[0]))); err != nil {
		t.Fatal(err)
	}
	if got := labelsOf(t, f, "x"); got != "untrusted, public (http:a)" {
		t.Errorf("%s", got)
	}
	put(t, f, "x", "own", nil)
	if got := labelsOf(t, f, "x"); got != "trusted, public" {
		t.Errorf("%s", got)
	}
}
