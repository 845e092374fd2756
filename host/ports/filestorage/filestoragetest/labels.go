package filestoragetest

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/ports/filestorage"
)

// web are the labels of what comes from outside, vault those of a secret.
func web(t testing.TB) *kernel.Labels   { return made(t, kernel.Untrusted, "", "http:a") }
func vault(t testing.TB) *kernel.Labels { return made(t, "", kernel.Secret, "vault") }

const (
	plain     = "trusted, public"
	fromWeb   = "untrusted, public (http:a)"
	fromVault = "trusted, secret (vault)"
	fromBoth  = "untrusted, secret (http:a, vault)"
)

func made(t testing.TB, i kernel.Integrity, c kernel.Confidentiality, source string) *kernel.Labels {
	t.Helper()
	labels, err := kernel.NewLabels(i, c, source)
	if err != nil {
		t.Fatal(err)
	}
	return labels
}

// carrying calls an operation with labels, and returns those of the reply, or the error's words.
func carrying(t *testing.T, f *filestorage.Files, labels *kernel.Labels, op, args string) string {
	t.Helper()
	value, err := kernel.DecodeJSON([]byte(args))
	if err != nil {
		t.Fatalf("%s: %v", args, err)
	}
	ops := f.Ops()
	i := slices.IndexFunc(ops, func(o ports.Op) bool { return o.Name == "file_storage."+op })
	ctx := kernel.WithRun(t.Context(), &kernel.RunContext{RunID: "run", Tenant: "acme"})
	reply, err := ops[i].Func(ctx, &kernel.PortCall{Op: "file_storage." + op, Args: value.(map[string]any), Labels: labels})
	if err != nil {
		return err.Error()
	}
	return reply.Labels.String()
}

// labelled expects of a file that what it has, what is known of it and that it is there have labels.
func labelled(t *testing.T, f *filestorage.Files, path, want string) {
	t.Helper()
	for op, args := range map[string]string{"read": `{"path": "` + path + `"}`, "stat": `{"path": "` + path + `"}`, "list": `{"prefix": "` + path + `"}`} {
		if got := carrying(t, f, nil, op, args); got != want {
			t.Errorf("%s %s: %s, want %s", op, path, got, want)
		}
	}
	r, info, err := f.Open(t.Context(), "acme", path, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if info.Labels.String() != want {
		t.Errorf("a piece of %s: %s, want %s", path, info.Labels, want)
	}
}

// testLabels: a file has the labels of the call that wrote it last.
func (h Harness) testLabels(t *testing.T) {
	s := h(t)
	f := filestorage.New(s, filestorage.Options{})
	t.Cleanup(func() { _ = f.Close() })
	put := func(labels *kernel.Labels, path string) {
		t.Helper()
		carrying(t, f, labels, "write", `{"path": "`+path+`", "content": "text"}`)
	}
	put(nil, "d/plain")
	labelled(t, f, "d/plain", plain)
	put(web(t), "d/web")
	put(vault(t), "e/vault")
	labelled(t, f, "d/plain", plain)
	labelled(t, f, "d/web", fromWeb)
	labelled(t, f, "e/vault", fromVault)
	for prefix, want := range map[string]string{"": fromBoth, "d/": fromWeb, "d/p": plain, "e": fromVault, "none": plain} {
		if got := carrying(t, f, nil, "list", `{"prefix": "`+prefix+`"}`); got != want {
			t.Errorf("list %q: %s, want %s", prefix, got, want)
		}
	}
	if got := ask(t, f, "acme", "list", `{}`); got != `{"files":[{"path":"d/plain","size":4},{"path":"d/web","size":4},{"path":"e/vault","size":4}]}` {
		t.Errorf("labels are files: %s", got)
	}
	// Another's file of the same name is another.
	write(t, f, "bob", "d/web", "x")
	if _, info, err := open(t, f, "bob", "d/web"); err != nil || info.Labels != nil {
		t.Errorf("bob's: %+v, %v", info, err)
	}

	// Whoever replaces a file says what it is.
	put(vault(t), "d/web")
	labelled(t, f, "d/web", fromVault)
	put(nil, "d/web")
	labelled(t, f, "d/web", plain)
	put(web(t), "d/web")
	labelled(t, f, "d/web", fromWeb)

	// What is not written changes nothing, either way.
	for _, labels := range []*kernel.Labels{nil, vault(t)} {
		for _, path := range []string{"d/web", "d/plain"} {
			carrying(t, f, labels, "write", `{"path": "`+path+`", "content": "y", "if_absent": true}`)
			broken := io.MultiReader(strings.NewReader("half"), iotest.ErrReader(fmt.Errorf("broken")))
			if _, err := f.Write(t.Context(), "acme", path, broken, filestorage.WriteOptions{Labels: labels}); err == nil {
				t.Error("no error")
			}
		}
		labelled(t, f, "d/web", fromWeb)
		labelled(t, f, "d/plain", plain)
	}
	carrying(t, f, web(t), "write", `{"path": "d/new", "content": "text", "if_absent": true}`)
	labelled(t, f, "d/new", fromWeb)

	// Whoever opens the storage again knows what others wrote.
	labelled(t, filestorage.New(s, filestorage.Options{}), "d/web", fromWeb)

	// What is deleted is gone with its labels.
	expect(t, f, "acme", "delete", `{"path": "d/web"}`, `{"deleted":true}`)
	if got := carrying(t, f, nil, "stat", `{"path": "d/web"}`); got != plain {
		t.Errorf("what is gone: %s", got)
	}
	put(nil, "d/web")
	labelled(t, f, "d/web", plain)
}

func open(t *testing.T, f *filestorage.Files, tenant, path string) (string, *filestorage.Info, error) {
	t.Helper()
	r, info, err := f.Open(t.Context(), tenant, path, 0, -1)
	if err != nil {
		return "", nil, err
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	return string(data), info, err
}

// testLabelsWhole: whoever reads while others replace and delete never has bytes without their labels.
func (h Harness) testLabelsWhole(t *testing.T) {
	f := h.open(t, filestorage.Options{})
	kinds := map[byte]*kernel.Labels{'p': nil, 'w': web(t), 'v': vault(t)}
	put := func(kind byte, ifAbsent bool) {
		_, err := f.Write(t.Context(), "acme", "d/x", strings.NewReader(strings.Repeat(string(kind), 100)), filestorage.WriteOptions{Labels: kinds[kind], IfAbsent: ifAbsent})
		if err != nil && !ifAbsent {
			t.Error(err)
		}
	}
	var writers, readers sync.WaitGroup
	var stop atomic.Bool
	var seen [256]atomic.Int64
	for w := range 3 {
		writers.Go(func() {
			for i := range 60 {
				put("pwv"[(i+w)%3], i%5 == 4)
				if (i+w)%7 == 6 {
					if err := f.Delete(t.Context(), "acme", "d/x"); err != nil && kernel.CodeOf(err) != kernel.CodeNotFound {
						t.Error(err)
					}
				}
			}
		})
		readers.Go(func() {
			for !stop.Load() {
				data, info, err := open(t, f, "acme", "d/x")
				if kernel.CodeOf(err) == kernel.CodeNotFound {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				want := kinds[data[0]]
				if seen[data[0]].Add(1); info.Labels.Join(want).String() != info.Labels.String() {
					t.Errorf("%.3s has %s", data, info.Labels)
					return
				}
				if _, _, err := f.List(t.Context(), "acme", "", "", 10); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	writers.Wait()
	stop.Store(true)
	readers.Wait()
	for _, kind := range "pwv" {
		if seen[kind].Load() == 0 {
			t.Logf("nobody read a %c", kind)
		}
	}
	put('p', false) // what is left of all that is nothing
	labelled(t, f, "d/x", plain)
	put('w', false)
	labelled(t, f, "d/x", fromWeb)
}
