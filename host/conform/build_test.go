package conform_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/hexdag/hexdag/host/testenv"
	"github.com/hexdag/hexdag/host/toolchain"
)

// built keeps what was built from one source, so that a test that is run again is
// quick. CI builds everything anew; make clean removes it.
const built = "../../.build/guests"

// made are directories that hold what builds make or fetch, and no source.
var made = []string{"target", "node_modules", "vendor", ".zig-cache", "test", "tests"}

// build compiles a guest in a folder beside or below its SDK.
func build(t *testing.T, dir string) []byte {
	t.Helper()
	return keep(t, dir, []string{filepath.Dir(dir), filepath.Join(sdks, "c", "hexdag.h"), "../toolchain"}, func(out string) {
		var log bytes.Buffer
		if err := toolchain.Build(t.Context(), dir, out, &log); err != nil {
			if toolchain.IsMissing(err) {
				testenv.Missing(t, err.Error())
			}
			t.Fatalf("%v\n%s", err, &log)
		}
	})
}

// keep returns what compile leaves at out, or left when it was made from the same source.
func keep(t *testing.T, dir string, source []string, compile func(out string)) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out.wasm")
	h := sha256.New()
	fmt.Fprintln(h, filepath.Base(dir))
	for _, path := range source {
		sum(t, h, path)
	}
	kept := filepath.Join(built, hex.EncodeToString(h.Sum(nil))+".wasm")
	if os.Getenv("CI") == "" {
		if wasm, err := os.ReadFile(kept); err == nil {
			return wasm
		}
	}
	compile(out)
	wasm, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(built, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(out, kept); err != nil && os.WriteFile(kept, wasm, 0o600) != nil { // on another file system
		t.Fatal(err)
	}
	return wasm
}

// sum adds a file, or all the source below a directory.
func sum(t *testing.T, h hash.Hash, path string) {
	t.Helper()
	err := filepath.WalkDir(path, func(file string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && slices.Contains(made, entry.Name()):
			return filepath.SkipDir
		case entry.IsDir() || entry.Name() == "Cargo.lock":
			return nil
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(path, file)
		fmt.Fprintf(h, "%s %d\n%s", name, len(text), text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
