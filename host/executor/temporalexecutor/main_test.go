package temporalexecutor_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/testenv"
)

// The environment of a worker that a test starts: this program again.
const (
	workerConfig = "HEXDAG_TEST_WORKER" // its configuration
	workerFolder = "HEXDAG_TEST_FOLDER" // where effects are
)

func TestMain(m *testing.M) {
	if config := os.Getenv(workerConfig); config != "" {
		if err := work(config); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	remove, err := testenv.Home()
	if err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		remove()
		os.Exit(code)
	}))
}

// work is a worker's process.
func work(config string) (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	cfg, err := host.LoadConfig(config)
	if err != nil {
		return err
	}
	state, release, err := host.WorkerState(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	h, err := host.New(ctx, cfg, host.Options{State: state, Functions: functions(os.Getenv(workerFolder))})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Close(context.WithoutCancel(ctx))) }()
	return h.Work(ctx)
}

// functions are bodies whose effects are files below a folder.
func functions(dir string) map[string]host.Function {
	return map[string]host.Function{
		"test.effect": func(ctx context.Context, call *kernel.NodeCall) (kernel.Value, error) { return effect(ctx, dir, call) },
		"test.large": func(_ context.Context, call *kernel.NodeCall) (kernel.Value, error) {
			return map[string]any{"text": strings.Repeat("x", 3<<20)}, nil
		},
		"test.fails": func(ctx context.Context, call *kernel.NodeCall) (kernel.Value, error) {
			note(dir, "tries", kernel.RunFrom(ctx).RunID+"."+call.Name)
			if call.Attempt < 3 {
				return nil, &kernel.Error{Code: kernel.CodeFailed, What: "not yet"}
			}
			return map[string]any{"attempt": kernel.Number(int64(call.Attempt))}, nil
		},
		"test.crash": func(context.Context, *kernel.NodeCall) (kernel.Value, error) {
			os.Exit(3)
			return nil, nil
		},
	}
}

// effect says that it has begun, waits for a gate, where it is given the name of one, and has its effect, which is had once:
// a file by the name of the run and the node.
func effect(ctx context.Context, dir string, call *kernel.NodeCall) (kernel.Value, error) {
	key := kernel.RunFrom(ctx).RunID + "." + call.Name
	note(dir, "begun", fmt.Sprintf("%s %d", key, os.Getpid()))
	fields, _ := call.Input.(map[string]any)
	if gate, _ := fields["gate"].(string); gate != "" {
		for {
			if _, err := os.Stat(filepath.Join(dir, "gates", gate)); err == nil {
				break
			}
			select {
			case <-ctx.Done():
				note(dir, "stopped", key)
				return nil, kernel.ContextError(ctx)
			case <-time.After(5 * time.Millisecond):
			}
		}
	}
	f, err := os.OpenFile(filepath.Join(dir, "effects", key), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err == nil {
		err = f.Close()
	}
	if err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	return map[string]any{"pid": kernel.Number(int64(os.Getpid()))}, nil
}

// note appends a line, which is whole whatever becomes of the process.
func note(dir, name, line string) {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	_, err = f.WriteString(line + "\n")
	if err = errors.Join(err, f.Close()); err != nil {
		panic(err)
	}
}
