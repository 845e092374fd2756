;; B18. Fills all of its memory again and again: one instruction takes milliseconds, and
;; the deadline falls into it.
(module
  (memory (export "memory") 1000)
  (func (export "port_before") (param i32) (result i64)
    (loop $forever
      (memory.fill (i32.const 0) (i32.const 1) (i32.const 65536000))
      (memory.copy (i32.const 1) (i32.const 0) (i32.const 65535999))
      (br $forever))
    (i64.const 0)))
