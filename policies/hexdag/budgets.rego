# METADATA
# title: Budgets
# description: |
#   Denies what would go over a budget. data.budgets is a list of
#   {id, of, max, approve_over, action, tenant, pipeline, principal}: "of" names a figure
#   of the run's usage (input.context.usage), "max" is its limit, and over "approve_over"
#   a person decides. The other four say whom it concerns, with a * at the end for any
#   rest, and may be left out. A budget may name an argument of the call, "adds", that
#   the call adds to the figure. A figure that is not there is denied.
package hexdag.budgets

import data.hexdag.ports

# METADATA
# title: The policy, for hexdag.combine
rules := {"approve": approve, "deny": deny}

# METADATA
# title: The budgets that concern the request
concerned contains budget if {
	some budget in data.budgets
	ports.matches(object.get(budget, "action", "*"), input.action.name)
	ports.matches(object.get(budget, "tenant", "*"), object.get(input.subject, "tenant", ""))
	ports.matches(object.get(budget, "pipeline", "*"), object.get(input.context, "pipeline", ""))
	of_principal(object.get(budget, "principal", "*"))
}

# Whoever takes part in the call is concerned.
of_principal(pattern) if {
	some one in ports.people
	ports.matches(pattern, one)
}

# METADATA
# title: What is used after the call
used(budget) := figure + added(budget) if {
	figure := input.context.usage[budget.of]
	is_number(figure)
}

told(budget) if is_number(used(budget))

added(budget) := 0 if not budget.adds

added(budget) := amount if {
	amount := input.action.args[budget.adds]
	is_number(amount)
	amount >= 0
}

# METADATA
# title: Denials
deny contains {"id": concat(".", ["budgets", budget.id]), "msg": concat(" ", ["over the limit of", budget.of])} if {
	some budget in concerned
	used(budget) > budget.max
}

deny contains {"id": concat(".", ["budgets", budget.id]), "msg": concat(" ", ["it cannot be told what is used of", budget.of])} if {
	some budget in concerned
	not told(budget)
}

# A limit that is no number would be over every figure: Rego orders types.
deny contains {"id": concat(".", ["budgets", budget.id]), "msg": "the budget's limits are no numbers"} if {
	some budget in concerned
	some limit in [object.get(budget, "max", 0), object.get(budget, "approve_over", 0)]
	not is_number(limit)
}

# METADATA
# title: What a person decides
approve contains {"id": concat(".", ["budgets", budget.id]), "msg": concat(" ", ["much is used of", budget.of])} if {
	some budget in concerned
	used(budget) > budget.approve_over
}
