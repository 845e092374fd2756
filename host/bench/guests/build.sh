#!/bin/sh -e
# Builds the C guests, which are checked in. The Go ones are built by the benchmarks.
cd "$(dirname "$0")"
CC="${CC:-clang-14} --target=wasm32 -mbulk-memory -mmutable-globals -ffreestanding -nostdlib -O3 -Wall -Wl,--no-entry -Wl,--strip-all"
$CC -Wl,-z,stack-size=8192 echo.c -o echo-64k.wasm
$CC -Wl,-z,stack-size=8192,--initial-memory=131072 echo.c -o echo-128k.wasm
$CC -Wl,-z,stack-size=1048576 echo.c -o echo-1100k.wasm
$CC -Wl,-z,stack-size=8192 nodehook.c -o nodehook.wasm
for guest in plain extism wapc; do $CC -Wl,-z,stack-size=8192 $guest.c -o $guest.wasm; done
$CC kernels.c -o kernels.wasm
