package memory

import (
	"bytes"
	"context"

	"github.com/hexdag/hexdag/host/kernel"
)

// A value that has labels is kept as {"hexdag.labels": {...}, "hexdag.value": value}. So
// is any value that looks like this, so that nobody's own value is taken for it. Whoever
// sets a value gives it the labels of its flow; whoever reads it learns them.
const (
	labelsMember = "hexdag.labels"
	valueMember  = "hexdag.value"
)

// labelled returns a value's text with the labels of who sets it.
func labelled(ctx context.Context, value kernel.Value, text []byte) ([]byte, error) {
	labels := kernel.FlowFrom(ctx).Labels()
	if _, looksSo := value.(map[string]any); labels == nil && (!looksSo || !isLabelled(value)) {
		return text, nil
	}
	return kernel.EncodeJSON(map[string]any{labelsMember: labels.Value(), valueMember: value})
}

func isLabelled(value kernel.Value) bool {
	fields, _ := value.(map[string]any)
	_, hasLabels := fields[labelsMember]
	_, hasValue := fields[valueMember]
	return len(fields) == 2 && hasLabels && hasValue
}

// plain returns what was kept without its labels, which the reader learns.
func plain(ctx context.Context, value kernel.Value) (kernel.Value, error) {
	if !isLabelled(value) {
		return value, nil
	}
	fields, _ := value.(map[string]any)
	text, err := kernel.EncodeJSON(fields[labelsMember])
	if err != nil {
		return nil, err
	}
	labels := &kernel.Labels{}
	if err := labels.UnmarshalJSON(text); err != nil {
		return nil, err
	}
	kernel.FlowFrom(ctx).Join(labels.OrNil())
	return fields[valueMember], nil
}

// kept returns what is kept under a key in place of the expected text, if it is that
// with labels; nil, if it is not.
func (m *Memory) kept(ctx context.Context, tenant, key string, expected []byte) ([]byte, error) {
	text, found, err := m.store.Get(ctx, m.opts.Now(), tenant, key)
	if err != nil || !found || !holds(ctx, text, expected) {
		return nil, m.failed(ctx, err)
	}
	return text, nil
}

// holds reports whether a text is a value with labels, and the value's is the one expected.
func holds(ctx context.Context, text, expected []byte) bool {
	value, err := kernel.DecodeJSON(text)
	if err != nil || !isLabelled(value) {
		return false
	}
	if value, err = plain(ctx, value); err != nil {
		return false
	}
	inner, err := kernel.EncodeJSON(value)
	return err == nil && bytes.Equal(inner, expected)
}
