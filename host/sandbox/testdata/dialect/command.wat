;; A command that puts out its input, as often as its memory says that it ran.
(module
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1)
  (func (export "_start") (local $more i32)
    ;; Two vectors: the first takes 3 bytes, the second the rest.
    (i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (i32.const 3))
    (i32.store (i32.const 8) (i32.const 1027)) (i32.store (i32.const 12) (i32.const 60000))
    (if (call $fd_read (i32.const 0) (i32.const 0) (i32.const 2) (i32.const 16)) (then unreachable))
    (i32.store (i32.const 4) (i32.load (i32.const 16)))
    ;; At the end there is nothing more; elsewhere there never was; a range outside is a fault.
    (if (call $fd_read (i32.const 0) (i32.const 8) (i32.const 1) (i32.const 20)) (then unreachable))
    (if (i32.load (i32.const 20)) (then unreachable))
    (if (i32.ne (call $fd_read (i32.const 3) (i32.const 8) (i32.const 1) (i32.const 20)) (i32.const 8)) (then unreachable))
    (if (i32.ne (call $fd_read (i32.const 0) (i32.const -8) (i32.const 2) (i32.const 20)) (i32.const 21)) (then unreachable))
    (if (i32.ne (call $fd_read (i32.const 0) (i32.const 8) (i32.const 1025) (i32.const 20)) (i32.const 28)) (then unreachable))
    (i32.store (i32.const 60) (i32.add (i32.load (i32.const 60)) (i32.const 1)))
    (local.set $more (i32.load (i32.const 60)))
    (loop $l
      (if (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 20)) (then unreachable))
      (br_if $l (local.tee $more (i32.sub (local.get $more) (i32.const 1)))))
    (call $proc_exit (i32.const 0))))
