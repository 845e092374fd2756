;; B22. Sleeps for a year through poll_oneoff, and then spins until a year has passed on
;; the clock. The host gives it a clock that moves by itself, so it gets on at once.
(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
  (memory (export "memory") 1)
  (func $now (result i64)
    (drop (call $clock (i32.const 1) (i64.const 1) (i32.const 512)))
    (i64.load (i32.const 512)))
  (func (export "port_before") (param i32) (result i64) (local $until i64)
    (local.set $until (i64.add (call $now) (i64.const 31536000000000000)))
    (i32.store (i32.const 16) (i32.const 1)) ;; the monotonic clock
    (i64.store (i32.const 24) (i64.const 31536000000000000))
    (loop $wait
      (drop (call $poll (i32.const 0) (i32.const 128) (i32.const 1) (i32.const 256)))
      (br_if $wait (i64.lt_u (call $now) (local.get $until))))
    (i64.const 0)))
