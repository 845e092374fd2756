;; H81. Traps. The red team gives its function a name full of escape sequences.
(module
  (memory (export "memory") 1)
  (func (export "port_before") (param i32) (result i64) unreachable))
