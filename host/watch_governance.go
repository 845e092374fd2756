package host

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// WatchGovernance looks at the files of governance, as often as every says, and reloads
// it when one has changed and none does any more, and once to begin with. Report, if there is one, is given what came of
// each reload; the log has it, too. It returns when ctx ends. Every is at least a millisecond.
func (h *Host) WatchGovernance(ctx context.Context, every time.Duration, report func(changed bool, err error)) {
	ticker := time.NewTicker(max(every, time.Millisecond))
	defer ticker.Stop()
	loaded, last, failed := "", "", ""
	var again time.Time // when what failed is tried again: the reason may pass without a file that changes
	pause := firstPause
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := h.governing.stamp()
		settled := now == last
		if last = now; !settled || now == loaded || now == failed && time.Now().Before(again) { // while it is being written it is looked at again
			continue
		}
		changed, err := h.ReloadGovernance(ctx)
		if err != nil {
			known := now == failed
			if failed = now; !known {
				pause = firstPause
			}
			again, pause = time.Now().Add(pause), min(2*pause, time.Minute)
			if known { // it was told
				continue
			}
		} else {
			loaded, failed = now, ""
		}
		switch {
		case err != nil:
			h.log.Error("the rules of governance are not replaced", "error", err)
		case changed:
			h.log.Info("the rules of governance are replaced", "revision", h.governing.port.Revision())
		}
		if report != nil {
			report(changed, err)
		}
	}
}

// firstPause is after how long a reload that failed is tried again; then after twice that, up
// to a minute.
const firstPause = time.Second

// stamp tells files apart by their names, sizes and times. What cannot be read is a state, too.
func (g *governing) stamp() string {
	g.changing.Lock()
	defer g.changing.Unlock()
	if g.tree == nil {
		return ""
	}
	var files []string
	for _, n := range g.tree.nodes {
		files = append(files, n.files...)
	}
	slices.Sort(files)
	var b strings.Builder
	for _, file := range slices.Compact(files) {
		_ = filepath.WalkDir(file, func(name string, entry fs.DirEntry, err error) error {
			if err != nil {
				fmt.Fprintf(&b, "%q %v\n", name, err)
				return nil
			}
			if entry.IsDir() {
				return nil
			}
			info, err := os.Stat(name)
			if err != nil {
				fmt.Fprintf(&b, "%q %v\n", name, err)
				return nil
			}
			fmt.Fprintf(&b, "%q %d %d\n", name, info.Size(), info.ModTime().UnixNano())
			return nil
		})
	}
	return b.String()
}
