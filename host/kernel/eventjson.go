package kernel

// AppendJSON implements Appender: what json.Marshal makes of an event, by hand, because whoever follows a run, or keeps what it told, has each of
// its events.
func (e *Event) AppendJSON(dst []byte) ([]byte, error) {
	o := NewObject(dst)
	e.Members(&o)
	o.End()
	return o.Text, o.Err
}

// Members writes an event's members into an object, which another text may have around them.
func (e *Event) Members(o *Object) {
	o.String("type", string(e.Type))
	o.Time("time", e.Time)
	o.String("run_id", e.RunID)
	o.Some("parent_run_id", e.ParentRunID)
	o.String("pipeline", e.Pipeline)
	o.String("tenant", e.Tenant)
	o.Some("node", e.Node)
	o.Some("kind", e.Kind)
	o.someInt("wave", e.Wave)
	o.Strings("dependencies", e.Dependencies)
	o.someInt("nodes", e.Nodes)
	o.someInt("waves", e.Waves)
	o.someInt("attempt", e.Attempt)
	o.Some("op", e.Op)
	o.Some("module", e.Module)
	o.Some("action", e.Action)
	o.Some("status", e.Status)
	o.Some("reason", e.Reason)
	o.Strings("rules", e.Rules)
	o.someFloat("duration_ms", e.DurationMS)
	if e.Result != nil {
		o.Value("result", e.Result)
	}
	if e.Error != nil {
		o.Value("error", e.Error)
	}
	o.Labels("labels", e.Labels)
	if e.Cached != nil {
		o.Value("cached", e.Cached)
	}
	e.rest(o)
}

// rest writes what few events have.
func (e *Event) rest(o *Object) {
	o.Some("body", e.Body)
	o.Some("event_key", e.EventKey)
	o.Some("resource", e.Resource)
	o.someFloat("used", e.Used)
	o.someFloat("limit", e.Limit)
	o.Some("entity", e.Entity)
	o.Some("entity_id", e.EntityID)
	o.Some("from_state", e.FromState)
	o.Some("to_state", e.ToState)
	o.Some("system", e.System)
	o.Some("process", e.Process)
	o.someInt("dropped", int(e.Dropped))
}
