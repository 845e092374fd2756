// Package filestoragetest is the suite that every backend of the file storage port passes.
package filestoragetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/ports/filestorage"
	"github.com/hexdag/hexdag/host/ports/filestorage/driver"
)

// Harness makes an empty storage. The suite closes it.
type Harness func(t *testing.T) driver.Storage

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	t.Run("Files", h.testFiles)
	t.Run("Ranges", h.testRanges)
	t.Run("Paths", h.testPaths)
	t.Run("NoPaths", h.testNoPaths)
	t.Run("Tenants", h.testTenants)
	t.Run("List", h.testList)
	t.Run("Pages", h.testPages)
	t.Run("IfAbsent", h.testIfAbsent)
	t.Run("Broken", h.testBroken)
	t.Run("Whole", h.testWhole)
	t.Run("Labels", h.testLabels)
	t.Run("LabelsWhole", h.testLabelsWhole)
	t.Run("Room", h.testRoom)
	t.Run("Stream", h.testStream)
	t.Run("ReadOnly", h.testReadOnly)
	t.Run("Arguments", h.testArguments)
	t.Run("Ended", h.testEnded)
	t.Run("Fences", h.testFences)
	t.Run("FencesRace", h.testFencesRace)
}

func (h Harness) open(t *testing.T, opts filestorage.Options) *filestorage.Files {
	t.Helper()
	f := filestorage.New(h(t), opts)
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return f
}

// call calls an operation as the door does.
func call(ctx context.Context, t *testing.T, f *filestorage.Files, tenant, op, args string, body []byte) (*kernel.PortReply, error) {
	t.Helper()
	value, err := kernel.DecodeJSON([]byte(args))
	if err != nil {
		t.Fatalf("%s: %v", args, err)
	}
	ops := f.Ops()
	i := slices.IndexFunc(ops, func(o ports.Op) bool { return o.Name == "file_storage."+op })
	if i < 0 {
		t.Fatalf("there is no operation %s", op)
	}
	ctx = kernel.WithRun(ctx, &kernel.RunContext{RunID: "run", Tenant: tenant})
	return ops[i].Func(ctx, &kernel.PortCall{Op: "file_storage." + op, Args: value.(map[string]any), Body: body})
}

// ask is call that returns the reply without its times, as JSON.
func ask(t *testing.T, f *filestorage.Files, tenant, op, args string) string {
	t.Helper()
	reply, err := call(t.Context(), t, f, tenant, op, args, nil)
	if err != nil {
		return err.Error()
	}
	value := reply.Value.(map[string]any)
	delete(value, "modified")
	if files, ok := value["files"].([]any); ok {
		for _, file := range files {
			delete(file.(map[string]any), "modified")
		}
	}
	text, err := kernel.EncodeJSON(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func expect(t *testing.T, f *filestorage.Files, tenant, op, args, want string) {
	t.Helper()
	if got := ask(t, f, tenant, op, args); got != want {
		t.Errorf("%s: %s %s:\n got %s\nwant %s", tenant, op, args, got, want)
	}
}

func refuse(t *testing.T, f *filestorage.Files, op, args string, code kernel.Code, says string) {
	t.Helper()
	reply, err := call(t.Context(), t, f, "acme", op, args, nil)
	if kernel.CodeOf(err) != code || !strings.Contains(fmt.Sprint(err), says) {
		t.Errorf("%s %.200s: %v, %v, want %s and %q", op, args, reply, err, code, says)
	}
}

func write(t *testing.T, f *filestorage.Files, tenant, path, content string) {
	t.Helper()
	if _, err := f.Write(t.Context(), tenant, path, strings.NewReader(content), filestorage.WriteOptions{}); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// read returns a file, or the error's words.
func read(t *testing.T, f *filestorage.Files, tenant, path string) string {
	t.Helper()
	r, _, err := f.Open(t.Context(), tenant, path, 0, -1)
	if err != nil {
		return err.Error()
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Errorf("%s: %v", path, err)
	}
	return string(data)
}

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

func (h Harness) testFiles(t *testing.T) {
	f := h.open(t, filestorage.Options{})
	const a = `{"path": "d/a.txt"}`
	expect(t, f, "acme", "stat", a, `{"exists":false,"path":"d/a.txt","size":null}`)
	expect(t, f, "acme", "delete", a, `{"deleted":false}`)
	refuse(t, f, "read", a, kernel.CodeNotFound, "there is no file d/a.txt")
	expect(t, f, "acme", "write", `{"path": "d/a.txt", "content": "été"}`, `{"path":"d/a.txt","sha256":"`+digest("été")+`","size":5,"written":true}`)
	expect(t, f, "acme", "read", a, `{"content":"été","eof":true,"offset":0,"path":"d/a.txt","size":5}`)
	expect(t, f, "acme", "stat", a, `{"exists":true,"path":"d/a.txt","size":5}`)
	expect(t, f, "acme", "write", `{"path": "d/a.txt", "json": {"b": 1, "a": [1.50]}}`, `{"path":"d/a.txt","sha256":"`+digest(`{"a":[1.50],"b":1}`)+`","size":18,"written":true}`)
	expect(t, f, "acme", "read", a, `{"content":"{\"a\":[1.50],\"b\":1}","eof":true,"offset":0,"path":"d/a.txt","size":18}`)
	expect(t, f, "acme", "write", a, `{"path":"d/a.txt","sha256":"`+digest("")+`","size":0,"written":true}`)
	expect(t, f, "acme", "read", a, `{"content":"","eof":true,"offset":0,"path":"d/a.txt","size":0}`)
	for _, data := range [][]byte{{0}, {0xff, 0xfe}, []byte("a\x00b"), bytes.Repeat([]byte{0, 1, 2, 255}, 50_000)} {
		if _, err := call(t.Context(), t, f, "acme", "write", a, data); err != nil {
			t.Fatal(err)
		}
		reply, err := call(t.Context(), t, f, "acme", "read", a, nil)
		if err != nil || reply.Value.(map[string]any)["content"] != nil || !bytes.Equal(reply.Body, data) {
			t.Errorf("%d bytes: %v, %v", len(data), reply, err)
		}
	}
	reply, err := call(t.Context(), t, f, "acme", "read", `{"path": "d/a.txt", "raw": true, "length": 2}`, nil)
	if err != nil || string(reply.Body) != "\x00\x01" {
		t.Errorf("raw: %v, %v", reply, err)
	}
	expect(t, f, "acme", "delete", a, `{"deleted":true}`)
	expect(t, f, "acme", "delete", a, `{"deleted":false}`)
	expect(t, f, "acme", "list", `{}`, `{"files":[]}`)
}

func (h Harness) testRanges(t *testing.T) {
	f := h.open(t, filestorage.Options{MaxReadBytes: 4})
	write(t, f, "acme", "a", "0123456789")
	for args, want := range map[string]string{
		`"offset": 0, "length": 3`:     `{"content":"012","eof":false,"offset":0,"path":"a","size":10}`,
		`"offset": 7, "length": 3`:     `{"content":"789","eof":true,"offset":7,"path":"a","size":10}`,
		`"offset": 8, "length": 4`:     `{"content":"89","eof":true,"offset":8,"path":"a","size":10}`,
		`"offset": 10`:                 `{"content":"","eof":true,"offset":10,"path":"a","size":10}`,
		`"offset": 1000`:               `{"content":"","eof":true,"offset":1000,"path":"a","size":10}`,
		`"length": 0`:                  `{"content":"","eof":false,"offset":0,"path":"a","size":10}`,
		`"offset": 2`:                  `{"content":"2345","eof":false,"offset":2,"path":"a","size":10}`,
		`"offset": null, "raw": false`: `{"content":"0123","eof":false,"offset":0,"path":"a","size":10}`,
	} {
		expect(t, f, "acme", "read", `{"path": "a", `+args+`}`, want)
	}
	refuse(t, f, "read", `{"path": "a", "length": 5}`, kernel.CodeLimit, "max_read_bytes is 4")
}

func (h Harness) testTenants(t *testing.T) {
	s := h(t)
	f := filestorage.New(s, filestorage.Options{})
	t.Cleanup(func() { _ = f.Close() })
	tenants := []string{"", "a", "A", "a/b", "b", "..", "../a", "a\x00b", "a\xff", "'", "%", "~", "-", "default", strings.Repeat("t", 3000)}
	for _, tenant := range tenants {
		expect(t, f, tenant, "list", `{}`, `{"files":[]}`)
		write(t, f, tenant, "b/c", digest(tenant))
	}
	for _, tenant := range tenants {
		if got := read(t, f, tenant, "b/c"); got != digest(tenant) {
			t.Errorf("%q has %q", tenant, got)
		}
		expect(t, f, tenant, "list", `{}`, `{"files":[{"path":"b/c","size":64}]}`)
		expect(t, f, tenant, "stat", `{"path": "a/b/c"}`, `{"exists":false,"path":"a/b/c","size":null}`)
		expect(t, f, tenant, "delete", `{"path": "b/c"}`, `{"deleted":true}`)
	}
	shared := filestorage.New(s, filestorage.Options{Shared: true})
	write(t, shared, "a", "for/all", "x")
	if got := read(t, shared, "b", "for/all"); got != "x" {
		t.Errorf("what is shared: %q", got)
	}
}

func (h Harness) testIfAbsent(t *testing.T) {
	f := h.open(t, filestorage.Options{})
	for round := range 5 {
		path := fmt.Sprintf("d/%d", round)
		var won atomic.Int64
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				_, err := f.Write(t.Context(), "acme", path, strings.NewReader(fmt.Sprint(i)), filestorage.WriteOptions{IfAbsent: true})
				if err == nil {
					won.Add(1)
				} else if !errors.Is(err, fs.ErrExist) {
					t.Errorf("%d: %v", i, err)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 || len(read(t, f, "acme", path)) != 1 {
			t.Fatalf("%d won, %q", won.Load(), read(t, f, "acme", path))
		}
		expect(t, f, "acme", "write", `{"path": "`+path+`", "content": "late", "if_absent": true}`, `{"path":"`+path+`","sha256":null,"size":null,"written":false}`)
	}
}

// testBroken: a write that does not end leaves what was there.
func (h Harness) testBroken(t *testing.T) {
	f := h.open(t, filestorage.Options{MaxFileBytes: 100})
	write(t, f, "acme", "d/old", "old")
	broken := func() io.Reader {
		return io.MultiReader(strings.NewReader("half"), iotest.ErrReader(errors.New("broken")))
	}
	for _, path := range []string{"d/old", "d/new", "e/f/new"} {
		if _, err := f.Write(t.Context(), "acme", path, broken(), filestorage.WriteOptions{}); err == nil {
			t.Errorf("%s: no error", path)
		}
		if _, err := f.Write(t.Context(), "acme", path, strings.NewReader(strings.Repeat("x", 101)), filestorage.WriteOptions{}); kernel.CodeOf(err) != kernel.CodeLimit || !strings.Contains(err.Error(), "100 bytes (max_file_bytes)") {
			t.Errorf("%s: %v", path, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		r := io.MultiReader(strings.NewReader("half"), readerFunc(func([]byte) (int, error) { cancel(); return 0, io.EOF }))
		if _, err := f.Write(ctx, "acme", path, r, filestorage.WriteOptions{}); kernel.CodeOf(err) != kernel.CodeCanceled {
			t.Errorf("%s, canceled: %v", path, err)
		}
	}
	expect(t, f, "acme", "list", `{}`, `{"files":[{"path":"d/old","size":3}]}`)
	if got := read(t, f, "acme", "d/old"); got != "old" {
		t.Errorf("%q", got)
	}
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// testWhole: whoever reads while others replace, delete and list sees one version, whole.
func (h Harness) testWhole(t *testing.T) {
	f := h.open(t, filestorage.Options{})
	version := func(i int) string { return strings.Repeat(string(rune('a'+i)), 40_000) }
	write(t, f, "acme", "d/x", version(0))
	var writers, readers sync.WaitGroup
	var stop atomic.Bool
	for w := range 2 {
		writers.Go(func() {
			for i := range 30 {
				write(t, f, "acme", "d/x", version((w*7+i)%26))
				write(t, f, "acme", fmt.Sprintf("e%d/y", w), "y")
				if err := f.Delete(t.Context(), "acme", fmt.Sprintf("e%d/y", w)); err != nil {
					t.Error(err)
				}
			}
		})
		readers.Go(func() {
			for !stop.Load() {
				got := read(t, f, "acme", "d/x")
				if len(got) != 40_000 || strings.Trim(got, got[:1]) != "" {
					t.Errorf("%d bytes, not of one version: %.100s", len(got), got)
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
}

func (h Harness) testRoom(t *testing.T) {
	s := h(t)
	f := filestorage.New(s, filestorage.Options{MaxFiles: 3, MaxBytes: 100})
	t.Cleanup(func() { _ = f.Close() })
	write(t, f, "acme", "a", strings.Repeat("x", 60))
	refuse(t, f, "write", `{"path": "b", "content": "`+strings.Repeat("x", 41)+`"}`, kernel.CodeLimit, "100 bytes (max_bytes)")
	write(t, f, "acme", "b", strings.Repeat("x", 40))
	write(t, f, "bob", "b", strings.Repeat("x", 100))
	refuse(t, f, "write", `{"path": "c", "content": "x"}`, kernel.CodeLimit, "max_bytes")
	write(t, f, "acme", "c", "")
	refuse(t, f, "write", `{"path": "d"}`, kernel.CodeLimit, "3 files (max_files)")
	expect(t, f, "acme", "delete", `{"path": "b"}`, `{"deleted":true}`)
	write(t, f, "acme", "d", strings.Repeat("x", 40))
	expect(t, f, "acme", "delete", `{"path": "a"}`, `{"deleted":true}`)
	for range 5 { // what is replaced counts once it is gone
		write(t, f, "acme", "d", strings.Repeat("x", 45))
	}
	// Who opens the storage again counts what is there.
	again := filestorage.New(s, filestorage.Options{MaxFiles: 3, MaxBytes: 100})
	refuse(t, again, "write", `{"path": "e", "content": "`+strings.Repeat("x", 56)+`"}`, kernel.CodeLimit, "max_bytes")
	write(t, again, "acme", "e", strings.Repeat("x", 55))
}

// testStream: a large file goes through without being held.
func (h Harness) testStream(t *testing.T) {
	const size = 40 << 20
	f := h.open(t, filestorage.Options{})
	hash := sha256.New()
	done, err := f.Write(t.Context(), "acme", "large", io.TeeReader(io.LimitReader(&counter{}, size), hash), filestorage.WriteOptions{})
	if err != nil || done.Size != size || done.SHA256 != hex.EncodeToString(hash.Sum(nil)) {
		t.Fatal(done, err)
	}
	r, info, err := f.Open(t.Context(), "acme", "large", size/2, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	half, err := io.Copy(io.Discard, r)
	if err != nil || half != size/2 || info.Size != size {
		t.Errorf("%d of %d bytes, %v", half, info.Size, err)
	}
}

// counter reads as numbers.
type counter struct{ n byte }

func (c *counter) Read(p []byte) (int, error) {
	for i := range p {
		c.n += 7
		p[i] = c.n
	}
	return len(p), nil
}

func (h Harness) testReadOnly(t *testing.T) {
	s := h(t)
	write(t, filestorage.New(s, filestorage.Options{}), "acme", "a", "x")
	f := filestorage.New(s, filestorage.Options{ReadOnly: true})
	t.Cleanup(func() { _ = f.Close() })
	refuse(t, f, "write", `{"path": "b", "content": "x"}`, kernel.CodeDenied, "read-only")
	refuse(t, f, "delete", `{"path": "a"}`, kernel.CodeDenied, "read-only")
	expect(t, f, "acme", "read", `{"path": "a"}`, `{"content":"x","eof":true,"offset":0,"path":"a","size":1}`)
}

func (h Harness) testArguments(t *testing.T) {
	f := h.open(t, filestorage.Options{})
	for _, op := range []string{"read", "write", "stat", "delete"} {
		refuse(t, f, op, `{}`, kernel.CodeArguments, "path must be a text")
		refuse(t, f, op, `{"path": ["a"]}`, kernel.CodeArguments, "path must be a text")
		refuse(t, f, op, `{"path": "a", "tenant": "b"}`, kernel.CodeArguments, "unknown argument tenant; it takes path")
	}
	refuse(t, f, "read", `{"path": "a", "offset": -1}`, kernel.CodeArguments, "offset must be a whole number, 0 or more")
	refuse(t, f, "read", `{"path": "a", "length": "1"}`, kernel.CodeArguments, "length must be a whole number, 0 or more")
	refuse(t, f, "read", `{"path": "a", "offset": 1e99}`, kernel.CodeArguments, "offset must be a whole number, 0 or more")
	refuse(t, f, "write", `{"path": "a", "content": "x", "json": 1}`, kernel.CodeArguments, "give one of content, json")
	refuse(t, f, "write", `{"path": "a", "content": 1}`, kernel.CodeArguments, "json takes any value")
	refuse(t, f, "write", `{"path": "a", "if_absent": "yes"}`, kernel.CodeArguments, "true or false")
	refuse(t, f, "list", `{"path": "a"}`, kernel.CodeArguments, "it takes prefix, page")
	if _, err := call(t.Context(), t, f, "acme", "read", `{"path": "a"}`, []byte("x")); kernel.CodeOf(err) != kernel.CodeArguments {
		t.Error(err)
	}
	if _, err := f.Ops()[0].Func(t.Context(), &kernel.PortCall{Op: "file_storage.read", Args: map[string]any{"path": "a"}}); kernel.CodeOf(err) != kernel.CodeInternal {
		t.Errorf("outside a run: %v", err)
	}
}

func (h Harness) testEnded(t *testing.T) {
	f := h.open(t, filestorage.Options{})
	write(t, f, "acme", "a", "x")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for op, args := range map[string]string{"read": `{"path": "a"}`, "write": `{"path": "a", "content": "y"}`, "stat": `{"path": "a"}`, "delete": `{"path": "a"}`, "list": `{}`} {
		if _, err := call(ctx, t, f, "acme", op, args, nil); kernel.CodeOf(err) != kernel.CodeCanceled {
			t.Errorf("%s: %v", op, err)
		}
	}
	if got := read(t, f, "acme", "a"); got != "x" {
		t.Errorf("%q", got)
	}
}
