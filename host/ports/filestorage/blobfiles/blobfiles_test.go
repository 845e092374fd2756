package blobfiles_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/filestorage"
	"github.com/hexdag/hexdag/host/ports/filestorage/blobfiles"
	"github.com/hexdag/hexdag/host/ports/filestorage/driver"
	"github.com/hexdag/hexdag/host/ports/filestorage/filestoragetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, cfg blobfiles.Config) driver.Storage {
	t.Helper()
	s, err := blobfiles.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConformanceMemory(t *testing.T) {
	filestoragetest.Run(t, func(t *testing.T) driver.Storage { return open(t, blobfiles.Config{URL: "mem://", Prefix: "files/"}) })
}

func TestConformanceFolder(t *testing.T) {
	filestoragetest.Run(t, func(t *testing.T) driver.Storage {
		return open(t, blobfiles.Config{URL: "file://" + t.TempDir() + "?no_tmp_dir=true"})
	})
}

// TestLabelsOfFolder: they are in the folder, for who opens it later; what nobody can read is the worst.
func TestLabelsOfFolder(t *testing.T) {
	dir := t.TempDir()
	files := func() *filestorage.Files {
		f := filestorage.New(open(t, blobfiles.Config{URL: "file://" + dir + "?no_tmp_dir=true", Prefix: "agents/"}), filestorage.Options{Shared: true})
		t.Cleanup(func() { _ = f.Close() })
		return f
	}
	labels, err := kernel.NewLabels(kernel.Untrusted, "", "http:a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := files().Write(t.Context(), "", "d/x", strings.NewReader("x"), filestorage.WriteOptions{Labels: labels}); err != nil {
		t.Fatal(err)
	}
	if found, next, err := files().List(t.Context(), "", "", "", 10); err != nil || next != "" || len(found) != 1 || found[0].Labels.String() != labels.String() {
		t.Errorf("%+v, %q, %v", found, next, err)
	}
	kept, err := filepath.Glob(filepath.Join(dir, "agents/.hexdag/labels/*"))
	if err != nil || len(kept) != 1 {
		t.Fatal(kept, err)
	}
	if err := os.WriteFile(kept[0], []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if info, err := files().Stat(t.Context(), "", "d/x"); err != nil || info.Labels.String() != "untrusted, secret (file_storage:damaged)" {
		t.Errorf("%+v, %v", info, err)
	}
}

func TestConfiguration(t *testing.T) {
	for url, says := range map[string]string{"": "write file:///folder", "s3://bucket": "cannot be opened", "https://x": "cannot be opened", "file:///no/such/folder": "create_dir", "mem://?x=1": "invalid query"} {
		if _, err := blobfiles.Open(t.Context(), blobfiles.Config{URL: url}); kernel.CodeOf(err) != kernel.CodeConfig || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", url, err)
		}
	}
}
