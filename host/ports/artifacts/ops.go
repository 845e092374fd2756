package artifacts

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
)

// listPage is how many artifacts one call of artifacts.list returns at most.
const listPage = 1000

// listBytes is after how many bytes of descriptions artifacts.list stops.
const listBytes = 2 << 20

// Ops returns the store's operations. All of them are about the artifacts of the
// run that calls, which they take from the context: to a run, the artifacts of
// others are not there (CodeNotFound, as for an id that never was).
//
//	artifacts.store     {name, value?, content_type?, metadata?, parents?, size?}, body -> {id, digest, size}
//	artifacts.retrieve  {id, name?, size?} -> the description, with labels where it has any, body
//	artifacts.list      {run_id?, after?} -> {artifacts: [description], next?}
//	artifacts.delete    {id, name?} -> null
//
// Store keeps the body, or, without one, the value as indented JSON; its
// parents are the artifacts of the run that it names, and those that the same node has retrieved. List returns at
// most 1,000 descriptions; next, if it is there, is the after of the call that goes on.
//
// A module can also read and write piece by piece, in one call of an extension point:
//
//	artifacts.open    {id, name?, size?} -> the description, and handle
//	artifacts.read    {handle, limit?} -> {offset, end}, body
//	artifacts.create  {name, content_type?, metadata?, parents?, size?} -> {handle}
//	artifacts.write   {handle}, body -> {size}
//	artifacts.close   {handle} -> {id, digest, size} of what was created, or null
//
// Read answers with at most limit bytes (64 KiB, and 1 MiB at most); only who reads up to
// the end knows that the bytes are those that were stored. What is created is there once it
// is closed; what is still open where the module's call ends is closed, and what was
// being created is not there.
//
// An operator can grant store and create by name. An id says nothing before the artifact
// exists, so retrieve, open and delete can be granted by name too: a call that gives
// the name finds the artifact only if it has this name, and a grant that restricts name
// does not cover a call without it. It is the same with size, the most bytes that the artifact
// may have, which a grant bounds ("<=1048576").
func (s *Store) Ops() []ports.Op {
	return []ports.Op{
		{Name: "artifacts.store", Guards: []string{"name", "size"}, Derive: derive, Func: s.opStore},
		{Name: "artifacts.retrieve", Guards: []string{"id", "name", "size"}, Derive: derive, Func: s.opRetrieve},
		{Name: "artifacts.list", Guards: []string{"run_id"}, Func: s.opList},
		{Name: "artifacts.delete", Guards: []string{"id", "name"}, Func: s.opDelete},
		{Name: "artifacts.open", Guards: []string{"id", "name", "size"}, Derive: derive, Func: s.opOpen},
		{Name: "artifacts.read", Func: s.opRead},
		{Name: "artifacts.create", Guards: []string{"name", "size"}, Derive: derive, Func: s.opCreate},
		{Name: "artifacts.write", Func: s.opWrite},
		{Name: "artifacts.close", Func: s.opClose},
	}
}

// derive returns the arguments that capabilities restrict.
func derive(args map[string]any) map[string]string {
	derived := map[string]string{}
	for _, name := range []string{"id", "name"} {
		if v, ok := args[name].(string); ok {
			derived[name] = v
		}
	}
	if v, ok := args["size"].(json.Number); ok {
		derived["size"] = v.String()
	}
	return derived
}

// amount returns a whole number of bytes, or the other if it is absent.
func amount(call *kernel.PortCall, name string, absent int64) (int64, error) {
	v, given := call.Args[name]
	if !given {
		return absent, nil
	}
	number, _ := v.(json.Number)
	n, err := strconv.ParseInt(number.String(), 10, 64)
	if err != nil || n < 0 {
		return 0, badCall(call, fmt.Sprintf("argument %s must be a whole number of bytes", name))
	}
	return n, nil
}

func (s *Store) opStore(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	run, err := begin(ctx, call, "name", "value", "content_type", "metadata", "parents", "size")
	if err != nil {
		return nil, err
	}
	name, opts, err := s.described(ctx, run, call)
	if err != nil {
		return nil, err
	}
	data := call.Body
	if value, given := call.Args["value"]; given {
		if data != nil {
			return nil, badCall(call, "give a value or a body, not both")
		}
		if data, err = indented(value); err != nil {
			return nil, badCall(call, "the value is no JSON: "+err.Error())
		}
		if opts.ContentType == "" {
			opts.ContentType = "application/json"
		}
	} else if data == nil {
		return nil, badCall(call, "give a value or a body")
	}
	most, err := amount(call, "size", int64(len(data)))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > most {
		return nil, tooLarge("the artifact is larger than was declared", fmt.Sprintf("it has %d bytes, and artifacts.store was called with size %d", len(data), most))
	}
	a, err := s.Store(ctx, run.RunID, name, bytes.NewReader(data), opts)
	if err != nil {
		return nil, err
	}
	return &kernel.PortReply{Value: stored(a)}, nil
}

// described returns what a call says of the artifact that it stores.
func (s *Store) described(ctx context.Context, run *kernel.RunContext, call *kernel.PortCall) (name string, opts StoreOptions, err error) {
	if name, err = text(call, "name"); err != nil {
		return "", opts, err
	}
	if opts.ContentType, err = text(call, "content_type"); err != nil {
		return "", opts, err
	}
	metadata, ok := call.Args["metadata"].(map[string]any)
	if !ok && call.Args["metadata"] != nil {
		return "", opts, badCall(call, "argument metadata must be an object")
	}
	opts.Metadata, opts.Labels = metadata, call.Labels
	opts.Origin, err = s.origin(ctx, run, call)
	return name, opts, err
}

// stored is the answer to whoever stored an artifact.
func stored(a *Artifact) map[string]any {
	return map[string]any{"id": a.ID, "digest": a.Digest, "size": number(a.Size)}
}

func (s *Store) opRetrieve(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	a, err := s.own(ctx, call)
	if err != nil {
		return nil, err
	}
	data, a, err := s.RetrieveBytes(ctx, a.ID, s.opts.MaxReply)
	if err != nil {
		return nil, err
	}
	kernel.RunFrom(ctx).ReadArtifact(call.Node, a.ID)
	return &kernel.PortReply{Value: a.value(), Body: data, Labels: a.Labels}, nil
}

// origin is where what a call stores comes from.
func (s *Store) origin(ctx context.Context, run *kernel.RunContext, call *kernel.PortCall) (Origin, error) {
	o := Origin{Tenant: run.Tenant, Pipeline: run.PipelineName, PipelineVersion: run.PipelineVersion, Node: call.Node, Parents: run.ArtifactsRead(call.Node)}
	for _, m := range call.Caller.Modules {
		o.Modules = append(o.Modules, m.Name+"@"+m.Digest)
	}
	named, ok := call.Args["parents"].([]any)
	if !ok && call.Args["parents"] != nil {
		return o, badCall(call, "argument parents must be a list of ids")
	}
	for _, v := range named {
		id, _ := v.(string)
		parent, err := s.Describe(ctx, id)
		if err != nil {
			return o, err
		}
		if parent.RunID != run.RunID {
			return o, notFound(id)
		}
		if !slices.Contains(o.Parents, id) {
			o.Parents = append(o.Parents, id)
		}
	}
	slices.Sort(o.Parents)
	return o, nil
}

func (s *Store) opList(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	run, err := begin(ctx, call, "run_id", "after")
	if err != nil {
		return nil, err
	}
	runID, err := text(call, "run_id")
	if err != nil {
		return nil, err
	}
	after, err := text(call, "after")
	if err != nil {
		return nil, err
	}
	if runID != "" && runID != run.RunID {
		return nil, &kernel.Error{Code: kernel.CodeNotFound, What: "there is no run " + kernel.Quote(runID), Why: "a run lists its own artifacts only"}
	}
	found, err := s.ListPage(ctx, run.RunID, after, listPage)
	if err != nil {
		return nil, err
	}
	values, size := make([]any, 0, len(found)), 0
	var labels *kernel.Labels
	for i, a := range found {
		value := a.value()
		if size += kernel.SizeOf(value); size > listBytes && i > 0 {
			found = found[:i]
			break
		}
		values = append(values, value)
		labels = labels.Join(a.Labels) // a name can be an injection, too
	}
	reply := map[string]any{"artifacts": values}
	if n := len(found); n == listPage || size > listBytes {
		reply["next"] = found[n-1].ID
	}
	return &kernel.PortReply{Value: reply, Labels: labels}, nil
}

func (s *Store) opDelete(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	a, err := s.own(ctx, call)
	if err != nil {
		return nil, err
	}
	if err := s.Delete(ctx, a.ID); err != nil {
		return nil, err
	}
	return &kernel.PortReply{}, nil
}

// own returns the artifact that a call names, if it is one of the calling run.
func (s *Store) own(ctx context.Context, call *kernel.PortCall) (*Artifact, error) {
	run, err := begin(ctx, call, "id", "name", "size")
	if err != nil {
		return nil, err
	}
	id, err := text(call, "id")
	if err != nil {
		return nil, err
	}
	name, err := text(call, "name")
	if err != nil {
		return nil, err
	}
	if err := checkID(id); err != nil {
		return nil, err
	}
	a, err := s.lookup(ctx, id)
	if err != nil {
		return nil, err
	}
	_, named := call.Args["name"]
	if a.RunID != run.RunID || named && a.Name != name {
		return nil, notFound(id)
	}
	most, err := amount(call, "size", a.Size)
	if err != nil {
		return nil, err
	}
	if a.Size > most {
		return nil, tooLarge("artifact "+id+" is larger than the call allows", fmt.Sprintf("it has %d bytes, and %s was called with size %d", a.Size, call.Op, most))
	}
	return a, nil
}

// begin returns the calling run, and an error for an argument that the
// operation does not know.
func begin(ctx context.Context, call *kernel.PortCall, known ...string) (*kernel.RunContext, error) {
	for name := range call.Args {
		if !slices.Contains(known, name) {
			return nil, badCall(call, fmt.Sprintf("there is no argument %s", kernel.Quote(name)))
		}
	}
	run := kernel.RunFrom(ctx)
	if run == nil {
		return nil, &kernel.Error{Code: kernel.CodeInternal, What: call.Op + " was called outside a run"}
	}
	return run, nil
}

// text returns a string argument, "" if it is absent.
func text(call *kernel.PortCall, name string) (string, error) {
	value, given := call.Args[name]
	s, ok := value.(string)
	if given && !ok {
		return "", badCall(call, fmt.Sprintf("argument %s must be a string", name))
	}
	return s, nil
}

func badCall(call *kernel.PortCall, why string) error {
	return badArgument(call.Op+" cannot be called so", why)
}

func indented(value any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(value)
	return b.Bytes(), err
}

// value returns the description as a kernel.Value.
func (a *Artifact) value() map[string]any {
	value := map[string]any{
		"id": a.ID, "run_id": a.RunID, "name": a.Name, "digest": a.Digest, "size": number(a.Size),
		"content_type": a.ContentType, "metadata": a.Metadata, "stored": a.Stored.Format(time.RFC3339Nano),
	}
	if parents := a.Origin.Parents; len(parents) > 0 {
		list := make([]any, len(parents))
		for i, parent := range parents {
			list[i] = parent
		}
		value["parents"] = list
	}
	if a.Labels != nil {
		value["labels"] = a.Labels.Value()
	}
	return value
}

func number(n int64) json.Number { return json.Number(strconv.FormatInt(n, 10)) }
