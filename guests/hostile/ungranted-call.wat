;; A7. Imports the door, and its manifest requests nothing.
(module
  (import "hexdag_v1" "call" (func (param i32 i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "port_before") (param i32) (result i64) (i64.const 0)))
