;; D46. Traps in the start function.
(module
  (memory (export "memory") 1)
  (func $start unreachable)
  (start $start)
  (func (export "port_before") (param i32) (result i64) (i64.const 0)))
