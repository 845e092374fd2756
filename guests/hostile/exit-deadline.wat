;; D46. Ends itself with the code by which wazero says that a deadline has passed.
(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func (export "port_before") (param i32) (result i64) (call $exit (i32.const 0xefffffff)) (i64.const 0)))
