;; D42a. A plugin of Extism that writes outside of what it has allocated.
(module
  (import "extism:host/env" "store_u64" (func $store (param i64 i64)))
  (memory (export "memory") 1)
  (func (export "port_before") (call $store (i64.const 0x7ffffffffffffff8) (i64.const -1))))
