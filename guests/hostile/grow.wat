;; C23. Grows its memory as far as it goes and touches all of it, then traps. The growth
;; stops at the limit.
(module
  (memory (export "memory") 1)
  (func (export "port_before") (param i32) (result i64)
    (loop $more
      (if (i32.ne (memory.grow (i32.const 16)) (i32.const -1)) (then (br $more))))
    (memory.fill (i32.const 0) (i32.const 1) (i32.shl (memory.size) (i32.const 16)))
    ;; retry_after, with the pages that it got
    (i64.or (i64.const 4) (i64.shl (i64.extend_i32_u (memory.size)) (i64.const 32)))))
