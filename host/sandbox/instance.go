package sandbox

import (
	"context"
	"fmt"
	"slices"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/sandbox/rewrite"
)

// image is what an instance is put back to: its memory and its mutable globals
// as _initialize left them.
type image struct {
	size    uint64     // bytes of memory
	file    *imageFile // what to map; nil where copying is cheaper
	memory  []byte     // what to copy; nil where there is a file
	globals []uint64
	scanner *pageScanner
}

// instance is an instantiated module. One call at a time uses it.
type instance struct {
	module  *Module
	guest   guest
	memory  linearMemory
	fuel    global
	globals []global
	points  []function // in the order of the module's
	stack   [1]uint64
	plugin  *plugin  // of a plugin of Extism
	console *console // of a command, once it runs
	state   activation
}

// instantiate makes an instance whose start function, but not _initialize, has run.
func (m *Module) instantiate(ctx context.Context, out *Outcome) (*instance, error) {
	inst := &instance{module: m, points: make([]function, 0, len(m.points))}
	inst.memory.limit = uint64(m.limits.pages()) * pageSize
	a := &inst.state
	a.instance, a.module, a.limits, a.context.a = inst, m, &m.limits, a
	a.begin(ctx, inst, &Call{Point: abi.ExportInit})
	guest, err := m.compiled.code.instantiate(a)
	if err != nil {
		err = a.ending(err)
		a.end()
		out.Usage = a.usage
		inst.memory.Free()
		return nil, err
	}
	a.end()
	inst.guest = guest
	if err := inst.bind(); err != nil {
		inst.close(ctx)
		return nil, err
	}
	return inst, nil
}

// bind looks everything up once: a lookup of a function costs more than a call.
func (i *instance) bind() error {
	if i.fuel = i.guest.global(rewrite.ExportFuel); i.fuel == nil {
		return &kernel.Error{Code: kernel.CodeInternal, What: "the rewritten module has no fuel", Where: kernel.Where{Module: i.module.ID()}, Fix: "report it"}
	}
	for _, g := range i.module.description.MutableGlobals {
		global := i.guest.global(g.Export)
		if global == nil {
			return &kernel.Error{Code: kernel.CodeInternal, What: "the rewritten module lacks the global " + g.Export, Where: kernel.Where{Module: i.module.ID()}, Fix: "report it"}
		}
		i.globals = append(i.globals, global)
	}
	for _, p := range i.module.Points() {
		i.points = append(i.points, i.guest.function(i.module.function(p)))
	}
	return nil
}

// entry returns the function of an extension point that the module has.
func (i *instance) entry(p abi.Point) function { return i.points[slices.Index(i.module.points, p)] }

// initialize runs _initialize, within the limits of a call.
func (i *instance) initialize(ctx context.Context) error {
	init := i.guest.function(abi.ExportInit)
	if init == nil {
		return nil
	}
	a := &i.state
	a.begin(ctx, i, &Call{Point: abi.ExportInit})
	defer a.end()
	if err := init.CallWithStack(&a.context, nil); err != nil {
		return a.ending(err)
	}
	return a.settle()
}

// capture takes the image of an initialised instance.
func (i *instance) capture() (*image, error) {
	memory := i.memory.region[:i.memory.length]
	img := &image{size: i.memory.length, scanner: &i.module.runtime.scanner}
	for _, g := range i.globals {
		img.globals = append(img.globals, g.Get())
	}
	var err error
	if !i.memory.foreign {
		img.file, err = newImageFile(memory, img.scanner)
	}
	if img.file == nil {
		img.memory = append([]byte(nil), memory...)
	}
	return img, err
}

// adopt makes an instance that only its start function has touched equal to the
// image, without running _initialize again.
func (i *instance) adopt(img *image) error {
	if missing := img.size - i.memory.length; missing > 0 {
		if !i.guest.grow(uint32(missing / pageSize)) {
			return fmt.Errorf("the image does not fit the memory's limit")
		}
	}
	if img.file != nil {
		if err := img.file.mapOnto(&i.memory, img.size); err != nil {
			return err
		}
	}
	return i.reset(img)
}

// reset puts the instance back to the image. Where that is not possible, it
// returns an error, and the instance is to be discarded.
func (i *instance) reset(img *image) error {
	if err := i.memory.restore(img); err != nil {
		return err
	}
	if i.memory.length > img.size {
		// The engine asks the allocator for one page more and takes what it gets.
		i.memory.shrink = img.size
		if !i.guest.grow(1) {
			return fmt.Errorf("a memory at its maximum cannot be shrunk")
		}
	}
	i.memory.refused = false
	for n, g := range i.globals {
		g.Set(img.globals[n])
	}
	return nil
}

func (i *instance) close(ctx context.Context) {
	if i.guest != nil {
		i.guest.close(ctx)
	}
	i.memory.Free()
}
