package hexdag.purpose_test

import data.hexdag.purpose

purposes := {
	"resources": [
		{"resource": "database:customers*", "purposes": ["support", "billing"]},
		{"resource": "database:customers_card", "purposes": ["billing"]},
	],
	"pipelines": {"triage": ["support"], "invoices": ["billing"]},
}

call(pipeline, stated, table) := {
	"subject": {"type": "user", "id": "ada"},
	"action": {"name": "database.query"},
	"resource": {"type": "database", "id": table},
	"context": {"pipeline": pipeline, "labels": {"purpose": stated}},
}

test_deny[name] if {
	some name, tc in {
		"stated": {"input": call("triage", "support", "customers"), "want": set()},
		"for both entries": {"input": call("invoices", "billing", "customers_card"), "want": set()},
		"for one of them": {"input": call("triage", "support", "customers_card"), "want": {"purpose.other"}},
		"another": {"input": call("triage", "ads", "customers"), "want": {"purpose.other", "purpose.pipeline"}},
		"not the pipeline's": {"input": call("triage", "billing", "customers"), "want": {"purpose.pipeline"}},
		"no pipeline": {"input": call("", "billing", "customers"), "want": {"purpose.pipeline"}},
		"none": {"input": call("triage", "", "customers"), "want": {"purpose.none"}},
		"no text": {"input": call("triage", 1, "customers"), "want": {"purpose.none"}},
		"unbound": {"input": call("triage", "", "orders"), "want": set()},
		"no labels": {"input": object.remove(call("triage", "", "customers"), ["context"]), "want": {"purpose.none"}},
	}
	got := purpose.rules.deny with input as tc.input with data.purposes as purposes
	{r.id | some r in got} == tc.want
}
