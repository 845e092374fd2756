package artifacts_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/ports/artifacts"
	"github.com/hexdag/hexdag/host/ports/artifacts/memartifacts"
)

// caller calls operations as a run.
type caller struct {
	ctx context.Context
	ops []ports.Op
}

func newCallers(t *testing.T, opts artifacts.Options, runs ...string) ([]caller, *artifacts.Store) {
	s := artifacts.New(memartifacts.NewBucket(), opts)
	var callers []caller
	for _, id := range runs {
		callers = append(callers, caller{kernel.WithRun(t.Context(), &kernel.RunContext{RunID: id}), s.Ops()})
	}
	return callers, s
}

func (c caller) call(op string, args map[string]any, body []byte) (*kernel.PortReply, error) {
	i := slices.IndexFunc(c.ops, func(o ports.Op) bool { return o.Name == "artifacts."+op })
	return c.ops[i].Func(c.ctx, &kernel.PortCall{Op: "artifacts." + op, Args: args, Body: body})
}

func (c caller) must(t *testing.T, op string, args map[string]any, body []byte) (map[string]any, []byte) {
	t.Helper()
	reply, err := c.call(op, args, body)
	if err != nil {
		t.Fatalf("artifacts.%s: %v", op, err)
	}
	value, _ := reply.Value.(map[string]any)
	return value, reply.Body
}

func TestOpsRoundTrip(t *testing.T) {
	callers, s := newCallers(t, artifacts.Options{}, "run-1")
	c := callers[0]
	value, _ := c.must(t, "store", map[string]any{
		"name": "out/summary.json", "value": map[string]any{"b": json.Number("1.50"), "a": "<ü>"}, "metadata": map[string]any{"k": "v"}}, nil)
	id := value["id"].(string)

	got, body := c.must(t, "retrieve", map[string]any{"id": id}, nil)
	if want := "{\n  \"a\": \"<ü>\",\n  \"b\": 1.50\n}\n"; string(body) != want {
		t.Errorf("body %q, want %q", body, want)
	}
	want := map[string]any{"id": id, "run_id": "run-1", "name": "out/summary.json", "digest": value["digest"], "size": json.Number(fmt.Sprint(len(body))),
		"content_type": "application/json", "metadata": map[string]any{"k": "v"}, "stored": got["stored"]}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]any{"id": id, "digest": want["digest"], "size": want["size"]}, value); diff != "" {
		t.Error(diff)
	}
	list, _ := c.must(t, "list", map[string]any{}, nil)
	if diff := cmp.Diff(map[string]any{"artifacts": []any{want}}, list); diff != "" {
		t.Error(diff)
	}
	c.must(t, "delete", map[string]any{"id": id}, nil)
	_, err := c.call("retrieve", map[string]any{"id": id}, nil)
	wantCode(t, "retrieve after delete", err, kernel.CodeNotFound)
	if left, err := s.List(t.Context(), "run-1"); err != nil || left != nil {
		t.Errorf("%v, %v", left, err)
	}
	list, _ = c.must(t, "list", map[string]any{"run_id": "run-1"}, nil)
	if diff := cmp.Diff(map[string]any{"artifacts": []any{}}, list); diff != "" {
		t.Error(diff)
	}
}

func TestOpsBodyStaysBinary(t *testing.T) {
	callers, _ := newCallers(t, artifacts.Options{}, "run-1")
	for name, data := range map[string][]byte{"binary": {0, 0xff, '\n', '"'}, "empty": {}} {
		value, _ := callers[0].must(t, "store", map[string]any{"name": name, "content_type": "image/png"}, data)
		got, body := callers[0].must(t, "retrieve", map[string]any{"id": value["id"]}, nil)
		if string(body) != string(data) || got["content_type"] != "image/png" {
			t.Errorf("%s: %q, %v", name, body, got)
		}
	}
	value, _ := callers[0].must(t, "store", map[string]any{"name": "null", "value": nil}, nil)
	if _, body := callers[0].must(t, "retrieve", map[string]any{"id": value["id"]}, nil); string(body) != "null\n" {
		t.Errorf("%q", body)
	}
}

// TestOpsKeepRunsApart: to a run, the artifacts of another are as absent as those
// that never were.
func TestOpsKeepRunsApart(t *testing.T) {
	callers, s := newCallers(t, artifacts.Options{}, "run-1", "run-2")
	mine, theirs := callers[0], callers[1]
	value, _ := mine.must(t, "store", map[string]any{"name": "a", "value": "same"}, nil)
	theirs.must(t, "store", map[string]any{"name": "a", "value": "same"}, nil)
	id := value["id"].(string)
	absent := strings.Replace(id, id[7:17], "0123456789", 1)
	for _, op := range []string{"retrieve", "delete"} {
		_, err := theirs.call(op, map[string]any{"id": id}, nil)
		_, errAbsent := theirs.call(op, map[string]any{"id": absent}, nil)
		wantCode(t, op, err, kernel.CodeNotFound)
		if got, want := strings.ReplaceAll(err.Error(), id, "ID"), strings.ReplaceAll(errAbsent.Error(), absent, "ID"); got != want {
			t.Errorf("%s tells %q from %q", op, got, want)
		}
	}
	_, err := theirs.call("list", map[string]any{"run_id": "run-1"}, nil)
	_, errAbsent := theirs.call("list", map[string]any{"run_id": "run-9"}, nil)
	wantCode(t, "list", err, kernel.CodeNotFound)
	wantCode(t, "list of an absent run", errAbsent, kernel.CodeNotFound)
	if _, _, err := s.Retrieve(t.Context(), id); err != nil {
		t.Error(err)
	}
}

// TestOpsNameIsAClaim: a name given with an id must be the artifact's, so that an
// operator can grant by name.
func TestOpsNameIsAClaim(t *testing.T) {
	callers, _ := newCallers(t, artifacts.Options{}, "run-1")
	value, _ := callers[0].must(t, "store", map[string]any{"name": "secret/a", "value": 1}, nil)
	for _, op := range []string{"retrieve", "delete"} {
		_, err := callers[0].call(op, map[string]any{"id": value["id"], "name": "reports/a"}, nil)
		wantCode(t, op, err, kernel.CodeNotFound)
		_, err = callers[0].call(op, map[string]any{"id": value["id"], "name": ""}, nil)
		wantCode(t, op, err, kernel.CodeNotFound)
	}
	callers[0].must(t, "retrieve", map[string]any{"id": value["id"], "name": "secret/a"}, nil)
	callers[0].must(t, "delete", map[string]any{"id": value["id"], "name": "secret/a"}, nil)
}

func TestOpsArguments(t *testing.T) {
	callers, _ := newCallers(t, artifacts.Options{MaxSize: 10}, "run-1")
	for _, c := range []struct {
		op   string
		args map[string]any
		body []byte
		want kernel.Code
	}{
		{"store", map[string]any{"name": "a"}, nil, kernel.CodeArguments},
		{"store", map[string]any{"value": 1}, nil, kernel.CodeArguments},
		{"store", map[string]any{"name": 1, "value": 1}, nil, kernel.CodeArguments},
		{"store", map[string]any{"name": "../a", "value": 1}, nil, kernel.CodeArguments},
		{"store", map[string]any{"name": "a", "value": 1}, []byte("x"), kernel.CodeArguments},
		{"store", map[string]any{"name": "a", "value": func() {}}, nil, kernel.CodeArguments},
		{"store", map[string]any{"name": "a", "metadata": "m"}, []byte("x"), kernel.CodeArguments},
		{"store", map[string]any{"name": "a", "content_type": true}, []byte("x"), kernel.CodeArguments},
		{"store", map[string]any{"name": "a", "run_id": "run-2"}, []byte("x"), kernel.CodeArguments},
		{"store", map[string]any{"name": "a"}, []byte("12345678901"), kernel.CodeLimit},
		{"retrieve", map[string]any{}, nil, kernel.CodeArguments},
		{"retrieve", map[string]any{"id": "a"}, nil, kernel.CodeArguments},
		{"retrieve", map[string]any{"id": 1}, nil, kernel.CodeArguments},
		{"delete", map[string]any{"id": nil}, nil, kernel.CodeArguments},
		{"list", map[string]any{"after": "a"}, nil, kernel.CodeArguments},
		{"list", map[string]any{"run": "run-1"}, nil, kernel.CodeArguments},
	} {
		_, err := callers[0].call(c.op, c.args, c.body)
		wantCode(t, fmt.Sprint(c.op, c.args), err, c.want)
	}
	outside := caller{t.Context(), callers[0].ops}
	_, err := outside.call("list", nil, nil)
	wantCode(t, "outside a run", err, kernel.CodeInternal)
}

func TestOpsReplyLimit(t *testing.T) {
	callers, _ := newCallers(t, artifacts.Options{MaxReply: 10}, "run-1")
	value, _ := callers[0].must(t, "store", map[string]any{"name": "a"}, []byte("12345678901"))
	_, err := callers[0].call("retrieve", map[string]any{"id": value["id"]}, nil)
	wantCode(t, "retrieve", err, kernel.CodeLimit)
}

func TestOpsListPages(t *testing.T) {
	callers, s := newCallers(t, artifacts.Options{}, "run-1")
	const n = 1001
	for i := range n {
		if _, err := s.Store(t.Context(), "run-1", fmt.Sprint(i), strings.NewReader("x"), artifacts.StoreOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	first, _ := callers[0].must(t, "list", nil, nil)
	second, _ := callers[0].must(t, "list", map[string]any{"after": first["next"]}, nil)
	if a, b := len(first["artifacts"].([]any)), len(second["artifacts"].([]any)); a+b != n || second["next"] != nil {
		t.Errorf("%d and %d, next %v", a, b, second["next"])
	}
	if all, err := s.List(t.Context(), "run-1"); err != nil || len(all) != n {
		t.Errorf("%d, %v", len(all), err)
	}
}

// TestOpsListStopsEarly lists artifacts whose descriptions are large.
func TestOpsListStopsEarly(t *testing.T) {
	callers, _ := newCallers(t, artifacts.Options{}, "run")
	for i := range 50 {
		callers[0].must(t, "store", map[string]any{"name": strconv.Itoa(i), "value": "x", "metadata": map[string]any{"x": strings.Repeat("x", 60<<10)}}, nil)
	}
	seen, args := 0, map[string]any{}
	for {
		value, _ := callers[0].must(t, "list", args, nil)
		list, _ := value["artifacts"].([]any)
		if len(list) > 40 {
			t.Errorf("%d at once", len(list))
		}
		if seen += len(list); value["next"] == nil {
			break
		}
		args = map[string]any{"after": value["next"]}
	}
	if seen != 50 {
		t.Errorf("%d of 50", seen)
	}
}

func TestOpsGuards(t *testing.T) {
	_, s := newCallers(t, artifacts.Options{})
	got := map[string][]string{}
	for _, op := range s.Ops() {
		got[op.Name] = op.Guards
	}
	want := map[string][]string{
		"artifacts.store": {"name", "size"}, "artifacts.retrieve": {"id", "name", "size"}, "artifacts.list": {"run_id"}, "artifacts.delete": {"id", "name"},
		"artifacts.open": {"id", "name", "size"}, "artifacts.read": nil, "artifacts.create": {"name", "size"}, "artifacts.write": nil, "artifacts.close": nil,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
