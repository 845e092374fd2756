;; B15. Loops in _initialize.
(module
  (memory (export "memory") 1)
  (func (export "_initialize") (loop $forever (br $forever)))
  (func (export "port_before") (param i32) (result i64) (i64.const 0)))
