package moduledev

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
)

// stamp tells one state of a file from another.
type stamp struct {
	size    int64
	changed time.Time
}

// sources are the files of a module, by path.
type sources map[string]stamp

func (s sources) same(other sources) bool { return maps.Equal(s, other) }

// maxFiles bounds how much is looked at ten times a second.
const maxFiles = 10_000

// outputs are folders in which toolchains keep what they make.
var outputs = []string{"node_modules", "vendor", "target", "zig-out", "build", "dist"}

// look lists the files below dir, but for what is made of them. It compares dates
// rather than wait for events of the system: those are lost on some file systems.
func look(dir string) (sources, error) {
	found := sources{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist) && path != dir:
			return nil // gone since its folder was read
		case err != nil:
			return err
		case path != dir && strings.HasPrefix(e.Name(), "."), e.IsDir() && path != dir && slices.Contains(outputs, e.Name()):
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil
		case e.IsDir() || filepath.Ext(path) == ".wasm":
			return nil
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if found[path] = (stamp{info.Size(), info.ModTime()}); len(found) > maxFiles {
			return fmt.Errorf("it holds more than %d files", maxFiles)
		}
		return nil
	})
	if err != nil {
		return nil, &kernel.Error{Code: kernel.CodeModuleNotFound, What: "the source cannot be looked at", Where: kernel.Where{File: dir}, Why: err.Error(), Fix: "name the folder of one module's source", Err: err}
	}
	return found, nil
}
