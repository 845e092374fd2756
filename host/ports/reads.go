package ports

import "strings"

// effect is what a call is to those who would take its answer again.
type effect int

const (
	changes effect = iota // it may change something outside; what is not known does
	asks                  // done twice, or not at all, nothing outside is different but counters
	private               // asks, and the answer is of the run alone
	secret                // asks for what others are not to have
)

// effectOf says what a call is.
func effectOf(op string, args map[string]any) effect {
	switch op {
	case "llm.complete", "llm.embed", "llm.batch",
		"api_call.get",
		"database_tools.query", "database_tools.describe_table", "database_tools.list_tables",
		"process_registry.get", "process_registry.list", "process_registry.list_by_ref", "pipeline_spawner.await", "scheduler.list",
		"central_agent.goals", "central_agent.goal",
		"database.query", "database.describe_table", "database.list_tables",
		"entity_state.get_state", "entity_state.get_history",
		"eventbus.replay", "eventbus.topics",
		"file_storage.read", "file_storage.stat", "file_storage.list",
		"governance.authorize", "governance.list_permissions",
		"lock.is_locked",
		"mcp.list_tools",
		"memory.get", "memory.exists", "memory.list_keys", "memory.query",
		"metrics.count", // the run's own
		"vector_search.search", "vector_search.describe":
		return asks
	case "artifacts.retrieve", "artifacts.list", "artifacts.open", "artifacts.read", "artifacts.close", // what it makes artifacts.create has begun
		"central_agent.survey", "central_agent.wait", "client.ask", "client.describe", "lock.holder", "pipeline_memory.get", "pipeline_memory.snapshot":
		return private
	case "secret.get", "secret.use": // which sends it, by a request that counts for itself
		return secret
	case "http.request", "api_call.request":
		method, ok := args["method"].(string)
		if method = strings.ToUpper(method); method == "GET" || method == "HEAD" || !ok && args["method"] == nil {
			return asks
		}
	}
	return changes
}

// MayChange reports whether every call of an operation may change something outside.
func MayChange(op string) bool { return effectOf(op, nil) == changes }

// OfRun reports whether an operation answers with what is the run's alone.
func OfRun(op string) bool { return effectOf(op, nil) == private }
