package filestoragetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/filestorage"
)

// goodPaths are names that a backend might take for one another, or for a command.
var goodPaths = []string{"a", "a b", "a/b", "a/b.c/d", "b/c", "é", "日本/🦔", "a-b_c~d!@#$%^&()[]{}';,+=`", "%2e%2e", "%", "a%2Fb", "x.", "-rf", "~", "~root", "$HOME", "'", "a..b", "c/d..e/f", "__0x2f__", "con1", strings.Repeat("k", 200), strings.Repeat("d/", 100) + "x"}

func (h Harness) testPaths(t *testing.T) {
	f := h.open(t, filestorage.Options{})
	var good []string
	for _, path := range goodPaths {
		if path != "x." && path != "a" { // no path, and a folder's name
			good = append(good, path)
		}
	}
	for i, path := range good {
		write(t, f, "acme", path, fmt.Sprint(i))
	}
	for i, path := range good {
		if got := read(t, f, "acme", path); got != fmt.Sprint(i) {
			t.Errorf("%q: %q", path, got)
		}
	}
	var listed []string
	for page := ""; ; {
		found, next, err := f.List(t.Context(), "acme", "", page, 7)
		if err != nil {
			t.Fatal(err)
		}
		for _, info := range found {
			listed = append(listed, info.Path)
		}
		if page = next; next == "" {
			break
		}
	}
	slices.Sort(good)
	if !slices.Equal(listed, good) {
		t.Errorf("listed %q\nwant %q", listed, good)
	}
}

// noPaths lead out, or mean something else to some system.
var noPaths = []string{
	"", "/", ".", "..", "./a", "../a", "a/..", "a/../b", "a/./b", "a//b", "/a", "/etc/passwd", "a/", "..\\a", "a\\b", "C:\\a", "C:a", "c:", "\\\\host\\share", "a:b", "a\x00b", "a\nb", "\x1b[2J", "a*", "?", "a|b", "<", `"`,
	".hidden", "a/.git/config", ".hexdag/x", "a.", "a ", " a", "a. ", "a./b", "a /b", "CON", "con", "nul.txt", "a/AUX", "com1", "LPT9.x", "COM¹", "\u202ea", "a\u200b", "e\u0301", "\xff", "a\u2028", strings.Repeat("a", 256), strings.Repeat("a/", 513), "file:///etc/passwd", "...", "a/...",
}

func (h Harness) testNoPaths(t *testing.T) {
	f := h.open(t, filestorage.Options{})
	write(t, f, "acme", "a/b", "here")
	for _, path := range noPaths {
		for what, err := range map[string]error{
			"open":   func() error { _, _, err := f.Open(t.Context(), "acme", path, 0, -1); return err }(),
			"stat":   func() error { _, err := f.Stat(t.Context(), "acme", path); return err }(),
			"delete": f.Delete(t.Context(), "acme", path),
			"write": func() error {
				_, err := f.Write(t.Context(), "acme", path, strings.NewReader("x"), filestorage.WriteOptions{})
				return err
			}(),
		} {
			if kernel.CodeOf(err) != kernel.CodeArguments || !strings.Contains(err.Error(), "is no path") {
				t.Errorf("%s %.40q: %v", what, path, err)
			}
		}
	}
	for _, prefix := range []string{"/", "../", "..", "a/../", "a//", ".", "a/.", "a\\", "a\x00", "*", "\xff"} {
		if _, _, err := f.List(t.Context(), "acme", prefix, "", 10); kernel.CodeOf(err) != kernel.CodeArguments {
			t.Errorf("list %q: %v", prefix, err)
		}
	}
	expect(t, f, "acme", "list", `{}`, `{"files":[{"path":"a/b","size":4}]}`)
}

func (h Harness) testList(t *testing.T) {
	f := h.open(t, filestorage.Options{})
	paths := []string{"a-b/x", "a.txt", "a/1", "a/2/x", "a/2/y", "a/é", "a0", "aé", "b/1", "日本/1"}
	for _, path := range slices.Backward(paths) {
		write(t, f, "acme", path, path)
	}
	for prefix, want := range map[string][]string{"": paths, "a/": paths[2:6], "a": paths[:8], "a/2": paths[3:5], "a/2/": paths[3:5], "a/2/x": paths[3:4], "a.": paths[1:2], "c": nil, "a/2/x/": nil, "日": paths[9:], "b": paths[8:9], "a/2/xx": nil} {
		found, next, err := f.List(t.Context(), "acme", prefix, "", 100)
		var got []string
		for _, info := range found {
			got = append(got, info.Path)
			if info.Size != int64(len(info.Path)) || info.Modified.IsZero() {
				t.Errorf("%+v", info)
			}
		}
		if err != nil || next != "" || !slices.Equal(got, want) {
			t.Errorf("%q: %q, %q, %v, want %q", prefix, got, next, err, want)
		}
	}
}

func (h Harness) testPages(t *testing.T) {
	f := h.open(t, filestorage.Options{})
	var want []string
	for i := range 250 {
		path := fmt.Sprintf("d%d/f%03d", i%3, i)
		want = append(want, path)
		write(t, f, "acme", path, "x")
	}
	write(t, f, "bob", "d0/f000", "x")
	slices.Sort(want)
	for _, size := range []int{1, 7, 100, 250, 1000} {
		var got []string
		for page, calls := "", 0; calls <= 251; calls++ {
			found, next, err := f.List(t.Context(), "acme", "d", page, size)
			if err != nil || len(found) > size {
				t.Fatal(len(found), err)
			}
			for _, info := range found {
				got = append(got, info.Path)
			}
			if page = next; next == "" {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("in pages of %d: %d paths, want %d in order", size, len(got), len(want))
		}
	}
	// A page that somebody made up shows nothing of another's.
	for _, page := range []string{"x", "bob", "../", "~", "Ym9iL2QwL2YwMDA", strings.Repeat("x", 5000)} {
		found, _, err := f.List(t.Context(), "acme", "d", page, 1000)
		for _, info := range found {
			if !slices.Contains(want, info.Path) {
				t.Errorf("page %q: %q", page, info.Path)
			}
		}
		if err != nil && kernel.CodeOf(err) != kernel.CodeArguments && kernel.CodeOf(err) != kernel.CodeUnavailable {
			t.Errorf("page %.20q: %v", page, err)
		}
	}
}
