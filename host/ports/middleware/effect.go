package middleware

import (
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/secret"
)

// Effect says what comes of doing an operation twice.
type Effect int

// The effects.
const (
	Once       Effect = iota // something else than of doing it once, or nobody knows
	Repeatable               // the same
	Cacheable                // the same, and one answer serves all calls of a tenant with these arguments
)

// EffectOf returns the effect of an operation with these arguments. An
// operation that it does not know has the effect Once.
func EffectOf(op string, args map[string]any) Effect {
	switch op {
	case "database_tools.query", "database_tools.describe_table", "database_tools.list_tables",
		"llm.complete", "llm.embed", "database.query", "database.describe_table", "database.list_tables":
		return Cacheable
	case "artifacts.store", "artifacts.retrieve", "artifacts.list", "artifacts.delete", // of the run that calls
		"vector_search.upsert", "vector_search.search", "vector_search.delete", "vector_search.describe",
		"file_storage.read", "file_storage.stat", "file_storage.list", "file_storage.delete",
		"memory.get", "memory.set", "memory.delete", "memory.exists", "memory.list_keys", "memory.query",
		"pipeline_memory.get", "pipeline_memory.set", "pipeline_memory.update", "pipeline_memory.snapshot",
		"entity_state.get_state", "entity_state.get_history", "lock.is_locked", "lock.holder", "lock.renew", "mcp.list_tools", "client.ask", "client.describe", // which is asked anew
		"process_registry.get", "process_registry.list", "process_registry.list_by_ref",
		"pipeline_spawner.await", "pipeline_spawner.cancel", "scheduler.list", "scheduler.cancel",
		"central_agent.survey", "central_agent.wait", "central_agent.note", "central_agent.report", "central_agent.ask", "central_agent.goals", "central_agent.goal", "central_agent.cancel",
		"eventbus.replay", "eventbus.topics", "eventbus.unsubscribe", "llm.batch": // an item of a batch may have failed
		return Repeatable
	case "file_storage.write":
		if conditional, _ := args["if_absent"].(bool); conditional {
			return Once
		}
		return Repeatable
	case "secret.get", "secret.use":
		return Repeatable
	case "eventbus.publish": // an event of the same id is the same event
		if id, _ := args["id"].(string); id != "" {
			return Repeatable
		}
	case "http.request", "api_call.request":
		method, _ := args["method"].(string)
		return requestEffect(method, args)
	}
	if method, ok := strings.CutPrefix(op, "api_call."); ok {
		return requestEffect(method, args)
	}
	return Once
}

// requestEffect is what RFC 9110 says of the method. An answer that took a secret is not kept for
// others, who may not use it.
func requestEffect(method string, args map[string]any) Effect {
	switch strings.ToUpper(method) {
	case "", "GET", "HEAD":
		if len(secret.Names(args)) > 0 {
			return Repeatable
		}
		return Cacheable
	case "PUT", "DELETE":
		return Repeatable
	}
	return Once
}

// isFailure reports whether an error says that the port, and not the caller, failed.
func isFailure(err error) bool {
	if err == nil {
		return false
	}
	code := kernel.CodeOf(err)
	if code.Class() != kernel.ClassFailed {
		return false
	}
	switch code {
	case kernel.CodeArguments, kernel.CodeNotFound, kernel.CodeUnsupported, kernel.CodeLimit, kernel.CodeAudit, kernel.CodeCanceled, kernel.CodeLockHeld, kernel.CodeLockLost:
		return false
	}
	return true
}
