;; A plugin that wants its config before there is a call.
(module
  (import "extism:host/env" "config_get" (func $config_get (param i64) (result i64)))
  (memory (export "memory") 1)
  (func (export "_initialize") (drop (call $config_get (i64.const 0))))
  (func (export "tool_call")))
