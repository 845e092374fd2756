;; A9. An import of a known name with another signature.
(module
  (import "hexdag_v1" "input" (func (param i64 i64) (result i64)))
  (memory (export "memory") 1)
  (func (export "port_before") (param i32) (result i64) (i64.const 0)))
