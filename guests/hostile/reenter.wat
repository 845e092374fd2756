;; C27, E51. A hook that calls the operation that it hooks, test.echo, and so itself: each
;; level is an instance more, with the memory that it touches.
(module
  (import "hexdag_v1" "call" (func $call (param i32 i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 32)
  (data (i32.const 0) "test.echo{}")
  (func (export "port_before") (param i32) (result i64)
    (memory.fill (i32.const 65536) (i32.const 1) (i32.const 2031616))
    (drop (call $call (i32.const 0) (i32.const 9) (i32.const 9) (i32.const 2) (i32.const 0) (i32.const 0)))
    (i64.const 0)))
