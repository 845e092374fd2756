package toolchain

import (
	"context"
	"slices"
)

type namesKey struct{}

// WithNames has what is built in the context keep the names of its functions, with
// which a trap's error says where it was. They are for who writes a module: what is
// given away needs none.
func WithNames(ctx context.Context) context.Context {
	return context.WithValue(ctx, namesKey{}, true)
}

func keepsNames(ctx context.Context) bool { return ctx.Value(namesKey{}) != nil }

// goLinkerFlags leave out debugging data, and with it names unless they are wanted.
func goLinkerFlags(ctx context.Context) string {
	if keepsNames(ctx) {
		return "-ldflags=-w"
	}
	return "-ldflags=-s -w"
}

// stripped returns clang's flags, without those that strip where names are wanted.
func stripped(ctx context.Context, flags []string) []string {
	if !keepsNames(ctx) {
		return flags
	}
	return slices.DeleteFunc(slices.Clone(flags), func(f string) bool { return f == "-Wl,--strip-all" })
}
