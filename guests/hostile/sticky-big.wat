;; H77. As sticky.wat, with a memory so big that the host puts it back by dropping its pages
;; rather than by copying, and that it grows beyond what it started with.
(module
  (memory (export "memory") 32 48)
  (func (export "_initialize") (i32.store8 (i32.const 1048576) (i32.const 7)))
  ;; retry_after, with the sum of what is at four places: 7 from _initialize, unless an earlier
  ;; call is still felt
  (func (export "port_before") (param i32) (result i64) (local $found i32)
    (local.set $found (i32.add
      (i32.add (i32.load8_u (i32.const 0)) (i32.load8_u (i32.const 1048576)))
      (i32.load8_u (i32.const 2097151))))
    (if (i32.ne (memory.size) (i32.const 32)) (then unreachable))
    (drop (memory.grow (i32.const 8)))
    (local.set $found (i32.add (local.get $found) (i32.load8_u (i32.const 2621439))))
    (i32.store8 (i32.const 0) (i32.const 1))
    (i32.store8 (i32.const 1048576) (i32.const 2))
    (i32.store8 (i32.const 2097151) (i32.const 3))
    (i32.store8 (i32.const 2621439) (i32.const 4))
    (i64.or (i64.const 4) (i64.shl (i64.extend_i32_u (local.get $found)) (i64.const 32)))))
