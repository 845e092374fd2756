;; The canary: another tenant's guest, which reads a field and patches another while a
;; hostile one is at work. It must not notice.
(module
  (import "hexdag_v1" "field" (func $field (param i32 i32 i32 i32 i32) (result i64)))
  (import "hexdag_v1" "set" (func $set (param i32 i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "/args/text")
  ;; It does a little work of its own, returns replace if all went well, and error if not.
  (func (export "port_before") (param i32) (result i64) (local $length i32) (local $i i32)
    (local.set $length (i32.wrap_i64 (call $field (i32.const 0) (i32.const 0) (i32.const 10) (i32.const 64) (i32.const 1024))))
    (loop $work
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $work (i32.lt_u (local.get $i) (i32.const 1000))))
    (if (result i64) (call $set (i32.const 0) (i32.const 0) (i32.const 10) (i32.const 4) (i32.const 65) (i32.sub (local.get $length) (i32.const 1)))
      (then (i64.const 5)) (else (i64.const 1)))))
