package hexdag.rbac_test

import data.hexdag.rbac
import data.materialize.hexdag.rbac.index

roles := {
	"viewer": {"allow": [{"action": "database.query", "resource": "database:orders*"}]},
	"editor": {"inherits": ["viewer"], "allow": [{"action": "artifacts.*"}]},
	"admin": {"inherits": ["editor", "admin"], "allow": [{"action": "lock.acquire", "resource": "lock:x"}]},
	"empty": {},
}

bindings := {
	"ada": [{"role": "admin", "tenant": "acme"}],
	"bob": [{"role": "viewer", "tenant": "*"}],
	"eve": [{"role": "empty", "tenant": "*"}, {"role": "gone", "tenant": "*"}],
}

call(who, tenant, action, resource) := {
	"subject": {"type": "user", "id": who, "tenant": tenant},
	"action": {"name": action},
	"resource": resource,
	"context": {},
}

orders := {"type": "database", "id": "orders_2026"}

test_allow[name] if {
	some name, tc in {
		"own role": {"input": call("bob", "other", "database.query", orders), "want": 1},
		"inherited twice": {"input": call("ada", "acme", "database.query", orders), "want": 1},
		"any resource": {"input": call("ada", "acme", "artifacts.store", {"type": "artifacts", "id": "x"}), "want": 1},
		"another tenant": {"input": call("ada", "other", "database.query", orders), "want": 0},
		"another resource": {"input": call("bob", "acme", "database.query", {"type": "database", "id": "people"}), "want": 0},
		"another action": {"input": call("bob", "acme", "database.write", orders), "want": 0},
		"no binding": {"input": call("mallory", "acme", "database.query", orders), "want": 0},
		"roles without rules": {"input": call("eve", "acme", "database.query", orders), "want": 0},
		"no input": {"input": {}, "want": 0},
		"a module, for its principal": {
			"input": object.union(call("", "acme", "database.query", orders), {"subject": {"type": "module", "id": "orders", "tenant": "acme", "on_behalf_of": ["ada"]}}),
			"want": 1,
		},
	}
	got := rbac.rules.allow with input as tc.input with data.rbac as {"roles": roles, "bindings": bindings}
	worked_out := index with data.rbac as {"roles": roles}
	got == rbac.rules.allow with input as tc.input
		with data.rbac as {"bindings": bindings}
		with data.materialized as {"hexdag/rbac/index": worked_out}
	count(got) == tc.want
}

test_reason if {
	got := rbac.allow with input as call("bob", "acme", "database.query", orders)
		with data.rbac as {"roles": roles, "bindings": bindings}
	got == {{"id": "rbac.role", "msg": "the role viewer allows database.query"}}
}

test_permissions if {
	got := rbac.permissions with input as {"subject": {"id": "ada", "tenant": "acme"}}
		with data.rbac as {"roles": roles, "bindings": bindings}
	got == {
		{"action": "database.query", "resource": "database:orders*", "via": "viewer"},
		{"action": "artifacts.*", "resource": "*", "via": "editor"},
		{"action": "lock.acquire", "resource": "lock:x", "via": "admin"},
	}
}
