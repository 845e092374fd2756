;; A9. Built for a version of the ABI that is not there yet.
(module
  (import "hexdag_v2" "input" (func (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "port_before") (param i32) (result i64) (i64.const 0)))
