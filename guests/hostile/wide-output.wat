;; B17. Prints all of its memory 1,024 times in one call of fd_write, and that for ever:
;; the host must not read so much for one line of a log.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1000)
  (func (export "port_before") (param i32) (result i64) (local $i i32)
    (loop $vectors
      (i32.store offset=4 (i32.shl (local.get $i) (i32.const 3)) (i32.const 65536000))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $vectors (i32.lt_u (local.get $i) (i32.const 1024))))
    (loop $forever
      (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1024) (i32.const 16384)))
      (br $forever))
    (i64.const 0)))
