package hexdag.abac_test

import data.hexdag.abac
import data.materialize.hexdag.abac.index

attributes := {
	"subjects": {"ada": {"department": "sales", "level": 3, "groups": ["a", "b"], "type": "root"}},
	"resources": {"database:orders": {"department": "sales", "owner": "ada", "tags": {"pii": true}}},
}

request := {
	"subject": {"type": "user", "id": "ada", "tenant": "acme"},
	"action": {"name": "database.query", "args": {"limit": 10}},
	"resource": {"type": "database", "id": "orders"},
	"context": {"pipeline": "triage"},
}

rule(effect, conditions) := {"id": "r", "effect": effect, "action": "database.*", "resource": "database:orders", "when": conditions}

# Both ways to decide, which have to come to the same.
decided(rule) := got if {
	rules := object.union(attributes, {"rules": [rule]})
	got := abac.rules with input as request with data.abac as rules
	worked_out := index with data.abac as rules
	got == abac.rules with input as request with data.abac as rules with data.materialized as {"hexdag/abac/index": worked_out}
}

# What holds, in a rule that allows; the same denies.
test_holds[name] if {
	some name, condition in {
		"eq": {"of": ["subject", "department"], "is": "eq", "value": "sales"},
		"as": {"of": ["subject", "department"], "is": "eq", "as": ["resource", "department"]},
		"ne": {"of": ["subject", "tenant"], "is": "ne", "value": "other"},
		"in": {"of": ["context", "pipeline"], "is": "in", "value": ["triage"]},
		"has": {"of": ["subject", "groups"], "is": "has", "value": "b"},
		"has a value": {"of": ["resource", "tags"], "is": "has", "value": true},
		"prefix": {"of": ["resource", "id"], "is": "prefix", "value": "ord"},
		"lt": {"of": ["action", "args", "limit"], "is": "lt", "value": 11},
		"le": {"of": ["action", "args", "limit"], "is": "le", "value": 10},
		"gt": {"of": ["subject", "level"], "is": "gt", "value": 2},
		"ge": {"of": ["subject", "level"], "is": "ge", "value": 3},
		"the request comes first": {"of": ["subject", "type"], "is": "eq", "value": "user"},
		"all": {"of": ["subject"], "is": "ne", "value": "x"},
	}
	count(decided(rule("allow", [condition])).allow) == 1
	count(decided(rule("deny", [condition])).deny) == 1
	count(decided(rule("approve", [condition])).approve) == 1
}

# What does not.
test_fails[name] if {
	some name, condition in {
		"eq": {"of": ["subject", "department"], "is": "eq", "value": "legal"},
		"ne": {"of": ["subject", "tenant"], "is": "ne", "value": "acme"},
		"in": {"of": ["context", "pipeline"], "is": "in", "value": ["other"]},
		"has": {"of": ["subject", "groups"], "is": "has", "value": "c"},
		"prefix": {"of": ["resource", "id"], "is": "prefix", "value": "x"},
		"lt": {"of": ["action", "args", "limit"], "is": "lt", "value": 10},
		"le": {"of": ["action", "args", "limit"], "is": "le", "value": 9},
		"gt": {"of": ["subject", "level"], "is": "gt", "value": 3},
		"ge": {"of": ["subject", "level"], "is": "ge", "value": 4},
	}
	got := decided(rule("allow", [condition]))
	count(got.allow) == 0
	count(decided(rule("deny", [condition])).deny) == 0
	count(decided(rule("approve", [condition])).approve) == 0
}

# What cannot be told is not to the subject's advantage.
test_unclear[name] if {
	some name, condition in {
		"no attribute": {"of": ["subject", "clearance"], "is": "eq", "value": 1},
		"no other": {"of": ["subject", "level"], "is": "eq", "as": ["resource", "level"]},
		"no value": {"of": ["subject", "level"], "is": "eq"},
		"no root": {"of": ["nobody", "level"], "is": "eq", "value": 1},
		"no operator": {"of": ["subject", "level"], "is": "like", "value": 1},
		"no number": {"of": ["subject", "department"], "is": "lt", "value": 5},
		"no text": {"of": ["subject", "level"], "is": "prefix", "value": "3"},
		"no collection": {"of": ["subject", "level"], "is": "has", "value": 3},
		"in no collection": {"of": ["subject", "level"], "is": "in", "value": 3},
	}
	count(decided(rule("allow", [condition])).allow) == 0
	count(decided(rule("deny", [condition])).deny) == 1
	count(decided(rule("approve", [condition])).approve) == 1
}

test_concerns if {
	count(decided({"id": "r", "effect": "allow"}).allow) == 1
	count(decided({"id": "r", "effect": "allow", "action": "artifacts.*"}).allow) == 0
	count(decided({"id": "r", "effect": "allow", "resource": "database:people"}).allow) == 0
}

test_effects if {
	decided({"id": "r", "effect": "alow", "msg": "misspelt"}).deny == {{"id": "abac.r", "msg": "misspelt"}}
	decided({"id": "r"}).deny == {{"id": "abac.r", "msg": "rule r"}}
}

test_without_attributes if {
	got := abac.rules with input as request
		with data.abac as {"rules": [rule("allow", [{"of": ["subject", "id"], "is": "eq", "value": "ada"}])]}
	count(got.allow) == 1
}
