;; D46. Uses in _initialize what is denied there, and tells at port_before what it was
;; answered: call in bits 0-7, clock in 8-15, random in 16-23, each without its sign.
(module
  (import "hexdag_v1" "call" (func $call (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "hexdag_v1" "clock" (func $clock (param i32) (result i64)))
  (import "hexdag_v1" "random" (func $random (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "test.echo{}")
  (global $seen (mut i32) (i32.const 0))
  (func (export "_initialize")
    (global.set $seen
      (i32.or (i32.sub (i32.const 0) (call $call (i32.const 0) (i32.const 9) (i32.const 9) (i32.const 2) (i32.const 0) (i32.const 0)))
      (i32.or (i32.shl (i32.sub (i32.const 0) (i32.wrap_i64 (call $clock (i32.const 0)))) (i32.const 8))
              (i32.shl (i32.sub (i32.const 0) (call $random (i32.const 64) (i32.const 8))) (i32.const 16))))))
  ;; The verdict is retry_after, whose argument any host passes on.
  (func (export "port_before") (param i32) (result i64)
    (i64.or (i64.const 4) (i64.shl (i64.extend_i32_u (global.get $seen)) (i64.const 32)))))
