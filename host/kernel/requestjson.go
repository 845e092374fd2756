package kernel

import (
	"maps"
	"slices"
)

// Appender is a value that writes itself as compact JSON: what json.Marshal makes of it, but for the order of members.
type Appender interface {
	AppendJSON(dst []byte) ([]byte, error)
}

// AppendJSON implements Appender: by hand, because a policy is asked with the text about all that all runs do.
func (r *AccessRequest) AppendJSON(dst []byte) ([]byte, error) {
	o := NewObject(dst)
	o.Open("subject")
	o.String("type", r.Subject.Type)
	o.String("id", r.Subject.ID)
	o.String("tenant", r.Subject.Tenant)
	o.Strings("on_behalf_of", r.Subject.Chain)
	o.End()
	o.Open("action")
	o.String("name", r.Action.Name)
	if len(r.Action.Args) > 0 {
		args, err := r.Action.Text.For(r.Action.Args).JSON()
		if err != nil {
			return o.Text, err
		}
		o.Name("args")
		o.Text = append(o.Text, args...)
	}
	o.End()
	o.Open("resource")
	o.String("type", r.Resource.Type)
	o.String("id", r.Resource.ID)
	o.End()
	o.Open("context")
	o.scope(&r.Context)
	o.End()
	o.End()
	return o.Text, o.Err
}

// AppendJSON implements Appender.
func (s *Scope) AppendJSON(dst []byte) ([]byte, error) {
	o := NewObject(dst)
	o.scope(s)
	o.End()
	return o.Text, o.Err
}

func (o *Object) scope(s *Scope) {
	o.Some("run_id", s.RunID)
	o.Some("pipeline", s.Pipeline)
	o.Some("node", s.Node)
	if len(s.Labels) > 0 {
		o.Name("labels")
		o.Text = append(o.Text, '{')
		for i, name := range slices.Sorted(maps.Keys(s.Labels)) {
			if i > 0 {
				o.Text = append(o.Text, ',')
			}
			o.Text = AppendString(append(AppendString(o.Text, name), ':'), s.Labels[name]) // which may be any text
		}
		o.End()
	}
	o.Strings("sources", s.Sources)
	o.Usage(&s.Usage)
}
