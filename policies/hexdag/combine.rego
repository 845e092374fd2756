# METADATA
# title: Composition
# description: |
#   Makes one decision of several policies. A policy takes part as an object of the
#   sets "deny", "approve" and "allow" of reasons, and "obligations", of which any may
#   be left out: that is what the rule "rules" of each stock policy is.
package hexdag.combine

# METADATA
# title: The decision
# description: |
#   Denials override approvals, and these what is allowed; what no policy allows or
#   sends to a person is denied. Obligations of all policies are kept, but with a denial.
decision(parts) := document("deny", of(parts, "deny"), set()) if {
	any_of(parts, "deny")
} else := document("approve", of(parts, "approve"), of(parts, "obligations")) if {
	any_of(parts, "approve")
} else := document("allow", of(parts, "allow"), of(parts, "obligations")) if {
	any_of(parts, "allow")
} else := document("deny", {{"id": "default.deny", "msg": "no rule allows this"}}, set())

# METADATA
# title: What all policies have of one kind
of(parts, kind) := {one | some part in parts; some one in part[kind]}

any_of(parts, kind) if {
	some part in parts
	some _ in part[kind]
}

document(effect, reasons, obligations) := {"effect": effect, "reasons": sort(reasons)} if {
	count(obligations) == 0
} else := {"effect": effect, "reasons": sort(reasons), "obligations": sort(obligations)}
