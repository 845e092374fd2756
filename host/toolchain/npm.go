package toolchain

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
)

// npmPackage is what a package.json says of dependencies.
type npmPackage struct {
	Dependencies    map[string]string `json:"dependencies"`
	DevDependencies map[string]string `json:"devDependencies"`
}

func readPackage(file string) (p npmPackage, err error) {
	text, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(text, &p)
	}
	if err != nil {
		return p, invalid(file, "package.json cannot be read", err.Error(), "mend it")
	}
	return p, nil
}

func (p npmPackage) dependsOn(name string) bool {
	return p.Dependencies[name] != "" || p.DevDependencies[name] != ""
}

// sdk returns the directory of the package hexdag that the guest depends on: where
// npm put it, or the one that "file:" names.
func (g *guestBuild) sdk() (string, error) {
	if dir, ok := upward(g.dir, filepath.Join("node_modules", "hexdag")); ok {
		return dir, nil
	}
	if dir, ok := strings.CutPrefix(g.npm.Dependencies["hexdag"], "file:"); ok {
		return filepath.Abs(filepath.Join(g.dir, dir))
	}
	return "", invalid(g.dir, "the guest does not say where its SDK is", "its package.json has no dependency hexdag that npm has installed", `write "dependencies": {"hexdag": "file:PATH"} with the path of the SDK's folder, or run 'npm install'`)
}

// upward looks for a path in dir and in the directories above it.
func upward(dir, path string) (string, bool) {
	dir, err := filepath.Abs(dir)
	for err == nil {
		if found := filepath.Join(dir, path); exists(found) {
			return found, true
		}
		if filepath.Dir(dir) == dir {
			break
		}
		dir = filepath.Dir(dir)
	}
	return "", false
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
