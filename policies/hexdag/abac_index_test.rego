package materialize.hexdag.abac_test

import data.materialize.hexdag.abac.index

test_index if {
	rules := [{"id": "a", "action": "db.*"}, {"id": "b", "effect": "allow", "action": "db.x", "resource": "db:*"}, {"id": "c", "effect": "approve"}]
	got := index with data.abac as {"rules": rules}
	got == {
		"deny": [[3, {"db.": [[0, {"": {rules[0]}}]]}]],
		"allow": [[-1, {"db.x": [[3, {"db:": {rules[1]}}]]}]],
		"approve": [[0, {"": [[0, {"": {rules[2]}}]]}]],
	}
}

# hexdag.abac then goes through the rules.
test_no_index if {
	not index.allow with data.abac as {"rules": [{"id": "a", "action": "x"}, {"id": "b", "action": null}]}
}
