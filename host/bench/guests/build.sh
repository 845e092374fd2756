#!/bin/sh -e
# Builds the C guests, which are checked in, here or in the folder that is given. The Go ones are built by the benchmarks.
cd "$(dirname "$0")"
out=${1:-.}
CC="${CC:-clang-14} --target=wasm32 -mbulk-memory -mmutable-globals -ffreestanding -nostdlib -O3 -Wall -Wl,--no-entry -Wl,--strip-all"
$CC -Wl,-z,stack-size=8192 echo.c -o $out/echo-64k.wasm
$CC -Wl,-z,stack-size=8192,--initial-memory=131072 echo.c -o $out/echo-128k.wasm
$CC -Wl,-z,stack-size=1048576 echo.c -o $out/echo-1100k.wasm
$CC -Wl,-z,stack-size=8192 nodehook.c -o $out/nodehook.wasm
for guest in plain extism wapc; do $CC -Wl,-z,stack-size=8192 $guest.c -o $out/$guest.wasm; done
$CC kernels.c -o $out/kernels.wasm
