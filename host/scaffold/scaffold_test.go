package scaffold

import (
	"archive/zip"
	"bytes"
	"flag"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/host/kernel"
)

var update = flag.Bool("update", false, "make the archives of the SDKs anew")

const sdkRoot = "../../guests/sdk"

// pack makes an archive of an SDK; the same files make the same bytes.
func pack(t *testing.T, s sdk) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	root := filepath.Join(sdkRoot, s.from)
	err := filepath.WalkDir(root, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			if err == nil && name != root && slices.Contains([]string{"probe", "example", "testdata", "test", "node_modules", "target", "vendor", ".zig-cache"}, e.Name()) {
				return fs.SkipDir
			}
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil || !s.keep(filepath.ToSlash(rel)) {
			return err
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		f, err := w.CreateHeader(&zip.FileHeader{Name: filepath.ToSlash(rel), Method: zip.Deflate})
		if err != nil {
			return err
		}
		_, err = f.Write(text)
		return err
	})
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// contents are an archive's files by name.
func contents(t *testing.T, archive []byte) map[string]string {
	t.Helper()
	r, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]string{}
	for _, f := range r.File {
		text, err := fs.ReadFile(r, f.Name)
		if err != nil {
			t.Fatal(err)
		}
		m[f.Name] = string(text)
	}
	return m
}

// TestSDKs compares the SDKs that projects carry with the repository's.
func TestSDKs(t *testing.T) {
	for _, s := range sdks {
		want := pack(t, s)
		if *update {
			if err := os.WriteFile(s.archive(), want, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		kept, err := os.ReadFile(s.archive())
		if err != nil {
			t.Fatal(err)
		}
		a, b := contents(t, want), contents(t, kept)
		if len(a) == 0 || len(a) != len(b) {
			t.Errorf("%s: %d files, the SDK has %d; run go test ./host/scaffold -update", s.archive(), len(b), len(a))
		}
		for name := range a {
			if a[name] != b[name] {
				t.Errorf("%s: %s is not the SDK's; run go test ./host/scaffold -update", s.archive(), name)
			}
		}
	}
}

// TestEveryKindInEveryLanguage renders all there is.
func TestEveryKindInEveryLanguage(t *testing.T) {
	if langs := Languages("hook"); !slices.Equal(langs, []string{"assemblyscript", "c", "go", "java", "javascript", "rust", "zig"}) {
		t.Errorf("hooks in %v", langs)
	}
	for _, kind := range Kinds() {
		for _, lang := range Languages(kind) {
			dir := filepath.Join(t.TempDir(), "new")
			names, err := New(Project{Kind: kind, Lang: lang, Name: "my-one", Dir: dir})
			if err != nil {
				t.Errorf("%s in %s: %v", kind, lang, err)
				continue
			}
			if !slices.Contains(names, "README.md") {
				t.Errorf("%s in %s has no page: %v", kind, lang, names)
			}
			for _, name := range names {
				text, err := os.ReadFile(filepath.Join(dir, name))
				if err != nil || len(text) == 0 {
					t.Errorf("%s in %s, %s: %d bytes, %v", kind, lang, name, len(text), err)
				}
				if isOurs := !strings.HasPrefix(name, "sdk/") && name != "hexdag.h"; isOurs && (bytes.Contains(text, []byte("{{")) || bytes.Contains(text, []byte("<no value>")) || path.Ext(name) == suffix || strings.Contains(name, "NAME")) {
					t.Errorf("%s in %s, %s is not rendered:\n%s", kind, lang, name, text)
				}
			}
		}
	}
}

// TestAliases: users call AssemblyScript by what it looks like.
func TestAliases(t *testing.T) {
	for alias, file := range map[string]string{"ts": "assembly/index.ts", "js": "main.js", "cpp": "a.c"} {
		names, err := New(Project{Kind: "hook", Lang: alias, Name: "a", Dir: filepath.Join(t.TempDir(), "new")})
		if err != nil || !slices.Contains(names, file) {
			t.Errorf("%s: %v, %v", alias, names, err)
		}
	}
	for alias, lang := range aliases {
		if !slices.Contains(Languages("hook"), lang) {
			t.Errorf("%s is %s, which is no language", alias, lang)
		}
	}
}

// TestEveryLanguageHasEveryKind: every kind of module is there in every language.
func TestEveryLanguageHasEveryKind(t *testing.T) {
	for kind := range points {
		if langs := Languages(kind); !slices.Equal(langs, Languages("hook")) {
			t.Errorf("%s in %v", kind, langs)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "mine"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		project Project
		code    kernel.Code
		says    string
	}{
		{Project{Kind: "hok", Name: "a"}, kernel.CodeInput, "did you mean hook?"},
		{Project{Kind: "ports", Name: "a"}, kernel.CodeInput, "did you mean port?"},
		{Project{Kind: "hook", Lang: "cobol", Name: "a"}, kernel.CodeInput, "there is no hook in the language cobol"},
		{Project{Kind: "policy", Lang: "go", Name: "a"}, kernel.CodeInput, "rego"},
		{Project{Kind: "hook", Name: "../a\x1b"}, kernel.CodeInput, `../a\x1b cannot be a module's`},
		{Project{Kind: "hook", Name: `a", "version": "1.0.0`}, kernel.CodeInput, "cannot be a module's"},
		{Project{Kind: "hook", Name: "a", Dir: full}, kernel.CodeFailed, "not empty"},
		{Project{Kind: "hook", Name: "a", Dir: filepath.Join(full, "mine", "a")}, kernel.CodeFailed, "mine"},
	} {
		if tc.project.Dir == "" {
			tc.project.Dir = filepath.Join(t.TempDir(), "new")
		}
		_, err := New(tc.project)
		if kernel.CodeOf(err) != tc.code || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%+v: %v", tc.project, err)
		}
	}
	if entries, err := os.ReadDir(full); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
}
