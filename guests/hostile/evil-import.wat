;; A7. Imports what no host offers: a module of its own making.
(module
  (import "env" "evil" (func))
  (memory (export "memory") 1)
  (func (export "port_before") (param i32) (result i64) (i64.const 0)))
