;; A9. An _initialize that wants arguments.
(module
  (memory (export "memory") 1)
  (func (export "_initialize") (param i32))
  (func (export "port_before") (param i32) (result i64) (i64.const 0)))
