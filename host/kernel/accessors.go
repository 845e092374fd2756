package kernel

import (
	"context"
	"sync/atomic"
)

// The accessors of RunContext give Go code inside a run typed ways to the common
// ports. Every call goes through the door, like a node's.

// Call does an operation of a port on behalf of the run.
func (r *RunContext) Call(ctx context.Context, op string, args map[string]any) (*PortReply, error) {
	return r.send(ctx, op, args, nil)
}

func (r *RunContext) send(ctx context.Context, op string, args map[string]any, body []byte) (*PortReply, error) {
	if r.Door == nil {
		return nil, r.outside()
	}
	return r.Door(ctx, &PortCall{Op: op, Args: args, Body: body, Caller: Caller{Principal: r.Principal}})
}

func (r *RunContext) outside() error {
	return &Error{Code: CodeUnavailable, What: "the run has no ports", Where: Where{Run: r.RunID}, Fix: "call it from inside a run"}
}

func (r *RunContext) value(ctx context.Context, op string, args map[string]any) (Value, error) {
	reply, err := r.Call(ctx, op, args)
	if err != nil {
		return nil, err
	}
	return reply.Value, nil
}

// LLM returns the way to the model.
func (r *RunContext) LLM() LLMAccess { return LLMAccess{r} }

// LLMAccess asks the run's model.
type LLMAccess struct{ run *RunContext }

// Complete returns the model's answer to messages, each {role, content}.
func (a LLMAccess) Complete(ctx context.Context, messages []any) (string, error) {
	return a.Stream(ctx, messages, nil)
}

// Stream is Complete, and tells of the answer as it comes, in pieces. A call that is tried again, by a retry or another model of a
// pool, is told of again from the beginning: attempt, from 1, of these pieces is larger, and they take the place of all pieces before
// them. Nothing is told of an answer that was known, or that hooks or obligations have their say of.
func (a LLMAccess) Stream(ctx context.Context, messages []any, tell func(attempt int, piece string)) (string, error) {
	if a.run.Door == nil {
		return "", a.run.outside()
	}
	call := &PortCall{Op: "llm.complete", Args: map[string]any{"messages": messages}, Caller: Caller{Principal: a.run.Principal}}
	if tell != nil {
		var attempt atomic.Int64
		attempt.Store(1)
		call.Tell = func(piece string) { tell(int(attempt.Load()), piece) }
		call.Again = func() { attempt.Add(1) }
	}
	reply, err := a.run.Door(ctx, call)
	if err != nil {
		return "", err
	}
	answer, _ := reply.Value.(map[string]any)
	text, _ := answer["content"].(string)
	return text, nil
}

// Embed returns the vectors of texts, in their order.
func (a LLMAccess) Embed(ctx context.Context, texts []string) ([][]float64, error) {
	list := make([]any, len(texts))
	for i, text := range texts {
		list[i] = text
	}
	v, err := a.run.value(ctx, "llm.embed", map[string]any{"texts": list})
	if err != nil {
		return nil, err
	}
	var answer struct {
		Embeddings [][]float64 `json:"embeddings"`
	}
	fields, _ := v.(map[string]any)
	if err := FromValue(map[string]any{"embeddings": fields["embeddings"]}, &answer); err != nil || len(answer.Embeddings) != len(texts) {
		return nil, &Error{Code: CodeFailed, What: "llm.embed answered something else than vectors of the texts"}
	}
	return answer.Embeddings, nil
}

// Memory returns the way to the memory port.
func (r *RunContext) Memory() MemoryAccess { return MemoryAccess{r} }

// MemoryAccess reads and writes the tenant's memory.
type MemoryAccess struct{ run *RunContext }

// Get returns a value; nil where there is none.
func (a MemoryAccess) Get(ctx context.Context, key string) (Value, error) {
	v, err := a.run.value(ctx, "memory.get", map[string]any{"key": key})
	if err != nil {
		return nil, err
	}
	if answer, ok := v.(map[string]any); ok {
		return answer["value"], nil
	}
	return v, nil
}

// Set keeps a value.
func (a MemoryAccess) Set(ctx context.Context, key string, v Value) error {
	_, err := a.run.Call(ctx, "memory.set", map[string]any{"key": key, "value": v})
	return err
}

// Database returns the way to the database port.
func (r *RunContext) Database() DatabaseAccess { return DatabaseAccess{r} }

// DatabaseAccess asks the run's database.
type DatabaseAccess struct{ run *RunContext }

// Query does database.query with its arguments as they are.
func (a DatabaseAccess) Query(ctx context.Context, args map[string]any) (Value, error) {
	return a.run.value(ctx, "database.query", args)
}

// Artifacts returns the way to the artifact store.
func (r *RunContext) Artifacts() ArtifactAccess { return ArtifactAccess{r} }

// ArtifactAccess reads and writes the run's artifacts.
type ArtifactAccess struct{ run *RunContext }

// Store keeps a value under a name and returns what artifacts.store answers.
func (a ArtifactAccess) Store(ctx context.Context, name string, v Value) (Value, error) {
	return a.run.value(ctx, "artifacts.store", map[string]any{"name": name, "value": v})
}

// Files returns the way to the file storage.
func (r *RunContext) Files() FileAccess { return FileAccess{r} }

// FileAccess reads and writes the tenant's files.
type FileAccess struct{ run *RunContext }

// Read returns a file's bytes from offset on, as many as one answer has, and whether they are
// the last.
func (a FileAccess) Read(ctx context.Context, path string, offset int64) (data []byte, eof bool, err error) {
	reply, err := a.run.Call(ctx, "file_storage.read", map[string]any{"path": path, "offset": Number(offset), "raw": true})
	if err != nil {
		return nil, false, err
	}
	answer, _ := reply.Value.(map[string]any)
	eof, _ = answer["eof"].(bool)
	return reply.Body, eof, nil
}

// Write puts bytes in place of a file.
func (a FileAccess) Write(ctx context.Context, path string, data []byte) error {
	_, err := a.run.send(ctx, "file_storage.write", map[string]any{"path": path}, data)
	return err
}

// Vectors returns the way to the vector search.
func (r *RunContext) Vectors() VectorAccess { return VectorAccess{r} }

// VectorAccess keeps and finds the tenant's vectors.
type VectorAccess struct{ run *RunContext }

// Upsert does vector_search.upsert of vectors, each {id, vector, metadata?}.
func (a VectorAccess) Upsert(ctx context.Context, collection string, vectors []any) error {
	_, err := a.run.Call(ctx, "vector_search.upsert", map[string]any{"collection": collection, "vectors": vectors})
	return err
}

// Search does vector_search.search with its arguments as they are.
func (a VectorAccess) Search(ctx context.Context, args map[string]any) (Value, error) {
	return a.run.value(ctx, "vector_search.search", args)
}

// Governance returns the way to governance.
func (r *RunContext) Governance() GovernanceAccess { return GovernanceAccess{r} }

// GovernanceAccess asks governance.
type GovernanceAccess struct{ run *RunContext }

// Authorize asks whether the run's principal may do an action, and returns the decision.
func (a GovernanceAccess) Authorize(ctx context.Context, action string, resource map[string]any) (*Decision, error) {
	v, err := a.run.value(ctx, "governance.authorize", map[string]any{"action": action, "resource": resource})
	if err != nil {
		return nil, err
	}
	var d Decision
	if err := FromValue(v, &d); err != nil {
		return nil, err
	}
	return &d, nil
}

// Audit puts on record what the run did.
func (a GovernanceAccess) Audit(ctx context.Context, action string, resource map[string]any, result string) error {
	args := map[string]any{"action": action, "result": result}
	if resource != nil {
		args["resource"] = resource
	}
	_, err := a.run.Call(ctx, "governance.audit", args)
	return err
}

// ListPermissions asks what the run's principal may do, of these actions on these
// resources, {type, id}, where the policy cannot tell it as patterns.
func (a GovernanceAccess) ListPermissions(ctx context.Context, actions []string, resources []map[string]any) (*Permissions, error) {
	given, err := ToValue(map[string]any{"actions": actions, "resources": resources})
	if err != nil {
		return nil, err
	}
	args, _ := given.(map[string]any)
	v, err := a.run.value(ctx, "governance.list_permissions", args)
	if err != nil {
		return nil, err
	}
	var list Permissions
	return &list, FromValue(v, &list)
}
