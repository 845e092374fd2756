package materialize.hexdag.rbac_test

import data.materialize.hexdag.rbac.index

test_index if {
	got := index with data.rbac.roles as {
		"reader": {"allow": [{"action": "db.query", "resource": "db:o*"}]},
		"editor": {"inherits": ["reader", "editor", "gone"], "allow": [{"action": "db.*"}, {"action": "db.query", "resource": "db:o*"}]},
	}
	got == {
		"grants": [[-1, {"db.query": [[4, {"db:o": {"reader", "editor"}}]]}], [3, {"db.": [[0, {"": {"editor"}}]]}]],
		"closed": {"reader": {"reader": true}, "editor": {"editor": true, "reader": true}},
	}
}
