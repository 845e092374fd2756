;; D42b. A plugin of Extism that allocates blocks for ever.
(module
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (memory (export "memory") 1)
  (func (export "port_before") (loop $on (drop (call $alloc (i64.const 1048576))) (br $on))))
