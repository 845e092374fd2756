#!/bin/sh
# Builds the command: build.sh OUT.wasm. It needs clang 14, lld, WASI's C library, and
# Lua's source ('cargo vendor' here).
set -eu
out=$(realpath "$1")
cd "$(dirname "$0")"
lua=vendor/lua-src/lua-5.4.9
[ -d $lua ] || { echo "there is no $lua; run 'cargo vendor' in $PWD" >&2; exit 1; }
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# text NAME FILE: a script as an array of C.
text() {
  echo "extern const char $1[]; const char $1[] = {"
  od -An -v -t d1 "$2" | sed 's/ *\(-\{0,1\}[0-9][0-9]*\)/\1,/g'
  echo "0};"
}
{ text json_script json.lua; text main_script stats.lua; } >"$tmp/scripts.c"

cat >"$tmp/command.h" <<'H'
#ifndef COMMAND_H
#define COMMAND_H
struct lua_State;
_Noreturn void command_throw(struct lua_State *L);
#define LUAI_THROW(L, c) command_throw(L)
#define LUAI_TRY(L, c, a) { a }
#define luai_jmpbuf int
#endif
H
: >"$tmp/setjmp.h" # WASI has none, and what includes it has command.h instead

sources=$(ls $lua/l*.c | grep -v -e /linit -e /liolib -e /loslib -e /loadlib -e /ldblib -e /lcorolib)
# shellcheck disable=SC2086 # a list of files
clang-14 --target=wasm32-wasi -std=gnu11 -O2 -mbulk-memory -w -D_WASI_EMULATED_SIGNAL -ftls-model=local-exec -I "$tmp" -include "$tmp/command.h" -I $lua \
  main.c "$tmp/scripts.c" $sources -lwasi-emulated-signal -Wl,--strip-all -Wl,--stack-first -Wl,-z,stack-size=262144 -o "$out"
