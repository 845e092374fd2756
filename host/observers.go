package host

import (
	"context"
	"time"

	"github.com/hexdag/hexdag/host/extension"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/ports/eventbus"
	"github.com/hexdag/hexdag/host/tracing"
)

// Observer returns what hands events to the module that calls eventbus.subscribe: on
// behalf of the same chain, at the expense of the same run.
func (h *Host) Observer(ctx context.Context, call *kernel.PortCall) (eventbus.Handler, error) {
	n := len(call.Caller.Modules)
	if n == 0 {
		return nil, &kernel.Error{Code: kernel.CodeUnsupported, What: call.Op + " is for modules", Why: "a subscription calls the observe export of the module that made it", Fix: "call it from a module, or write a trigger or a subscription into hexdag.yaml"}
	}
	m := h.byName[call.Caller.Modules[n-1].Name]
	if m == nil {
		return nil, &kernel.Error{Code: kernel.CodeInternal, What: "the module that subscribes is not loaded"}
	}
	if err := m.CanObserve(); err != nil {
		return nil, err
	}
	caller := kernel.Caller{Principal: call.Caller.Principal, Modules: call.Caller.Modules[:n-1]}
	run, door := kernel.RunFrom(ctx), ports.DoorFrom(ctx, h.door)
	return func(ctx context.Context, d *eventbus.Delivery) error {
		if !run.CountCall("eventbus.deliveries", maxDeliveries) {
			return eventbus.Term(&kernel.Error{Code: kernel.CodeLimit, What: "a run is told of too many events", Fix: "subscribe in hexdag.yaml"})
		}
		return deliverTo(ports.WithDoor(ctx, door), m, run.Part(newRunID()), caller, d)
	}, nil
}

// maxDeliveries is how many events the modules of one run are told of.
const maxDeliveries = 100_000

// deliverTo has a module observe an event in a run of its own.
func deliverTo(ctx context.Context, m *extension.Module, run *kernel.RunContext, caller kernel.Caller, d *eventbus.Delivery) error {
	event, err := eventbus.EventValue(d.Event)
	if err != nil {
		return eventbus.Term(err)
	}
	run.InputLabels = run.InputLabels.Join(kernel.LabelsOfEvent(d.Event.Labels, d.Event.Topic))
	ctx = kernel.WithFlow(kernel.WithRun(tracing.After(ctx, d.Event.Trace), run), kernel.NewFlow(run.InputLabels))
	m.BeginRun(run)
	defer m.EndRun(context.WithoutCancel(ctx), run.RunID)
	defer release(ctx, run)
	defer run.End(context.WithoutCancel(ctx))
	v, err := m.Observe(ctx, caller, event, d.Attempt)
	switch {
	case err != nil:
		return err
	case v.Action == kernel.Deny:
		return eventbus.Term(&kernel.Error{Code: kernel.CodeDenied, What: "module " + kernel.Quote(m.Name()) + " refused the event", Why: v.Reason})
	case v.Action == kernel.RetryAfter:
		return eventbus.NakAfter(v.Delay, &kernel.Error{Code: kernel.CodeRetry, What: "module " + kernel.Quote(m.Name()) + " asks to try again", Why: v.Reason})
	case v.Action != kernel.Continue:
		return eventbus.Term(&kernel.Error{Code: kernel.CodeABI, What: "module " + kernel.Quote(m.Name()) + " gave the verdict " + v.Action.String() + " to an event", Why: "observe decides continue, deny, retry_after or error"})
	}
	return nil
}

// release gives the locks back that an observing module still holds.
func release(ctx context.Context, run *kernel.RunContext) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releasing)
	defer cancel()
	_ = run.Leases.Release(ctx) // what is not given back ends by itself
}

// releasing is how long giving locks back may take.
const releasing = 5 * time.Second

// subscribeModule has a module of the configuration told of events, within its grants.
func (h *Host) subscribeModule(ctx context.Context, spec pipeline.SubscriptionSpec, l *Listener) error {
	m := h.byName[spec.Module]
	if m == nil {
		return &kernel.Error{Code: kernel.CodeModuleNotFound, What: "there is no module " + kernel.Quote(spec.Module), Where: spec.Where}
	}
	if err := m.CanObserve(); err != nil {
		return kernel.At(err, spec.Where)
	}
	for _, pattern := range spec.On {
		if err := m.May("eventbus.subscribe", map[string]string{"topic": eventbus.Guarded(pattern)}); err != nil {
			return kernel.At(err, spec.Where)
		}
	}
	record := &kernel.AuditRecord{Kind: "module", Principal: h.principal(), Tenant: h.tenant(), Action: "module.subscribe", Resource: spec.Module, Effect: kernel.Allow, Digest: m.Digest(), Detail: list(spec.On)}
	if err := h.audit.Audit(ctx, record); err != nil {
		return err
	}
	handler := func(ctx context.Context, d *eventbus.Delivery) error {
		done := l.began()
		defer done()
		run := h.newRun("observe:"+spec.Module, RunOptions{})
		run.ParentRunID, run.Door, run.InputLabels = d.Event.RunID, h.door.Call, h.config.Labels.Input
		err := deliverTo(ctx, m, run, kernel.Caller{Principal: run.Principal}, d)
		l.tell(&Triggered{Module: spec.Module, Event: d.Event, Err: err})
		return err
	}
	group := orElse(spec.Group, eventbus.GroupOf(spec.Module))
	return l.subscribe(ctx, spec.On, handler, eventbus.SubscribeOptions{Group: "module-" + group, Start: eventbus.Start{Beginning: spec.Beginning}, Concurrency: spec.Concurrency})
}
