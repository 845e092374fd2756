package filestorage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"unicode/utf8"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/ports/arguments"
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
	path, offset, length, raw := a.Text("path"), a.bytes("offset", 0), a.bytes("length", f.opts.MaxReadBytes), a.Flag("raw", false)
	if err := a.End(); err != nil {
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
	path, content, ifAbsent := a.Text("path"), a.content(), a.Flag("if_absent", false)
	if err := a.End(); err != nil {
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
	path := a.Text("path")
	if err := a.End(); err != nil {
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
	path := a.Text("path")
	if err := a.End(); err != nil {
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
	prefix, page := a.TextOr("prefix", ""), a.TextOr("page", "")
	if err := a.End(); err != nil {
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

// asked is what a call asks for, of its tenant.
type asked struct {
	*arguments.Reader
	tenant string
}

func begin(ctx context.Context, call *kernel.PortCall) *asked {
	a := &asked{Reader: arguments.Of(call)}
	if run := a.Run(ctx); run != nil {
		a.tenant = run.Tenant
	}
	return a
}

// bytes is a number of them, or orElse.
func (a *asked) bytes(name string, orElse int64) int64 {
	return a.Whole(name, 0, math.MaxInt64, orElse)
}

// content is what a call writes.
func (a *asked) content() []byte {
	text, isText := a.Take("content")
	value, isJSON := a.Take("json")
	body, given := a.Body(), 0
	for _, is := range []bool{isText, isJSON, len(body) > 0} {
		if is {
			given++
		}
	}
	if given > 1 {
		a.Fail("give one of content, json and the call's bytes")
	}
	switch {
	case isText:
		s, ok := text.(string)
		if !ok {
			a.Fail("content must be a text; json takes any value")
		}
		return []byte(s)
	case isJSON:
		data, err := kernel.EncodeJSON(value)
		if err != nil {
			a.Fail("json is none: %v", err)
		}
		return data
	}
	return body
}
