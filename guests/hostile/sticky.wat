;; H77. Leaves its mark where no copy of memory and globals would take it back: it overwrites an entry
;; of a table and drops a segment. Each call must find both as they were.
(module
  (memory (export "memory") 1)
  (table 2 2 funcref)
  (elem (i32.const 0) $one $two)
  (data $segment "data")
  (type $answer (func (result i32)))
  (func $one (result i32) (i32.const 1))
  (func $two (result i32) (i32.const 2))
  ;; retry_after, with what the first entry answers: 1, unless an earlier call is still felt
  (func (export "port_before") (param i32) (result i64) (local $found i32)
    (memory.init $segment (i32.const 0) (i32.const 0) (i32.const 4)) ;; traps if it is gone
    (local.set $found (call_indirect (type $answer) (i32.const 0)))
    (table.copy (i32.const 0) (i32.const 1) (i32.const 1))
    (data.drop $segment)
    (i64.or (i64.const 4) (i64.shl (i64.extend_i32_u (local.get $found)) (i64.const 32)))))
