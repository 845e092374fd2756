;; D47, D50. A plugin of Extism that uses handles which it never got, or gave back
;; before. They stand for nothing; it says continue if it was told so each time.
(module
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "free" (func $free (param i64)))
  (import "extism:host/env" "length" (func $length (param i64) (result i64)))
  (import "extism:host/env" "store_u8" (func $store (param i64 i32)))
  (import "extism:host/env" "config_get" (func $config (param i64) (result i64)))
  (import "extism:host/env" "var_get" (func $var (param i64) (result i64)))
  (import "extism:host/env" "output_set" (func $output (param i64 i64)))
  (memory (export "memory") 1)
  (data (i32.const 0) "{\"verdict\":\"continue\"}")
  (func $none (param i64) (if (i64.ne (local.get 0) (i64.const 0)) (then unreachable)))
  (func (export "port_before") (local $block i64) (local $i i32)
    (local.set $block (call $alloc (i64.const 22)))
    (call $none (call $length (i64.const -1)))
    (call $none (call $length (i64.add (local.get $block) (i64.const 1))))
    (call $none (call $config (i64.const 0x7fffffffffffffff)))
    (call $none (call $var (i64.const -9)))
    (call $free (i64.const 17))
    (call $free (local.get $block)) (call $free (local.get $block))
    (call $none (call $length (local.get $block)))
    (local.set $block (call $alloc (i64.const 22)))
    (if (i64.eq (call $alloc (i64.const 22)) (local.get $block)) (then unreachable)) ;; given out twice
    (loop $copy
      (call $store (i64.add (local.get $block) (i64.extend_i32_u (local.get $i))) (i32.load8_u (local.get $i)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $copy (i32.lt_u (local.get $i) (i32.const 22))))
    (call $output (local.get $block) (i64.const 22))))
