package memory

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
)

// What one query looks at, whatever it finds.
const (
	queryEntries = 10_000
	queryBytes   = 8 << 20
	queryStep    = 500     // entries of one call of the backend
	queryAnswer  = 1000    // entries, at most
	answerBytes  = 2 << 20 // of the values that are answered, beyond the first
	maxFields    = 32
)

// Query asks for entries of a tenant.
type Query struct {
	Prefix string                  // of the keys
	After  string                  // the key behind which to begin; "" is the start
	Where  map[string]kernel.Value // field: the value that it must equal; a.b is field b of the object in field a
	Limit  int                     // the most entries; 100 if 0, at most 1,000
}

// Entry is a key with its value.
type Entry struct {
	Key   string
	Value kernel.Value
}

// Query returns the entries whose values are objects with those fields, in the order of
// their keys. It looks at a bounded number of entries: a next that is not "" is the
// After that goes on, whether anything was found or not.
func (m *Memory) Query(ctx context.Context, tenant string, q Query) (found []Entry, next string, err error) {
	conditions, err := m.checkQuery(&q)
	if err != nil {
		return nil, "", err
	}
	seen, size, answered := 0, int64(0), 0
	for {
		page, err := m.store.Entries(ctx, m.opts.Now(), tenant, q.Prefix, q.After, queryStep, queryBytes-size)
		if err != nil {
			return nil, "", m.failed(ctx, err)
		}
		if len(page) == 0 {
			return found, "", nil
		}
		for _, e := range page {
			seen, size = seen+1, size+int64(len(e.Key)+len(e.Value))
			value, err := kernel.DecodeJSON(e.Value)
			if err != nil {
				return nil, "", damaged(e.Key, err)
			}
			if match(value, conditions) {
				if answered += len(e.Key) + len(e.Value); answered > answerBytes && len(found) > 0 {
					return found, q.After, nil
				}
				found = append(found, Entry{e.Key, value})
			}
			q.After = e.Key
			if len(found) == q.Limit {
				return found, q.After, nil
			}
		}
		if seen >= queryEntries || size >= queryBytes {
			return found, q.After, nil
		}
	}
}

// condition is a field and the JSON that it has to be.
type condition struct {
	path []string
	text []byte
}

func (m *Memory) checkQuery(q *Query) ([]condition, error) {
	for _, text := range []string{q.Prefix, q.After} {
		if text != "" {
			if err := m.checkKey(text); err != nil {
				return nil, err
			}
		}
	}
	if q.Limit == 0 {
		q.Limit = 100
	}
	if q.Limit < 0 || q.Limit > queryAnswer {
		return nil, argument(fmt.Sprintf("limit is %d", q.Limit), fmt.Sprintf("it is from 1 to %d", queryAnswer))
	}
	if len(q.Where) > maxFields {
		return nil, argument(fmt.Sprintf("where has %d fields", len(q.Where)), fmt.Sprintf("it has at most %d", maxFields))
	}
	var conditions []condition
	for field, value := range q.Where {
		text, err := m.encode("value of "+kernel.Quote(field), value)
		if err != nil {
			return nil, err
		}
		conditions = append(conditions, condition{strings.Split(field, "."), text})
	}
	return conditions, nil
}

func match(value kernel.Value, conditions []condition) bool {
	for _, c := range conditions {
		at := value
		for _, name := range c.path {
			object, _ := at.(map[string]any)
			field, there := object[name]
			if !there {
				return false
			}
			at = field
		}
		text, err := kernel.EncodeJSON(at)
		if err != nil || !bytes.Equal(text, c.text) {
			return false
		}
	}
	return true
}

func damaged(key string, err error) error {
	return &kernel.Error{Code: kernel.CodeFailed, What: "what is kept under " + kernel.Quote(key) + " is not what was stored", Why: err.Error(), Fix: "delete the key, or restore the store from a copy", Err: err}
}
