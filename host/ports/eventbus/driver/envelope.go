package driver

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// envelope is an event in the JSON format of CloudEvents 1.0. What CloudEvents
// has no name for is an extension attribute.
type envelope struct {
	SpecVersion string          `json:"specversion"`
	ID          string          `json:"id"`
	Source      string          `json:"source"`
	Type        string          `json:"type"`
	Subject     string          `json:"subject"` // the topic
	Time        time.Time       `json:"time"`
	ContentType string          `json:"datacontenttype,omitempty"`
	Key         string          `json:"partitionkey,omitempty"`
	Tenant      string          `json:"tenant"`
	RunID       string          `json:"runid,omitempty"`
	Hops        int             `json:"hops,omitempty"`
	Sequence    string          `json:"sequence,omitempty"`
	Labels      string          `json:"labels,omitempty"` // a JSON object: attributes are no objects
	Dead        string          `json:"deadletter,omitempty"`
	Trace       string          `json:"traceparent,omitempty"`
	TraceState  string          `json:"tracestate,omitempty"`
	Data        json.RawMessage `json:"data,omitempty"`
}

// ContentType is the media type of an event's JSON.
const ContentType = "application/cloudevents+json"

// MarshalJSON returns the event in the JSON format of CloudEvents.
func (e *Event) MarshalJSON() ([]byte, error) {
	v := envelope{
		SpecVersion: "1.0", ID: e.ID, Source: e.Source, Type: e.Type, Subject: e.Topic, Time: e.Time, Key: e.Key,
		Tenant: e.Tenant, RunID: e.RunID, Hops: e.Hops, Data: e.Data,
	}
	v.Trace, v.TraceState, _ = strings.Cut(e.Trace, " ")
	if len(e.Data) > 0 {
		v.ContentType = "application/json"
	}
	if e.Sequence > 0 {
		v.Sequence = fmt.Sprintf("%020d", e.Sequence)
	}
	var err error
	if len(e.Labels) > 0 {
		v.Labels, err = text(e.Labels)
	}
	if e.Dead != nil && err == nil {
		v.Dead, err = text(e.Dead)
	}
	if err != nil {
		return nil, err
	}
	return json.Marshal(v)
}

func text(v any) (string, error) {
	b, err := json.Marshal(v)
	return string(b), err
}

// UnmarshalJSON reads an event. The sequence is not the envelope's to say.
func (e *Event) UnmarshalJSON(b []byte) error {
	var v envelope
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	if v.SpecVersion != "1.0" || v.ID == "" || v.Subject == "" {
		return fmt.Errorf("this is no CloudEvent of version 1.0 with an id and a subject")
	}
	*e = Event{
		ID: v.ID, Source: v.Source, Type: v.Type, Topic: v.Subject, Time: v.Time, Key: v.Key,
		Tenant: v.Tenant, RunID: v.RunID, Hops: v.Hops, Trace: v.Trace, Data: bytes.Clone(v.Data),
	}
	if v.Trace != "" && v.TraceState != "" {
		e.Trace += " " + v.TraceState
	}
	if v.Labels != "" {
		if err := json.Unmarshal([]byte(v.Labels), &e.Labels); err != nil {
			return fmt.Errorf("labels: %w", err)
		}
	}
	if v.Dead != "" {
		if err := json.Unmarshal([]byte(v.Dead), &e.Dead); err != nil {
			return fmt.Errorf("deadletter: %w", err)
		}
	}
	return nil
}
