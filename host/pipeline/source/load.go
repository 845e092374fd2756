package source

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
)

// includeTag is the name of the one member that stands for another file.
const includeTag = "!include"

// maxIncludes is how deep files may include files.
const maxIncludes = 10

// Load reads the documents of a file with what they include: other files below
// the file's own folder. read, if not nil, is told of every file that is read.
// Errors have CodeSyntax, or CodePipeline for an include that breaks a rule.
func Load(file string, read func(file string, text []byte)) ([]*Value, error) {
	root, err := os.OpenRoot(filepath.Dir(file))
	if err != nil {
		return nil, unreadable(kernel.Where{File: file}, err)
	}
	defer root.Close()
	l := loader{root: root, dir: filepath.Dir(file), read: read}
	return l.load(filepath.Base(file), kernel.Where{File: file})
}

// Parse is Load for text that includes nothing; file names it in errors.
func Parse(file string, text []byte) ([]*Value, error) {
	l := loader{}
	docs, err := parse(file, text, &l.count)
	if err != nil {
		return nil, err
	}
	return l.expandAll(docs, "")
}

// loader reads a file and those that it includes. Paths are relative to the root
// and written with slashes.
type loader struct {
	root  *os.Root // nil for text that is no file
	dir   string   // of the root, for errors
	stack []string // the files that are being read
	count int      // values read so far
	read  func(file string, text []byte)
}

// load reads a file; at is where it is named.
func (l *loader) load(name string, at kernel.Where) ([]*Value, error) {
	f, err := l.root.Open(name)
	if err != nil {
		return nil, unreadable(at, err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, unreadable(at, err)
	}
	file := filepath.Join(l.dir, filepath.FromSlash(name))
	if l.read != nil {
		l.read(file, text)
	}
	docs, err := parse(file, text, &l.count)
	if err != nil {
		return nil, err
	}
	l.stack = append(l.stack, name)
	defer func() { l.stack = l.stack[:len(l.stack)-1] }()
	return l.expandAll(docs, path.Dir(name))
}

func unreadable(at kernel.Where, err error) error {
	return &kernel.Error{Code: kernel.CodeSyntax, What: "the file cannot be read", Where: at, Why: err.Error(), Fix: "correct its path", Err: err}
}

func (l *loader) expandAll(docs []*Value, dir string) ([]*Value, error) {
	for i, doc := range docs {
		var err error
		if docs[i], err = l.expand(doc, dir); err != nil {
			return nil, err
		}
	}
	return docs, nil
}

// expand puts included files in place of what names them; dir is the folder that
// their paths are relative to.
func (l *loader) expand(v *Value, dir string) (*Value, error) {
	switch t := v.V.(type) {
	case []*Value:
		return l.expandList(v, t, dir)
	case *Mapping:
		if named := included(t); named != nil {
			return l.include(named, dir)
		}
		expanded := NewMapping()
		for _, name := range t.Names {
			item, err := l.expand(t.Members[name], dir)
			if err != nil {
				return nil, err
			}
			expanded.Put(name, t.Keys[name], item)
		}
		return v.With(expanded), nil
	}
	return v, nil
}

// expandList splices an included list into the list that includes it.
func (l *loader) expandList(v *Value, items []*Value, dir string) (*Value, error) {
	expanded := make([]*Value, 0, len(items))
	for _, item := range items {
		filled, err := l.expand(item, dir)
		if err != nil {
			return nil, err
		}
		m, _ := item.V.(*Mapping)
		if list, ok := filled.V.([]*Value); ok && m != nil && included(m) != nil {
			expanded = append(expanded, list...)
			continue
		}
		expanded = append(expanded, filled)
	}
	return v.With(expanded), nil
}

// included returns what a mapping names as its include; nil if it is another mapping.
func included(m *Mapping) *Value {
	if len(m.Names) != 1 {
		return nil
	}
	return m.Members[includeTag]
}

// include reads "file" or "file#member".
func (l *loader) include(named *Value, dir string) (*Value, error) {
	text, ok := named.Text()
	if !ok {
		return nil, named.Errorf(kernel.CodePipeline, "write \"!include\": file.yaml or file.yaml#member", "an include names a file, this is %s", named.TypeName())
	}
	file, anchor, _ := strings.Cut(text, "#")
	name, err := l.locate(named, file, dir)
	if err != nil {
		return nil, err
	}
	docs, err := l.load(name, named.Where())
	if err != nil {
		return nil, err
	}
	if len(docs) == 0 {
		return named.With(nil), nil
	}
	if anchor == "" {
		return docs[0], nil
	}
	member := docs[0].Member(anchor)
	if member == nil {
		var names []string
		if m, ok := docs[0].V.(*Mapping); ok {
			names = m.Names
		}
		return nil, named.Errorf(kernel.CodePipeline, kernel.DidYouMean(anchor, names), "%s has no member %s", kernel.Quote(file), kernel.Quote(anchor))
	}
	return member, nil
}

// locate returns the path of an included file below the root.
func (l *loader) locate(named *Value, file, dir string) (string, error) {
	refuse := func(why, fix string) (string, error) {
		e := named.Errorf(kernel.CodePipeline, fix, "%s cannot be included", kernel.Quote(file))
		e.Why = why
		return "", e
	}
	if l.root == nil {
		return refuse("this text is no file, so there is no folder to find it in", "load the pipeline from a file")
	}
	if path.IsAbs(file) || filepath.IsAbs(file) {
		return refuse("its path is absolute", "write a path relative to this file, below the pipeline's folder")
	}
	name := path.Join(dir, file)
	if !filepath.IsLocal(filepath.FromSlash(name)) {
		return refuse("it lies outside the folder of the pipeline", "move it below that folder")
	}
	for _, open := range l.stack {
		if open == name {
			return refuse("the includes go in a circle: "+strings.Join(append(l.stack, name), " -> "), "remove one of them")
		}
	}
	if len(l.stack) >= maxIncludes {
		return refuse(fmt.Sprintf("files include files more than %d deep", maxIncludes), "flatten them")
	}
	info, err := l.root.Stat(filepath.FromSlash(name))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return refuse("there is no such file", "correct its path; it is relative to "+kernel.Quote(path.Join(l.dir, dir)))
	case err != nil:
		return refuse(err.Error(), "a link must not lead out of the pipeline's folder")
	case !info.Mode().IsRegular(): // opening a pipe would wait for whoever writes to it
		return refuse("it is no file", "name a file")
	}
	return name, nil
}
