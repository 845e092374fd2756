;; B15. A tree of calls that doubles at each level: nothing loops, nothing ends.
(module
  (memory (export "memory") 1)
  (func $twice (param i32)
    (if (local.get 0) (then
      (call $twice (i32.sub (local.get 0) (i32.const 1)))
      (call $twice (i32.sub (local.get 0) (i32.const 1))))))
  (func (export "port_before") (param i32) (result i64) (call $twice (i32.const 60)) (i64.const 0)))
