;; A9. An extension point with another signature.
(module
  (memory (export "memory") 1)
  (func (export "port_before") (param i32) (result i32) (i32.const 0)))
