//go:build unix

package localfiles_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/kernel/kerneltest"
	"github.com/hexdag/hexdag/host/ports/filestorage"
	"github.com/hexdag/hexdag/host/ports/filestorage/driver"
	"github.com/hexdag/hexdag/host/ports/filestorage/filestoragetest"
	"github.com/hexdag/hexdag/host/ports/filestorage/localfiles"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, dir string) driver.Storage {
	t.Helper()
	s, err := localfiles.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConformance(t *testing.T) {
	filestoragetest.Run(t, func(t *testing.T) driver.Storage { return open(t, filepath.Join(t.TempDir(), "files")) })
}

// TestJail: links, whoever put them there, lead nowhere, out of the folder or into another
// tenant's; pipes and hidden files are not there either.
func TestJail(t *testing.T) {
	base := t.TempDir()
	dir := filepath.Join(base, "files")
	f := filestorage.New(open(t, dir), filestorage.Options{})
	defer f.Close()
	for tenant, path := range map[string]string{"acme": "d/own", "bob": "d/secret"} {
		if _, err := f.Write(t.Context(), tenant, path, strings.NewReader("x"), filestorage.WriteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	outside := filepath.Join(base, "outside")
	if err := os.Mkdir(outside, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(outside, "secret"), []byte("top"), 0o600); err != nil {
		t.Fatal(err)
	}
	acme := filepath.Join(dir, "acme")
	for link, target := range map[string]string{"file": filepath.Join(outside, "secret"), "folder": outside, "up": "../..", "bob": "../bob", "bobs": "../bob/d/secret", "self": "d", "own": "d/own", "loop": "loop"} {
		if err := os.Symlink(target, filepath.Join(acme, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(acme, ".env"), []byte("top"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(acme, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"file", "folder/secret", "up/outside/secret", "bob/d/secret", "bobs", "self/own", "own", "loop", "loop/x", "pipe", "d", "d/own/x"} {
		if _, _, err := f.Open(t.Context(), "acme", path, 0, -1); kernel.CodeOf(err) != kernel.CodeNotFound {
			t.Errorf("open %s: %v", path, err)
		}
		if _, err := f.Stat(t.Context(), "acme", path); kernel.CodeOf(err) != kernel.CodeNotFound {
			t.Errorf("stat %s: %v", path, err)
		}
		if err := f.Delete(t.Context(), "acme", path); kernel.CodeOf(err) != kernel.CodeNotFound {
			t.Errorf("delete %s: %v", path, err)
		}
	}
	for _, path := range []string{"folder/new", "up/new", "bob/d/secret", "self/new", "loop/x", "d/own/x", "d"} {
		if _, err := f.Write(t.Context(), "acme", path, strings.NewReader("y"), filestorage.WriteOptions{}); kernel.CodeOf(err) != kernel.CodeUnavailable || strings.Contains(err.Error(), base) {
			t.Errorf("write %s: %v", path, err)
		}
	}
	// A link in the place of a file is replaced, not followed.
	if _, err := f.Write(t.Context(), "acme", "file", strings.NewReader("mine"), filestorage.WriteOptions{}); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(filepath.Join(outside, "secret")); err != nil || string(text) != "top" {
		t.Errorf("outside: %q, %v", text, err)
	}
	found, _, err := f.List(t.Context(), "acme", "", "", 100)
	if err != nil || len(found) != 2 || found[0].Path != "d/own" || found[1].Path != "file" {
		t.Errorf("%+v, %v", found, err)
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
}

// TestLeftovers: what a crash left beside goes after a day, and is never a file.
func TestLeftovers(t *testing.T) {
	dir := t.TempDir()
	temp := filepath.Join(dir, ".hexdag")
	if err := os.Mkdir(temp, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, age := range map[string]time.Duration{"old": 25 * time.Hour, "young": time.Hour} {
		path := filepath.Join(temp, name)
		if err := os.WriteFile(path, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, time.Time{}, time.Now().Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	f := filestorage.New(open(t, dir), filestorage.Options{Shared: true})
	defer f.Close()
	if entries, err := os.ReadDir(temp); err != nil || len(entries) != 1 || entries[0].Name() != "young" {
		t.Errorf("%v, %v", entries, err)
	}
	if found, _, err := f.List(t.Context(), "", "", "", 10); err != nil || len(found) != 0 {
		t.Errorf("%v, %v", found, err)
	}
}

// BenchmarkWrite is beside a file that is written and synced.
func BenchmarkWrite(b *testing.B) {
	data := strings.Repeat("x", 64<<10)
	b.Run("port", func(b *testing.B) {
		f := filestorage.New(open(b, b.TempDir()), filestorage.Options{})
		defer f.Close()
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			if _, err := f.Write(b.Context(), "acme", "a/b", strings.NewReader(data), filestorage.WriteOptions{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("plain", func(b *testing.B) {
		path := filepath.Join(b.TempDir(), "a")
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			file, err := os.Create(path)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := file.WriteString(data); err != nil {
				b.Fatal(err)
			}
			if err := file.Sync(); err != nil {
				b.Fatal(err)
			}
			if err := file.Close(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// TestFencesOfTwo writes one file through two storages of one folder, as two processes do: the last bytes are
// those of the largest token, whoever came when.
func TestFencesOfTwo(t *testing.T) {
	dir := t.TempDir()
	var files []*filestorage.Files
	for range 2 {
		f := filestorage.New(open(t, dir), filestorage.Options{})
		t.Cleanup(func() { f.Close() })
		files = append(files, f)
	}
	var wg sync.WaitGroup
	for n := range uint64(20) {
		wg.Go(func() {
			text := strconv.FormatUint(n+1, 10)
			_, err := files[n%2].Write(kerneltest.Under(t.Context(), "acme", "r", "a", n+1), "acme", "x", strings.NewReader(text), filestorage.WriteOptions{})
			if err != nil && kernel.CodeOf(err) != kernel.CodeLockLost {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got, err := os.ReadFile(filepath.Join(dir, "acme", "x")); err != nil || string(got) != "20" {
		t.Errorf("%s, %v", got, err)
	}
}
