;; C24. Declares more memory than a call may have.
(module
  (memory (export "memory") 1025)
  (func (export "port_before") (param i32) (result i64) (i64.const 0)))
