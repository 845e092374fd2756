/* A plain program: Lua, and a script that is its data. It reads JSON from standard
 * input and prints JSON; it knows nothing of hexdag. */
#include <stdio.h>
#include <stdlib.h>

#include "lauxlib.h"
#include "lua.h"
#include "lualib.h"

extern const char json_script[], main_script[]; /* build.sh makes them of *.lua */

/* WebAssembly has no longjmp here: an error ends the program, also within pcall. */
_Noreturn void command_throw(lua_State *L) {
    const char *message = lua_tostring(L, -1);
    fprintf(stderr, "%s\n", message ? message : "an error that has no text");
    exit(1);
}

/* read_all gives what is on standard input. */
static int read_all(lua_State *L) {
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    for (size_t n; (n = fread(luaL_prepbuffer(&b), 1, LUAL_BUFFERSIZE, stdin)) > 0;) luaL_addsize(&b, n);
    luaL_pushresult(&b);
    return 1;
}

int main(void) {
    static const luaL_Reg libraries[] = {
        {LUA_GNAME, luaopen_base},        {LUA_TABLIBNAME, luaopen_table}, {LUA_STRLIBNAME, luaopen_string},
        {LUA_MATHLIBNAME, luaopen_math}, {LUA_UTF8LIBNAME, luaopen_utf8}, {0, 0},
    };
    lua_State *L = luaL_newstate();
    for (const luaL_Reg *l = libraries; l->func; l++) {
        luaL_requiref(L, l->name, l->func, 1);
        lua_pop(L, 1);
    }
    lua_register(L, "read_all", read_all);
    if (luaL_loadstring(L, json_script) != LUA_OK) command_throw(L);
    lua_pcall(L, 0, 1, 0); /* a call without pcall is one whose errors abort */
    lua_setglobal(L, "json");
    if (luaL_loadstring(L, main_script) != LUA_OK) command_throw(L);
    lua_pcall(L, 0, 0, 0);
    return 0;
}
