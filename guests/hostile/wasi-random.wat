;; H79. Asks WASI for random bytes without a request for random.read in its manifest. It must
;; be told no, and not be given bytes that only look random.
(module
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  ;; retry_after, with the error number, or 1,000 if bytes came all the same
  (func (export "port_before") (param i32) (result i64) (local $errno i32)
    (local.set $errno (call $random (i32.const 0) (i32.const 8)))
    (if (i64.ne (i64.load (i32.const 0)) (i64.const 0)) (then (local.set $errno (i32.const 1000))))
    (i64.or (i64.const 4) (i64.shl (i64.extend_i32_u (local.get $errno)) (i64.const 32)))))
