package source

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/host/kernel"
)

// write makes a folder and returns it. A text that begins with -> is a link.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if target, ok := strings.CutPrefix(text, "->"); ok {
			if err := os.Symlink(target, path); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// shown renders the first document as JSON.
func shown(t *testing.T, docs []*Value) string {
	t.Helper()
	text, err := kernel.EncodeJSON(docs[0].Plain())
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestIncludes(t *testing.T) {
	for name, tc := range map[string]struct {
		files map[string]string
		want  string
	}{
		"a value":                           {map[string]string{"p.yaml": "a: {\"!include\": b.yaml}\n", "b.yaml": "x: 1\n"}, `{"a":{"x":1}}`},
		"by its tag":                        {map[string]string{"p.yaml": "a: !include b.yaml\n", "b.yaml": "x: 1\n"}, `{"a":{"x":1}}`},
		"a member":                          {map[string]string{"p.yaml": "a: {\"!include\": b.yaml#deep}\n", "b.yaml": "other: 1\ndeep: [2]\n"}, `{"a":[2]}`},
		"a list in a list is spliced":       {map[string]string{"p.yaml": "a: [0, {\"!include\": b.yaml}, 3]\n", "b.yaml": "[1, 2]\n"}, `{"a":[0,1,2,3]}`},
		"a mapping in a list is an item":    {map[string]string{"p.yaml": "a: [0, {\"!include\": b.yaml}]\n", "b.yaml": "x: 1\n"}, `{"a":[0,{"x":1}]}`},
		"a list of lists is not flattened":  {map[string]string{"p.yaml": "a: [[1], [\"!include\"]]\n"}, `{"a":[[1],["!include"]]}`},
		"relative to the file that says so": {map[string]string{"p.yaml": "a: {\"!include\": sub/b.yaml}\n", "sub/b.yaml": "x: {\"!include\": c.yaml}\ny: {\"!include\": ../top.yaml}\n", "sub/c.yaml": "1\n", "top.yaml": "2\n"}, `{"a":{"x":1,"y":2}}`},
		"the first document":                {map[string]string{"p.yaml": "a: {\"!include\": b.yaml}\n", "b.yaml": "1\n---\n2\n"}, `{"a":1}`},
		"an empty file is null":             {map[string]string{"p.yaml": "a: {\"!include\": b.yaml}\n", "b.yaml": "# nothing\n"}, `{"a":null}`},
		"the same file twice":               {map[string]string{"p.yaml": "[{\"!include\": b.yaml}, {\"!include\": b.yaml}]\n", "b.yaml": "x\n"}, `["x","x"]`},
		"a link within":                     {map[string]string{"p.yaml": "a: {\"!include\": link.yaml}\n", "sub/b.yaml": "1\n", "link.yaml": "->sub/b.yaml"}, `{"a":1}`},
		"among other members it is one":     {map[string]string{"p.yaml": "a: {\"!include\": b.yaml, x: 1}\n"}, `{"a":{"!include":"b.yaml","x":1}}`},
		"ten deep":                          {chain(10), `{"n":{"n":{"n":{"n":{"n":{"n":{"n":{"n":{"n":1}}}}}}}}}`},
	} {
		t.Run(name, func(t *testing.T) {
			docs, err := Load(filepath.Join(write(t, tc.files), "p.yaml"), nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := shown(t, docs); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

// chain is n files of which each includes the next.
func chain(n int) map[string]string {
	files := map[string]string{}
	for i := range n {
		name := fmt.Sprintf("%d.yaml", i)
		if i == 0 {
			name = "p.yaml"
		}
		files[name] = fmt.Sprintf("n: {\"!include\": %d.yaml}\n", i+1)
		if i == n-1 {
			files[name] = "1\n"
		}
	}
	return files
}

func TestIncludesThatAreRefused(t *testing.T) {
	outside := write(t, map[string]string{"secret.yaml": "password: hunter2\n"})
	for name, tc := range map[string]struct {
		files map[string]string
		says  []string
	}{
		"outside":                 {map[string]string{"p.yaml": "a: {\"!include\": ../x.yaml}\n"}, []string{"p.yaml:1:", "../x.yaml cannot be included", "outside the folder of the pipeline"}},
		"outside, by a way round": {map[string]string{"p.yaml": "a: {\"!include\": sub/../../x.yaml}\n", "sub/b.yaml": "1\n"}, []string{"outside the folder of the pipeline"}},
		"outside, from below":     {map[string]string{"p.yaml": "a: {\"!include\": sub/b.yaml}\n", "sub/b.yaml": "\n\nx: {\"!include\": ../../x.yaml}\n"}, []string{"b.yaml:3:", "outside the folder of the pipeline"}},
		"absolute":                {map[string]string{"p.yaml": "a: {\"!include\": " + filepath.Join(outside, "secret.yaml") + "}\n"}, []string{"its path is absolute"}},
		"a link out":              {map[string]string{"p.yaml": "a: {\"!include\": link.yaml}\n", "link.yaml": "->" + filepath.Join(outside, "secret.yaml")}, []string{"link.yaml cannot be included", "must not lead out"}},
		"a folder that leads out": {map[string]string{"p.yaml": "a: {\"!include\": dir/secret.yaml}\n", "dir": "->" + outside}, []string{"cannot be included", "must not lead out"}},
		"itself":                  {map[string]string{"p.yaml": "a: {\"!include\": p.yaml}\n"}, []string{"go in a circle: p.yaml -> p.yaml"}},
		"in a circle":             {map[string]string{"p.yaml": "a: {\"!include\": b.yaml}\n", "b.yaml": "a: {\"!include\": sub/../p.yaml}\n"}, []string{"b.yaml:1:", "go in a circle: p.yaml -> b.yaml -> p.yaml"}},
		"a link to itself":        {map[string]string{"p.yaml": "a: {\"!include\": l.yaml}\n", "l.yaml": "->p.yaml"}, []string{"l.yaml"}},
		"eleven deep":             {chain(12), []string{"9.yaml:1:", "more than 10 deep"}},
		"no such file":            {map[string]string{"p.yaml": "a: {\"!include\": b.yaml}\n"}, []string{"b.yaml cannot be included", "no such file", "relative to"}},
		"no such member":          {map[string]string{"p.yaml": "a: {\"!include\": b.yaml#nods}\n", "b.yaml": "nodes: []\n"}, []string{"b.yaml has no member nods", "did you mean nodes?"}},
		"no such member, no map":  {map[string]string{"p.yaml": "a: {\"!include\": b.yaml#x}\n", "b.yaml": "[1]\n"}, []string{"has no member x"}},
		"a folder":                {map[string]string{"p.yaml": "a: {\"!include\": sub}\n", "sub/b.yaml": "1\n"}, []string{"it is no file"}},
		"no text":                 {map[string]string{"p.yaml": "a: {\"!include\": [b.yaml]}\n"}, []string{"p.yaml:1:17", "an include names a file, this is a list"}},
		"broken":                  {map[string]string{"p.yaml": "a: {\"!include\": b.yaml}\n", "b.yaml": "x: [\n"}, []string{"b.yaml:1:", "not valid YAML"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(filepath.Join(write(t, tc.files), "p.yaml"), nil)
			if kernel.CodeOf(err).Class() != kernel.ClassBadInput {
				t.Fatalf("%v", err)
			}
			for _, s := range tc.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("%v does not say %q", err, s)
				}
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("it was read: %v", err)
			}
		})
	}
	if _, err := Parse("p.yaml", []byte("a: {\"!include\": b.yaml}\n")); err == nil || !strings.Contains(err.Error(), "this text is no file") {
		t.Errorf("a text without a folder: %v", err)
	}
}

// A few files that include each other often cannot make the loader work without end.
func TestIncludesAreBounded(t *testing.T) {
	files := map[string]string{}
	for i := range 9 {
		name := fmt.Sprintf("%d.yaml", i)
		if i == 0 {
			name = "p.yaml"
		}
		files[name] = strings.Repeat(fmt.Sprintf("- {\"!include\": %d.yaml}\n", i+1), 20)
	}
	files["9.yaml"] = "1\n"
	_, err := Load(filepath.Join(write(t, files), "p.yaml"), nil)
	if kernel.CodeOf(err) != kernel.CodeSyntax || !strings.Contains(err.Error(), "more than 100000 values") {
		t.Errorf("%v", err)
	}
}

// Errors of what an include brought say where that stands.
func TestIncludedPlaces(t *testing.T) {
	dir := write(t, map[string]string{"p.yaml": "a:\n  - {\"!include\": sub/b.yaml}\n", "sub/b.yaml": "\n- x: 1\n  y: 2\n"})
	docs, err := Load(filepath.Join(dir, "p.yaml"), nil)
	if err != nil {
		t.Fatal(err)
	}
	item := docs[0].Member("a").V.([]*Value)[0].Member("y")
	if where := item.Where(); where.File != filepath.Join(dir, "sub", "b.yaml") || where.Line != 3 || where.Column != 6 {
		t.Errorf("y is at %s", where)
	}
}
