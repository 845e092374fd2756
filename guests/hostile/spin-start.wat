;; B15. Loops in the start function, before any export is called.
(module
  (memory (export "memory") 1)
  (func $start (loop $forever (br $forever)))
  (start $start)
  (func (export "port_before") (param i32) (result i64) (i64.const 0)))
