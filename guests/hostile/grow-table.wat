;; C23. Grows a table for ever: memory of the host that is no linear memory.
(module
  (memory (export "memory") 1)
  (table 1 funcref)
  (func (export "port_before") (param i32) (result i64)
    (loop $more
      (br_if $more (i32.ne (table.grow 0 (ref.null func) (i32.const 1000000)) (i32.const -1))))
    (i64.const 0)))
