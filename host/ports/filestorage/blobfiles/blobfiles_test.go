package blobfiles_test

import (
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/kernel"
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

func TestConfiguration(t *testing.T) {
	for url, says := range map[string]string{"": "write file:///folder", "s3://bucket": "cannot be opened", "https://x": "cannot be opened", "file:///no/such/folder": "create_dir", "mem://?x=1": "invalid query"} {
		if _, err := blobfiles.Open(t.Context(), blobfiles.Config{URL: url}); kernel.CodeOf(err) != kernel.CodeConfig || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", url, err)
		}
	}
}
