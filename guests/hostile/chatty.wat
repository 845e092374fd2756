;; C31. Writes ten million short lines to the log.
(module
  (import "hexdag_v1" "log" (func $log (param i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "all is well")
  (func (export "port_before") (param i32) (result i64) (local $i i32)
    (loop $more
      (drop (call $log (i32.const 3) (i32.const 0) (i32.const 11)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $i) (i32.const 10000000))))
    (i64.const 0)))
