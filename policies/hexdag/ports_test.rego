package hexdag.ports_test

import data.hexdag.ports

by_user(op, id) := {
	"subject": {"type": "user", "id": "ada", "tenant": "acme"},
	"action": {"name": op},
	"resource": {"type": split(op, ".")[0], "id": id},
	"context": {},
}

by_module(op, id, chain) := object.union(
	by_user(op, id),
	{"subject": {"type": "module", "id": "orders", "on_behalf_of": chain}},
)

test_names if {
	ports.port == "database" with input as by_user("database.query", "orders")
	ports.method == "query" with input as by_user("database.query", "orders")
}

test_read_only[op] if {
	some op, want in {
		"database.query": true,
		"artifacts.retrieve": true,
		"lock.is_locked": true,
		"artifacts.store": false,
		"llm.complete": false,
		"unknown.query": false,
	}
	ports.read_only == want with input as by_user(op, "x")
}

test_principal if {
	ports.principal == "ada" with input as by_user("llm.complete", "m")
	ports.principal == "ada" with input as by_module("llm.complete", "m", ["ada", "module:outer"])
}

test_is_module if {
	not ports.is_module with input as by_user("llm.complete", "m")
	ports.is_module with input as by_module("llm.complete", "m", ["ada"])
}

test_modules if {
	ports.modules == set() with input as by_user("llm.complete", "m")
	ports.modules == {"orders", "outer"} with input as by_module("llm.complete", "m", ["ada", "module:outer"])
}

test_people if {
	ports.people == {"ada"} with input as by_user("llm.complete", "m")
	ports.people == {"orders", "ada", "module:outer"} with input as by_module("llm.complete", "m", ["ada", "module:outer"])
	ports.people == set() with input as {}
}

test_resource if {
	ports.resource == "llm:m" with input as by_user("llm.complete", "m")
	ports.resource == ":" with input as {}
}

grants := [
	{"op": "llm.complete", "resource": "gpt-*"},
	{"op": "database.*", "resource": "orders", "modules": ["orders"]},
	{"op": "metrics.count"},
]

test_covered[name] if {
	some name, tc in {
		"prefix": {"input": by_user("llm.complete", "gpt-small"), "want": true},
		"other resource": {"input": by_user("llm.complete", "other"), "want": false},
		"any resource": {"input": by_user("metrics.count", "a.b.c"), "want": true},
		"granted module": {"input": by_module("database.query", "orders", ["ada"]), "want": true},
		"the module's grant is not the run's": {"input": by_user("database.query", "orders"), "want": false},
		"other table": {"input": by_module("database.query", "customers", ["ada"]), "want": false},
		"another module asks for it": {"input": by_module("database.query", "orders", ["ada", "module:other"]), "want": false},
		"the run's grant is no module's": {"input": by_module("llm.complete", "gpt-small", ["ada"]), "want": false},
	}
	is_covered == tc.want with input as tc.input
}

default is_covered := false

is_covered if ports.covered(grants)
