# METADATA
# title: Tenancy
# description: |
#   Denies what is another tenant's. data.tenancy.owners is a list of
#   {resource, tenants}, where a resource is "type:id", with a * at its end for any rest,
#   and the tenant "*" is every one. A resource that is nobody's is denied. It allows
#   nothing itself.
package hexdag.tenancy

import data.hexdag.ports

# METADATA
# title: The policy, for hexdag.combine
rules := {"deny": deny}

# METADATA
# title: The tenants whose the resource is
owners contains tenant if {
	some owner in data.tenancy.owners
	ports.matches(owner.resource, ports.resource)
	some tenant in owner.tenants
}

default named := false

named if {
	is_string(input.subject.tenant)
	input.subject.tenant != ""
	input.subject.tenant != "*"
}

# METADATA
# title: Denials
deny contains {"id": "tenancy.none", "msg": "the request names no tenant"} if not named

deny contains {"id": "tenancy.unowned", "msg": concat(" ", [ports.resource, "belongs to no tenant"])} if {
	count(owners) == 0
}

deny contains {"id": "tenancy.other", "msg": concat(" ", [ports.resource, "belongs to another tenant"])} if {
	named
	count(owners) > 0
	not "*" in owners
	not input.subject.tenant in owners
}
