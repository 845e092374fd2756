;; C23. Declares a table of 400 million entries, 3 GB beside its linear memory.
(module
  (memory (export "memory") 1)
  (table 400000000 funcref)
  (func (export "port_before") (param i32) (result i64) (i64.const 0)))
