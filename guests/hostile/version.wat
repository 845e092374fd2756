;; E56. Calls test.echo, during which another version takes its place, and answers
;; retry_after with its own version: the four bytes behind VERSION=.
(module
  (import "hexdag_v1" "call" (func $call (param i32 i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 5) ;; large enough to be mapped
  (data (i32.const 0) "test.echo{}")
  (data (i32.const 16) "VERSION=\01\00\00\00")
  (func (export "port_before") (param i32) (result i64)
    (drop (call $call (i32.const 0) (i32.const 9) (i32.const 9) (i32.const 2) (i32.const 0) (i32.const 0)))
    (i64.or (i64.const 4) (i64.shl (i64.load32_u (i32.const 24)) (i64.const 32)))))
