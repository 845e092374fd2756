package host_test

import (
	"strings"
	"testing"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/kernel"
)

// A module reads and writes artifacts piece by piece, as far as it is granted by name and size.
func TestModuleStreams(t *testing.T) {
	const all = `[artifacts.open, artifacts.read, artifacts.write, artifacts.close, {artifacts.create: {name: "out/**", size: "<=8388608"}}]`
	text := strings.Repeat("the quick brown fox\n", 200_000) // 4 MB: in pieces
	for name, tt := range map[string]struct {
		grants, node string
		code         kernel.Code
		words        []string
		stored       int
	}{
		"whole":          {all, `name: "'out/copy.txt'"`, "", nil, 2},
		"another name":   {all, `name: "'in/copy.txt'"`, kernel.CodeDenied, []string{"artifacts.create"}, 1},
		"a smaller size": {strings.Replace(all, "8388608", "8388607", 1), `name: "'out/copy.txt'"`, kernel.CodeDenied, []string{"artifacts.create"}, 1},
		"not closed":     {all, `name: "'out/copy.txt'", stop: "1 == 1"`, "", nil, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, "  modules: {copier: {path: copier.wasm, grants: "+tt.grants+", limits: {fuel: 10000000000}}}\n")
			s.build(t, "copier", "testdata/copier")
			h := s.open(t)
			p := s.load(t, h,
				`{kind: service_call_node, metadata: {name: first}, dependencies: [], spec: {service: artifacts, method: store, input_mapping: {name: "'in.txt'", value: $input.text}}}`,
				`{kind: function_node, metadata: {name: second}, dependencies: [first], spec: {fn: copier, input_mapping: {id: first.id, `+tt.node+`}, strict_mapping: true}}`)
			r := p.Run(t.Context(), map[string]any{"text": text}, host.RunOptions{})
			if tt.code == "" && r.Err != nil {
				t.Fatal(r.Err)
			} else if tt.code != "" {
				for _, w := range append(tt.words, "copier") {
					if r.Err == nil || !strings.Contains(r.Err.Error(), w) {
						t.Errorf("%v does not say %q", r.Err, w)
					}
				}
			}
			cfg, err := host.LoadConfig(s.path("hexdag.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			store, err := host.OpenArtifacts(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close()
			list, err := store.List(t.Context(), r.RunID)
			if err != nil || len(list) != tt.stored {
				t.Fatalf("%d artifacts: %v", len(list), err)
			}
			for _, a := range list {
				if a.Name != "out/copy.txt" {
					continue
				}
				data, _, err := store.RetrieveBytes(t.Context(), a.ID, 16<<20)
				if err != nil || !strings.EqualFold(string(data), `"`+strings.ReplaceAll(text, "\n", `\n`)+"\"\n") || strings.Contains(string(data), "quick") {
					t.Errorf("%d bytes, %.60q, %v", len(data), data, err)
				}
				if len(a.Origin.Parents) != 1 || len(a.Origin.Modules) != 1 || !strings.HasPrefix(a.Origin.Modules[0], "copier@") {
					t.Errorf("%+v", a.Origin)
				}
			}
		})
	}
}
