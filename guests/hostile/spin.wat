;; B15, B21. Loops for ever and calls nothing.
(module
  (memory (export "memory") 1)
  (func (export "port_before") (param i32) (result i64) (loop $forever (br $forever)) (i64.const 0)))
