package ports

import "strings"

// MayRead reports whether calls of an operation can be such as only ask.
func MayRead(op string) bool { return reads(op, nil) }

// reads reports whether a call only asks: done twice, or not at all, nothing outside is
// different but counters. Of an operation that is not known it may be otherwise.
func reads(op string, args map[string]any) bool {
	switch op {
	case "llm.complete",
		"api_call.get",
		"artifacts.retrieve", "artifacts.list", "artifacts.open", "artifacts.read", "artifacts.close", // what it makes artifacts.create has begun

		"database.query", "database.describe_table", "database.list_tables",
		"entity_state.get_state", "entity_state.get_history",
		"eventbus.replay", "eventbus.topics",
		"file_storage.read", "file_storage.stat", "file_storage.list",
		"governance.authorize", "governance.list_permissions",
		"lock.is_locked", "lock.holder",
		"memory.get", "memory.exists", "memory.list_keys", "memory.query",
		"metrics.count", // the run's own
		"pipeline_memory.get", "pipeline_memory.snapshot",
		"secret.get",
		"vector_search.search", "vector_search.describe":
		return true
	case "http.request", "api_call.request":
		method, ok := args["method"].(string)
		method = strings.ToUpper(method)
		return method == "GET" || method == "HEAD" || !ok && args["method"] == nil
	}
	return false
}
