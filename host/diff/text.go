package diff

import (
	"fmt"

	"github.com/aymanbagabas/go-udiff"
	"github.com/wI2L/jsondiff"

	"github.com/hexdag/hexdag/host/kernel"
)

func compareText(r *Report, before, after Content) error {
	r.Unified = udiff.Unified(kernel.Quote(before.Name), kernel.Quote(after.Name), string(before.Data), string(after.Data))
	return nil
}

// maxAligned is how large documents may be, in bytes, for their arrays to be aligned:
// that takes time and memory in the product of their lengths. Those of larger ones are
// compared item by item.
const maxAligned = 4 << 10

func compareJSON(r *Report, before, after Content) error {
	b, err := decode(before)
	if err != nil {
		return err
	}
	a, err := decode(after)
	if err != nil {
		return err
	}
	var options []jsondiff.Option
	if max(len(before.Data), len(after.Data)) <= maxAligned {
		options = append(options, jsondiff.LCS())
	}
	patch, err := jsondiff.CompareWithoutMarshal(b, a, options...)
	if err != nil {
		return err
	}
	for _, op := range patch {
		switch {
		case op.Path == "": // the library calls another root added
			r.add(Change{Op: Changed, Old: b, New: a})
		case op.Type == jsondiff.OperationAdd:
			r.add(Change{Op: Added, Path: op.Path, New: op.Value})
		case op.Type == jsondiff.OperationRemove:
			r.add(Change{Op: Removed, Path: op.Path, Old: op.OldValue})
		default:
			r.add(Change{Op: Changed, Path: op.Path, Old: op.OldValue, New: op.Value})
		}
	}
	return nil
}

func decode(c Content) (any, error) {
	if len(c.Data) > MaxText {
		return nil, fmt.Errorf("%s has %d bytes, JSON is compared up to %d", kernel.Quote(c.Name), len(c.Data), MaxText)
	}
	v, err := kernel.DecodeJSON(c.Data)
	if err != nil {
		return nil, fmt.Errorf("%s is no JSON: %w", kernel.Quote(c.Name), err)
	}
	return v, nil
}
