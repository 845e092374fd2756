package host

import (
	"context"
	"path/filepath"

	"github.com/hexdag/hexdag/host/redteam"
	"github.com/hexdag/hexdag/host/sandbox"
)

// RedTeamResult is what became of an attack.
type RedTeamResult = redteam.Result

// RedTeam has hostile modules attack a host on this machine and tells done of
// each as it ends.
func RedTeam(ctx context.Context, opts Options, done func(RedTeamResult)) ([]RedTeamResult, error) {
	h := &Host{config: &Config{}, cache: opts.CacheDir}
	if err := h.openCache(); err != nil {
		return nil, err
	}
	return redteam.Run(ctx, redteam.Options{
		Sandbox: sandbox.Options{CacheDir: filepath.Join(h.cache, "redteam"), Worker: opts.CompileWorker},
		Done:    done,
	})
}
