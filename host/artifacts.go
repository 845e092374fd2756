package host

import (
	"cmp"
	"context"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/hexdag/hexdag/host/diff"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline/diagram"
)

// Difference is how two contents differ.
type Difference = diff.Report

// maxCompared is how large artifacts may be that are compared, in bytes.
const maxCompared = 256 << 20

// Diff says how the contents of two artifacts differ.
func (a *Artifacts) Diff(ctx context.Context, before, after string) (*Difference, error) {
	sides := make([]diff.Content, 2)
	for i, id := range []string{before, after} {
		data, artifact, err := a.RetrieveBytes(ctx, id, maxCompared)
		if err != nil {
			return nil, err
		}
		sides[i] = diff.Content{Name: artifact.Name, Type: artifact.ContentType, Data: data}
	}
	return diff.Of(sides[0], sides[1]), nil
}

// RunDifference is how what two runs stored under one name differs.
type RunDifference struct {
	Node   string      `json:"node"`
	Name   string      `json:"name"`
	Before string      `json:"before,omitempty"` // ids; "" where a run has none
	After  string      `json:"after,omitempty"`
	Diff   *Difference `json:"diff,omitempty"` // nil where one is missing
}

// DiffRuns compares two runs node by node: what each node stored, by its name. Of several
// artifacts of one node and name, the last counts.
func (a *Artifacts) DiffRuns(ctx context.Context, before, after string) ([]RunDifference, error) {
	type place struct{ node, name string }
	found := map[place]*RunDifference{}
	for i, run := range []string{before, after} {
		list, err := a.List(ctx, run)
		if err != nil {
			return nil, err
		}
		if len(list) == 0 {
			return nil, &kernel.Error{Code: kernel.CodeNotFound, What: "run " + kernel.Quote(run) + " stored nothing", Fix: "list what is there with 'hexdag artifacts list'"}
		}
		slices.SortStableFunc(list, func(x, y *Artifact) int { return x.Stored.Compare(y.Stored) })
		for _, artifact := range list {
			at := place{artifact.Origin.Node, artifact.Name}
			d := found[at]
			if d == nil {
				d = &RunDifference{Node: at.node, Name: at.name}
				found[at] = d
			}
			*[]*string{&d.Before, &d.After}[i] = artifact.ID
		}
	}
	list := make([]RunDifference, 0, len(found))
	for _, d := range found {
		if d.Before != "" && d.After != "" {
			var err error
			if d.Diff, err = a.Diff(ctx, d.Before, d.After); err != nil {
				return nil, err
			}
		}
		list = append(list, *d)
	}
	slices.SortFunc(list, func(x, y RunDifference) int {
		return cmp.Or(strings.Compare(x.Node, y.Node), strings.Compare(x.Name, y.Name))
	})
	return list, nil
}

// LastRun returns the run that stored something last, of a pipeline in a version; "" is any.
func (a *Artifacts) LastRun(ctx context.Context, pipeline, version string) (string, error) {
	var last *Artifact
	for artifact, err := range a.All(ctx) {
		if artifact == nil {
			return "", err
		}
		o := artifact.Origin
		if err == nil && o.Pipeline == pipeline && (version == "" || strings.HasPrefix(strings.TrimPrefix(o.PipelineVersion, "sha256:"), strings.TrimPrefix(version, "sha256:"))) &&
			(last == nil || artifact.Stored.After(last.Stored)) {
			last = artifact
		}
	}
	if last == nil {
		return "", &kernel.Error{Code: kernel.CodeNotFound, What: "no run of pipeline " + kernel.Quote(pipeline) + " in version " + kernel.Quote(cmp.Or(version, "any")) + " stored anything", Fix: "list what is there with 'hexdag artifacts list --json'"}
	}
	return last.RunID, nil
}

// Provenance draws what artifacts, as Lineage returns them, were made from.
func Provenance(title string, list []*Artifact) *Drawing {
	vertices := make([]diagram.Vertex, len(list))
	short := func(id string) string { return strings.TrimPrefix(id, "sha256:")[:12] }
	for i, artifact := range list {
		v := diagram.Vertex{Name: artifact.Name + " " + short(artifact.ID), Kind: cmp.Or(artifact.Origin.Node, "-"), Note: "run " + artifact.RunID}
		for _, parent := range artifact.Origin.Parents {
			for _, other := range list {
				if other.ID == parent {
					v.From = append(v.From, other.Name+" "+short(other.ID))
				}
			}
		}
		vertices[i] = v
	}
	return diagram.OfVertices(title, vertices)
}

// Drawing is a graph to be written as text or as SVG.
type Drawing = diagram.Diagram

// Save writes the content of an artifact.
func (a *Artifacts) Save(ctx context.Context, id string, w io.Writer) (err error) {
	r, _, err := a.Retrieve(ctx, id)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	_, err = io.Copy(w, r)
	return err
}
