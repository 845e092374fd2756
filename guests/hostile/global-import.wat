;; A7. Imports a mutable global, which would be shared with others.
(module
  (import "hexdag_v1" "fuel" (global (mut i64)))
  (memory (export "memory") 1)
  (func (export "port_before") (param i32) (result i64) (i64.const 0)))
