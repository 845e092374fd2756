package regoc

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/util"

	"github.com/hexdag/hexdag/host/extension/policy"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/policies"
)

// stockPrefix begins the names of the library's files.
const stockPrefix = "stock:"

// maxFile bounds one source file.
const maxFile = 16 << 20

type file struct {
	name     string // as errors name it
	inBundle string // its path within its folder, with slashes
	text     []byte
}

// files are the sources: all in the order of their names, and the data merged.
type files struct {
	all, rego []file
	stock     int // how many of rego are the library's
	data      map[string]any
}

// load reads the folders, and the stock library. Hidden files and folders, and
// links, are left out.
func load(dirs []string) (*files, error) {
	f := &files{data: map[string]any{}}
	for _, dir := range dirs {
		if err := f.walk(dir); err != nil {
			return nil, err
		}
	}
	if err := f.addLibrary(); err != nil {
		return nil, err
	}
	byName := func(a, b file) int { return cmp.Compare(a.inBundle, b.inBundle) }
	slices.SortFunc(f.all, byName)
	slices.SortFunc(f.rego, byName)
	return f, nil
}

func (f *files) walk(dir string) error {
	return filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return &kernel.Error{Code: kernel.CodePolicy, What: "a policy's source cannot be read", Where: kernel.Where{File: name}, Why: err.Error(), Err: err}
		}
		if name != dir && strings.HasPrefix(entry.Name(), ".") {
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if !entry.Type().IsRegular() {
			return nil
		}
		return f.add(dir, name)
	})
}

// addLibrary adds the policies of the stock library. A file that the sources have,
// wherever they have it, takes its place.
func (f *files) addLibrary() error {
	return fs.WalkDir(policies.Library, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || isTest(name) {
			return err
		}
		text, err := policies.Library.ReadFile(name)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(f.rego, func(o file) bool { return o.inBundle == name || bytes.Equal(o.text, text) }) {
			return nil
		}
		one := file{name: stockPrefix + name, inBundle: name, text: text}
		f.all, f.rego, f.stock = append(f.all, one), append(f.rego, one), f.stock+1
		return nil
	})
}

func (f *files) add(dir, name string) error {
	base := filepath.Base(name)
	isData := base == "data.json" || base == "data.yaml" || base == "data.yml"
	if !isData && filepath.Ext(base) != ".rego" {
		return nil
	}
	text, err := readFile(name)
	if err != nil {
		return err
	}
	inBundle, err := filepath.Rel(dir, name)
	if err != nil || inBundle == "." { // a file in place of a folder
		inBundle = base
	}
	one := file{name: name, inBundle: filepath.ToSlash(inBundle), text: text}
	f.all = append(f.all, one)
	if !isData {
		f.rego = append(f.rego, one)
		return nil
	}
	return f.addData(one)
}

func readFile(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err == nil && info.Size() > maxFile {
		err = fmt.Errorf("it has %d bytes, and the limit is %d", info.Size(), maxFile)
	}
	var text []byte
	if err == nil {
		text, err = os.ReadFile(name)
	}
	if err != nil {
		return nil, &kernel.Error{Code: kernel.CodePolicy, What: "a policy's source cannot be read", Where: kernel.Where{File: name}, Why: err.Error(), Err: err}
	}
	return text, nil
}

func (f *files) addData(one file) error {
	v, err := readData(one)
	if err == nil {
		dir, _ := path.Split(one.inBundle)
		err = policy.Place(f.data, dir, v)
	}
	if err != nil {
		return dataError(one, err)
	}
	return nil
}

func readData(one file) (kernel.Value, error) {
	if filepath.Ext(one.name) == ".json" {
		return kernel.DecodeJSON(one.text)
	}
	var v any
	if err := util.Unmarshal(one.text, &v); err != nil { // YAML
		return nil, err
	}
	return kernel.ToValue(v)
}

func dataError(one file, err error) error {
	return &kernel.Error{Code: kernel.CodePolicy, What: "a policy's data cannot be used", Where: kernel.Where{File: one.name}, Why: kernel.Quote(err.Error()), Err: err}
}

// parse parses the Rego files whose names are wanted, and returns the errors of all.
func (f *files) parse(wanted func(name string) bool) (map[string]*ast.Module, error) {
	modules := map[string]*ast.Module{}
	paths := map[string]string{}
	var failures []error
	for _, one := range f.rego {
		if !wanted(one.name) {
			continue
		}
		if other, taken := paths[one.inBundle]; taken {
			failures = append(failures, &kernel.Error{Code: kernel.CodePolicy, What: "two folders have a file of the same name", Where: kernel.Where{File: one.name}, Why: "the other is " + other, Fix: "rename one"})
			continue
		}
		paths[one.inBundle] = one.name
		m, err := parse(one.name, one.text)
		if err != nil {
			failures = append(failures, buildError(err))
			continue
		}
		modules[one.name] = m
	}
	return modules, errors.Join(failures...)
}

func parse(name string, text []byte) (*ast.Module, error) {
	return ast.ParseModuleWithOpts(name, string(text), ast.ParserOptions{
		RegoVersion: ast.RegoV1, ProcessAnnotation: true, Capabilities: Capabilities(),
	})
}

func isTest(name string) bool { return strings.HasSuffix(name, "_test.rego") }
