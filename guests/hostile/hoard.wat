;; C35, C37. Builds the widest output that it can, in the smallest steps: objects in objects
;; under a new name each time, which take far more of the host's memory than of the text's limit.
(module
  (import "hexdag_v1" "set" (func $set (param i32 i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  ;; 63 tokens, behind the eight characters of a name that counts
  (data (i32.const 0) "/00000000/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a1")
  (func $count (local $at i32)
    (local.set $at (i32.const 8))
    (loop $carry
      (i32.store8 (local.get $at) (i32.add (i32.load8_u (local.get $at)) (i32.const 1)))
      (if (i32.gt_u (i32.load8_u (local.get $at)) (i32.const 57)) (then
        (i32.store8 (local.get $at) (i32.const 48))
        (local.set $at (i32.sub (local.get $at) (i32.const 1)))
        (br $carry)))))
  (func (export "port_before") (param i32) (result i64)
    (loop $more
      (call $count)
      (br_if $more (i32.eqz (call $set (i32.const 4) (i32.const 0) (i32.const 135) (i32.const 3) (i32.const 135) (i32.const 1)))))
    (i64.const 0)))
