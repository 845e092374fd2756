# METADATA
# title: Roles
# description: What the suite's role allows, and nothing else.
package hexdag.authz

import data.hexdag.combine
import data.hexdag.rbac

# METADATA
# entrypoint: true
decision := combine.decision([rbac.rules])
