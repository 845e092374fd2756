package hexdag.tenancy_test

import data.hexdag.tenancy

owners := [
	{"resource": "database:acme_*", "tenants": ["acme"]},
	{"resource": "llm:*", "tenants": ["*"]},
	{"resource": "database:acme_shared", "tenants": ["partner"]},
]

call(tenant, resource) := {
	"subject": {"type": "user", "id": "ada", "tenant": tenant},
	"action": {"name": "database.query"},
	"resource": resource,
}

orders := {"type": "database", "id": "acme_orders"}

test_deny[name] if {
	some name, tc in {
		"own": {"input": call("acme", orders), "want": set()},
		"everybody's": {"input": call("other", {"type": "llm", "id": "m"}), "want": set()},
		"shared with a partner": {"input": call("partner", {"type": "database", "id": "acme_shared"}), "want": set()},
		"other": {"input": call("partner", orders), "want": {"tenancy.other"}},
		"nobody's": {"input": call("acme", {"type": "lock", "id": "x"}), "want": {"tenancy.unowned"}},
		"no tenant": {"input": call("", orders), "want": {"tenancy.none"}},
		"a star is no tenant": {"input": call("*", {"type": "llm", "id": "m"}), "want": {"tenancy.none"}},
		"no text": {"input": call(7, {"type": "llm", "id": "m"}), "want": {"tenancy.none"}},
		"no input": {"input": {}, "want": {"tenancy.none", "tenancy.unowned"}},
	}
	got := tenancy.rules.deny with input as tc.input with data.tenancy.owners as owners
	{r.id | some r in got} == tc.want
}
