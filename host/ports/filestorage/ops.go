package filestorage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
)

// listPage is how many files one call of file_storage.list returns at most.
const listPage = 1000

// Ops returns the port's methods for the door. All are about the files of the tenant of the
// run that calls.
//
//	file_storage.read {path, offset?, length?, raw?} -> {path, size, modified, offset, content, eof}
//	file_storage.write {path, content or json, if_absent?} -> {written, path, size, sha256}
//	file_storage.stat {path} -> {exists, path, size, modified}
//	file_storage.delete {path} -> {deleted}
//	file_storage.list {prefix?, page?} -> {files: [{path, size, modified}], next?}
//
// read returns at most max_read_bytes, and eof where these are the file's last: a large file
// is read piece by piece. content is a text; what is no text, or with raw anything, is the
// reply's bytes, and content null. write takes a text, any value as JSON, or the call's bytes; with
// if_absent, written is false where there is a file already, and nothing is changed.
//
// A capability can restrict path and, of list, prefix.
func (f *Files) Ops() []ports.Op {
	path := []string{"path"}
	return []ports.Op{
		{Name: "file_storage.read", Guards: path, Func: f.opRead},
		{Name: "file_storage.write", Guards: path, Func: f.opWrite},
		{Name: "file_storage.stat", Guards: path, Func: f.opStat},
		{Name: "file_storage.delete", Guards: path, Func: f.opDelete},
		{Name: "file_storage.list", Guards: []string{"prefix"}, Func: f.opList},
	}
}

func (f *Files) opRead(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	a := begin(ctx, call)
	path, offset, length, raw := a.text("path", true), a.count("offset", 0), a.count("length", f.opts.MaxReadBytes), a.flag("raw")
	if err := a.end(false); err != nil {
		return nil, err
	}
	if length > f.opts.MaxReadBytes {
		return nil, &kernel.Error{Code: kernel.CodeLimit, What: call.Op + ": length is too large", Why: fmt.Sprintf("it is %d, max_read_bytes is %d", length, f.opts.MaxReadBytes), Fix: "read piece by piece, with offset"}
	}
	r, info, err := f.Open(ctx, a.tenant, path, offset, length)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(r, length))
	if err = errors.Join(err, r.Close()); err != nil {
		return nil, f.failed(ctx, path, err)
	}
	value := map[string]any{"path": path, "size": kernel.Number(info.Size), "modified": stamp(info.Modified), "offset": kernel.Number(offset), "content": nil, "eof": offset+int64(len(data)) >= info.Size}
	reply := &kernel.PortReply{Value: value, Labels: info.Labels}
	if !raw && utf8.Valid(data) && !bytes.ContainsRune(data, 0) {
		value["content"] = string(data)
	} else {
		reply.Body = data
	}
	return reply, nil
}

func (f *Files) opWrite(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	a := begin(ctx, call)
	path, content, ifAbsent := a.text("path", true), a.content(), a.flag("if_absent")
	if err := a.end(true); err != nil {
		return nil, err
	}
	done, err := f.Write(ctx, a.tenant, path, bytes.NewReader(content), WriteOptions{IfAbsent: ifAbsent, Labels: call.Labels})
	if errors.Is(err, fs.ErrExist) {
		return reply(map[string]any{"written": false, "path": path, "size": nil, "sha256": nil})
	}
	if err != nil {
		return nil, err
	}
	return reply(map[string]any{"written": true, "path": path, "size": kernel.Number(done.Size), "sha256": done.SHA256})
}

func (f *Files) opStat(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	a := begin(ctx, call)
	path := a.text("path", true)
	if err := a.end(false); err != nil {
		return nil, err
	}
	info, err := f.Stat(ctx, a.tenant, path)
	if kernel.CodeOf(err) == kernel.CodeNotFound {
		return reply(map[string]any{"exists": false, "path": path, "size": nil, "modified": nil})
	}
	if err != nil {
		return nil, err
	}
	value := describe(info)
	value["exists"] = true
	return &kernel.PortReply{Value: value, Labels: info.Labels}, nil
}

func (f *Files) opDelete(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	a := begin(ctx, call)
	path := a.text("path", true)
	if err := a.end(false); err != nil {
		return nil, err
	}
	err := f.Delete(ctx, a.tenant, path)
	if err != nil && kernel.CodeOf(err) != kernel.CodeNotFound {
		return nil, err
	}
	return reply(map[string]any{"deleted": err == nil})
}

func (f *Files) opList(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	a := begin(ctx, call)
	prefix, page := a.text("prefix", false), a.text("page", false)
	if err := a.end(false); err != nil {
		return nil, err
	}
	found, next, err := f.List(ctx, a.tenant, prefix, page, listPage)
	if err != nil {
		return nil, err
	}
	files := make([]any, len(found))
	var labels *kernel.Labels
	for i := range found {
		files[i] = describe(&found[i])
		labels = labels.Join(found[i].Labels) // a name can be an injection, too
	}
	value := map[string]any{"files": files}
	if next != "" {
		value["next"] = next
	}
	return &kernel.PortReply{Value: value, Labels: labels}, nil
}

func describe(info *Info) map[string]any {
	return map[string]any{"path": info.Path, "size": kernel.Number(info.Size), "modified": stamp(info.Modified)}
}

func reply(value map[string]any) (*kernel.PortReply, error) {
	return &kernel.PortReply{Value: value}, nil
}

// arguments reads a call's arguments one by one and keeps the first error.
type arguments struct {
	call   *kernel.PortCall
	tenant string
	known  []string
	err    error
}

func begin(ctx context.Context, call *kernel.PortCall) *arguments {
	a := &arguments{call: call}
	run := kernel.RunFrom(ctx)
	if run == nil {
		a.err = &kernel.Error{Code: kernel.CodeInternal, What: call.Op + " was called outside a run"}
		return a
	}
	a.tenant = run.Tenant
	return a
}

func (a *arguments) take(name string) (any, bool) {
	a.known = append(a.known, name)
	v, ok := a.call.Args[name]
	return v, ok
}

func (a *arguments) fail(format string, args ...any) {
	if a.err == nil {
		a.err = &kernel.Error{Code: kernel.CodeArguments, What: a.call.Op + ": " + fmt.Sprintf(format, args...)}
	}
}

func (a *arguments) text(name string, required bool) string {
	v, ok := a.take(name)
	text, isText := v.(string)
	if (ok && v != nil || required) && !isText {
		a.fail("%s must be a text", name)
	}
	return text
}

func (a *arguments) flag(name string) bool {
	v, ok := a.take(name)
	flag, isFlag := v.(bool)
	if ok && v != nil && !isFlag {
		a.fail("%s must be true or false", name)
	}
	return flag
}

func (a *arguments) count(name string, orElse int64) int64 {
	v, ok := a.take(name)
	if !ok || v == nil {
		return orElse
	}
	text, _ := v.(json.Number)
	n, err := text.Int64()
	if err != nil || n < 0 {
		a.fail("%s must be a number of bytes", name)
	}
	return n
}

// content is what a call writes.
func (a *arguments) content() []byte {
	text, isText := a.take("content")
	value, isJSON := a.take("json")
	given := 0
	for _, is := range []bool{isText, isJSON, len(a.call.Body) > 0} {
		if is {
			given++
		}
	}
	if given > 1 {
		a.fail("give one of content, json and the call's bytes")
	}
	switch {
	case isText:
		s, ok := text.(string)
		if !ok {
			a.fail("content must be a text; json takes any value")
		}
		return []byte(s)
	case isJSON:
		data, err := kernel.EncodeJSON(value)
		if err != nil {
			a.fail("json is none: %v", err)
		}
		return data
	}
	return a.call.Body
}

// end returns the first error, or one for what was not taken.
func (a *arguments) end(takesBody bool) error {
	for name := range a.call.Args {
		if !slices.Contains(a.known, name) {
			a.fail("unknown argument %s; it takes %s", kernel.Quote(name), strings.Join(a.known, ", "))
		}
	}
	if len(a.call.Body) > 0 && !takesBody {
		a.fail("it takes no body")
	}
	return a.err
}
