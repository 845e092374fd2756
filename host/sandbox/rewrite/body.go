package rewrite

// What entering a function and the bulk operations cost beside the instruction.
const (
	// LocalsPerFuel is how many declared locals a function zeroes on entry for 1 fuel.
	LocalsPerFuel = 16
	// BytesPerFuel is how many bytes memory.fill, copy and init process for 1 fuel.
	BytesPerFuel = 1 << bytesShift
	// FuelPerPage is the fuel that memory.grow takes for a page of 64 KiB.
	FuelPerPage = 1 << pageShift
	// SlotsPerDepth is how many values in a function's frame make it weigh 1 more.
	SlotsPerDepth = 64

	bytesShift = 4
	pageShift  = 16 - bytesShift
	smallLeaf  = 32 // the fuel up to which a function without calls is not checked
)

// editKind says what an edit does to the code.
type editKind byte

const (
	editCharge  editKind = iota // insert: subtract value from the fuel
	editChecked                 // insert: the same, and refill if below 0
	editLoop                    // insert: open the loop around a loop, with the block type up to value, and refill if below 0
	editHeader                  // insert: leave for that loop if below 0, else subtract value
	editClose                   // insert: close it
	editLabel                   // replace: a label
	editStore                   // insert: put the fuel where others see it
	editLoad                    // insert: get it from there
	editFunc                    // replace: a function index
	editReturn                  // replace: return, by a branch out of value blocks
	editHelper                  // insert: call the helper number value
)

// edit is a change of code at [at, end), in offsets of the reader.
type edit struct {
	at, end int
	kind    editKind
	value   uint32
}

// frame is an open control structure.
type frame struct {
	op       byte // opBlock (a function's body as well), opLoop, opIf, opElse
	targeted bool // some branch goes to its label
	before   int  // what pays for the code before it
	header   int  // of a loop: what pays for its header
	wrapped  bool // a loop that got one around it
	wraps    int  // how many of those are open, with this one
	exit     int  // the outermost frame that a branch inside it goes to
	base     int  // operands below it
	params   int
	results  int
}

// body is a scanned function body.
type body struct {
	start  int    // where the code starts
	code   []byte // with what is before it
	groups uint32 // of locals
	locals []byte // their declaration, after the number of groups
	fuel   uint32 // the local that is added for the fuel
	edits  []edit
	weight uint32 // its depth
	calls  bool   // it has a call
	early  bool   // it leaves before its end
}

// dead as the current charge means that the code can not be reached.
const dead = -1

// scanner walks a function body: it follows the control structure, finds the
// basic blocks and their cost, and notes every change that is to be made.
type scanner struct {
	reader
	m   *module
	o   *Options
	out body

	frames       []frame
	charge       int // the edit that pays for the current basic block, or dead
	height       int // of the operand stack, never below what it really is
	maxHeight    int
	locals       int
	loops        int // open loops
	maxLoops     int
	controls     int
	total        uint32 // of all charges
	tableWrites  bool
	segmentDrops bool
}

// scan reads a function body. The edits of the result are valid until the next
// call.
func (s *scanner) scan(code []byte, base int, typ FuncType) (*body, error) {
	s.reader = reader{buf: code, base: base}
	s.out = body{edits: s.out.edits[:0]}
	s.frames = s.frames[:0]
	s.height, s.maxHeight, s.loops, s.maxLoops, s.controls, s.total = 0, 0, 0, 0, 0, 0

	entry := s.declareLocals(len(typ.Params))
	s.open(editChecked)
	s.spend(entry)
	s.push(frame{op: opBlock, results: len(typ.Results)})
	for s.err == nil && len(s.frames) > 0 {
		s.instruction()
	}
	if err := s.close("function body"); err != nil {
		return nil, err
	}
	if product := uint64(s.locals) * uint64(s.maxLoops); product > uint64(s.o.MaxLoopLocals) {
		return nil, exceeded(base, "locals times loop depth", product, s.o.MaxLoopLocals)
	}
	s.out.code = s.buf
	s.out.fuel = uint32(s.locals)
	s.out.weight = 1 + uint32(s.locals+s.maxHeight)/SlotsPerDepth
	if !s.out.calls && s.total <= smallLeaf {
		s.out.edits[0].kind = editCharge
	}
	return &s.out, nil
}

// declareLocals reads the declaration of the locals and returns the fuel that
// zeroing them costs.
func (s *scanner) declareLocals(params int) uint32 {
	total := uint64(params)
	groups := s.count("groups of locals", s.o.MaxLocals)
	at := s.pos
	for n := groups; n > 0 && s.err == nil; n-- {
		total += uint64(s.u32())
		s.valType()
		if total > uint64(max(s.o.MaxLocals, params)) {
			s.fail(exceeded(s.offset(), "locals", total, s.o.MaxLocals))
		}
	}
	s.locals = int(total)
	s.out.groups, s.out.locals = uint32(groups), s.buf[at:s.pos]
	s.out.start = s.pos
	return uint32(int(total)-params) / LocalsPerFuel
}

// open starts a basic block here.
func (s *scanner) open(kind editKind) {
	s.charge = len(s.out.edits)
	s.out.edits = append(s.out.edits, edit{at: s.pos, end: s.pos, kind: kind})
}

// spend charges the current basic block.
func (s *scanner) spend(cost uint32) {
	if s.charge != dead {
		s.out.edits[s.charge].value += cost
		s.total += cost
	}
}

// stop marks what follows as unreachable.
func (s *scanner) stop() {
	s.charge = dead
	s.height = s.top().base
}

func (s *scanner) top() *frame { return &s.frames[len(s.frames)-1] }

// push enters a control structure whose parameters are on the operand stack.
func (s *scanner) push(f frame) {
	if len(s.frames) > s.o.MaxNesting {
		s.fail(exceeded(s.offset(), "nesting of blocks", uint64(len(s.frames)), s.o.MaxNesting))
		return
	}
	s.pop(f.params)
	f.base = s.height
	f.exit = len(s.frames)
	if len(s.frames) > 0 {
		f.wraps = s.top().wraps
	}
	if f.wrapped {
		f.wraps++
	}
	s.grow(f.params)
	s.frames = append(s.frames, f)
}

// grow notes n more operands on the stack.
func (s *scanner) grow(n int) {
	s.height += n
	s.maxHeight = max(s.maxHeight, s.height)
}

// pop notes n operands less on the stack; in unreachable code it may have none.
func (s *scanner) pop(n int) {
	floor := 0
	if len(s.frames) > 0 {
		floor = s.top().base
	}
	s.height = max(s.height-n, floor)
}

// move changes the height by an instruction's delta.
func (s *scanner) move(delta int) {
	if delta < 0 {
		s.pop(-delta)
	} else {
		s.grow(delta)
	}
}

func (s *scanner) edit(kind editKind, at, end int, value uint32) {
	s.out.edits = append(s.out.edits, edit{at, end, kind, value})
}
