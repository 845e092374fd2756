package llm

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/hexdag/hexdag/host/kernel"
)

// The bounds of a batch.
const (
	maxBatch   = 256
	batchAtOne = 10 // requests at once

	maxBatchBytes = 64 << 20 // of all answers: with so many no more are asked for
)

// BatchItem is what came of one request of a batch.
type BatchItem struct {
	Response *Response
	Err      error
}

func batchArgument(format string, args ...any) error {
	return &kernel.Error{Code: kernel.CodeArguments, What: "llm.batch: " + fmt.Sprintf(format, args...)}
}

// Batch is Complete for each of the requests, several at once; what came of them is in their order. One that
// fails fails alone, also for want of money. The error is of CodeArguments, or that of a context that ended.
func (p *Port) Batch(ctx context.Context, reqs []*Request) ([]BatchItem, error) {
	if len(reqs) == 0 || len(reqs) > maxBatch {
		return nil, batchArgument("requests has %d items; it has from 1 to %d", len(reqs), maxBatch)
	}
	items := make([]BatchItem, len(reqs))
	places := make(chan struct{}, batchAtOne)
	var all sync.WaitGroup
	var size atomic.Int64
	for i, req := range reqs {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			if size.Load() > maxBatchBytes {
				items[i].Err = &kernel.Error{Code: kernel.CodeLimit, What: "llm.batch: it was not asked", Why: fmt.Sprintf("the answers before it have more than %d bytes", maxBatchBytes), Fix: "send it in another batch"}
				return
			}
			items[i].Response, items[i].Err = kernel.Guarded(func() (*Response, error) { return p.Complete(ctx, req) })
			if items[i].Response != nil {
				size.Add(int64(sizeOf(items[i].Response)))
			}
		})
	}
	all.Wait()
	if ctx.Err() != nil {
		return items, kernel.ContextError(ctx)
	}
	return items, nil
}

func (p *Port) batchOp(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	if len(call.Body) > 0 {
		return nil, batchArgument("it takes no body")
	}
	reqs, err := parseBatch(call.Args)
	if err != nil {
		return nil, err
	}
	items, err := p.Batch(ctx, reqs)
	if err != nil {
		return nil, err
	}
	if err := unreachable(items); err != nil {
		return nil, err
	}
	var total Usage
	values := make([]any, len(items))
	for i, item := range items {
		v := map[string]any{"status": "ok"}
		if item.Response != nil {
			total = sum(total, item.Response.Usage)
		}
		if item.Err != nil {
			v["status"], v["error"] = "error", errorValue(item.Err)
			if item.Response != nil {
				v["usage"] = usageValue(item.Response.Usage)
			}
		} else {
			for name, member := range replyValue(reqs[i], item.Response) {
				v[name] = member
			}
		}
		v["index"] = kernel.Number(int64(i))
		values[i] = v
	}
	return &kernel.PortReply{Value: map[string]any{"items": values, "usage": usageValue(total)}}, nil
}

// unreachable returns the error of a batch of which the model took nothing, being out of reach or asking for fewer requests: another of a
// pool, or a retry, can have it.
func unreachable(items []BatchItem) error {
	for _, item := range items {
		if code := kernel.CodeOf(item.Err); code != kernel.CodeUnavailable && code != kernel.CodeRetry {
			return nil
		}
	}
	return items[0].Err
}

func errorValue(err error) map[string]any {
	v := map[string]any{"code": string(kernel.CodeOf(err)), "message": err.Error()}
	var known *kernel.Error
	if errors.As(err, &known) && known.RetryAfter > 0 {
		v["retry_after_ms"] = kernel.Number(known.RetryAfter.Milliseconds())
	}
	return v
}

// parseBatch reads {requests: [...], model?}: a capability restricts the model of all.
func parseBatch(args map[string]any) ([]*Request, error) {
	var list []any
	model := ""
	for name, value := range args {
		switch name {
		case "requests":
			var ok bool
			if list, ok = value.([]any); !ok {
				return nil, batchArgument("requests must be a list of {messages, ...}")
			}
		case "model":
			var err error
			if model, err = parseModel(value); err != nil {
				return nil, err
			}
		default:
			return nil, batchArgument("unknown argument %q; it takes requests, model", kernel.Quote(name))
		}
	}
	if len(list) > maxBatch {
		return nil, batchArgument("requests has %d items; it has from 1 to %d", len(list), maxBatch)
	}
	reqs := make([]*Request, len(list))
	for i, item := range list {
		one, ok := item.(map[string]any)
		if !ok {
			return nil, batchArgument("requests[%d] must be an object {messages, ...}", i)
		}
		if _, own := one["model"]; own {
			return nil, batchArgument("requests[%d] has a model of its own; name one for all beside requests", i)
		}
		req, err := parseRequest(one)
		if err != nil {
			return nil, batchArgument("requests[%d]: %v", i, err)
		}
		req.Model = model
		reqs[i] = req
	}
	return reqs, nil
}
