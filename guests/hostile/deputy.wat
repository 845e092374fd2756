;; F59, F63. A tool that passes whatever arguments it is given on to test.echo, and the
;; status that it got back to its caller: the confused deputy.
(module
  (import "hexdag_v1" "field" (func $field (param i32 i32 i32 i32 i32) (result i64)))
  (import "hexdag_v1" "call" (func $call (param i32 i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "/argstest.echo")
  ;; retry_after, with the status without its sign
  (func (export "tool_call") (param i32) (result i64) (local $length i32)
    (local.set $length (i32.wrap_i64 (call $field (i32.const 0) (i32.const 0) (i32.const 5) (i32.const 64) (i32.const 60000))))
    (i64.or (i64.const 4) (i64.shl
      (i64.extend_i32_u (i32.sub (i32.const 0) (call $call (i32.const 5) (i32.const 9) (i32.const 64) (local.get $length) (i32.const 0) (i32.const 0))))
      (i64.const 32)))))
