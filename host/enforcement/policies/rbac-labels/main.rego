# METADATA
# title: Roles and data flow
package hexdag.authz

import data.hexdag.combine
import data.hexdag.data_flow
import data.hexdag.rbac

# METADATA
# entrypoint: true
decision := combine.decision([rbac.rules, data_flow.rules])
