package rewrite

import "math"

// Options are the limits that a module is held against. The zero value
// accepts next to nothing: start from [DefaultOptions].
type Options struct {
	// MaxDepth is the initial value of "hexdag.depth": how deep calls may nest,
	// in units of [SlotsPerDepth] frame slots.
	MaxDepth int

	// Limits to which the declared maxima are lowered; a module that declares
	// a larger minimum is refused.
	MaxMemoryPages   int // of 64 KiB; at most 65535, so that no address computation of an engine can wrap
	MaxTableElements int // of each table

	// AllowImportedGlobals accepts mutable globals that are imported. A reset of
	// the instance does not reach them.
	AllowImportedGlobals bool

	// Sizes, in bytes.
	MaxModuleBytes  int
	MaxBodyBytes    int // of one function's code
	MaxDataBytes    int // of all data segments together
	MaxNameBytes    int // of the name section
	MaxCustomBytes  int // of all custom sections together, without the name section and DWARF
	MaxCustomNumber int // of custom sections

	// Counts over the module.
	MaxTypes           int
	MaxFunctions       int // defined and imported
	MaxImports         int
	MaxExports         int
	MaxGlobals         int
	MaxTables          int
	MaxDataSegments    int
	MaxElementSegments int
	MaxElements        int // in all element segments together

	// Counts in one type or one function. The last three bound what the
	// compiler's time grows with faster than linearly.
	MaxParams     int // parameters, and results, of one type
	MaxBrTable    int // targets of one br_table
	MaxLocals     int // parameters and locals
	MaxNesting    int // blocks, loops and ifs inside each other
	MaxControls   int // blocks, loops, ifs, branches
	MaxLoopLocals int // locals times the depth of the deepest loop
}

// DefaultOptions returns limits that honest modules pass, among them
// standard-Go guests of several megabytes, and that compile-time bombs do not.
func DefaultOptions() Options {
	return Options{
		MaxDepth:         16_384,
		MaxMemoryPages:   2048, // 128 MiB
		MaxTableElements: 100_000,

		MaxModuleBytes:  32 << 20,
		MaxBodyBytes:    256 << 10,
		MaxDataBytes:    16 << 20,
		MaxNameBytes:    8 << 20,
		MaxCustomBytes:  4 << 20,
		MaxCustomNumber: 64,

		MaxTypes:           10_000,
		MaxFunctions:       50_000,
		MaxImports:         1000,
		MaxExports:         1000,
		MaxGlobals:         10_000,
		MaxTables:          8,
		MaxDataSegments:    100_000,
		MaxElementSegments: 10_000,
		MaxElements:        100_000,

		MaxParams:     128,
		MaxBrTable:    20_000,
		MaxLocals:     2000,
		MaxNesting:    1000,
		MaxControls:   8000,
		MaxLoopLocals: 10_000,
	}
}

// maxPages is the most memory that any options allow, in pages: with the whole
// 4 GiB, base plus offset plus size no longer fits some engine's arithmetic.
const maxPages = 65535

func (o *Options) memoryPages() uint32 { return uint32(min(max(o.MaxMemoryPages, 0), maxPages)) }

func (o *Options) tableElements() uint32 {
	return uint32(min(o.MaxTableElements, math.MaxUint32))
}

func (o *Options) depth() int32 { return int32(min(max(o.MaxDepth, 0), math.MaxInt32)) }

// Setting is one of the limits under the name that a configuration has for it.
type Setting struct {
	Name  string
	Value *int
}

// Settings lists the limits that an operator may set. That of the memory is not
// among them: it is a limit of each call.
func (o *Options) Settings() []Setting {
	return []Setting{
		{"depth", &o.MaxDepth}, {"table_elements", &o.MaxTableElements},
		{"module_bytes", &o.MaxModuleBytes}, {"body_bytes", &o.MaxBodyBytes}, {"data_bytes", &o.MaxDataBytes}, {"name_bytes", &o.MaxNameBytes},
		{"custom_bytes", &o.MaxCustomBytes}, {"custom_sections", &o.MaxCustomNumber},
		{"types", &o.MaxTypes}, {"functions", &o.MaxFunctions}, {"imports", &o.MaxImports}, {"exports", &o.MaxExports}, {"globals", &o.MaxGlobals}, {"tables", &o.MaxTables},
		{"data_segments", &o.MaxDataSegments}, {"element_segments", &o.MaxElementSegments}, {"elements", &o.MaxElements},
		{"params", &o.MaxParams}, {"br_table", &o.MaxBrTable}, {"locals", &o.MaxLocals},
		{"nesting", &o.MaxNesting}, {"controls", &o.MaxControls}, {"loop_locals", &o.MaxLoopLocals},
	}
}

// Or returns o with the settings that are 0 taken from d.
func (o Options) Or(d Options) Options {
	other := d.Settings()
	for i, s := range o.Settings() {
		if *s.Value == 0 {
			*s.Value = *other[i].Value
		}
	}
	return o
}

// settingOf names the setting of what a [LimitError] counts.
var settingOf = map[string]string{
	"table elements": "table_elements", "module bytes": "module_bytes", "function body bytes": "body_bytes", "data bytes": "data_bytes",
	"name section bytes": "name_bytes", "custom section bytes": "custom_bytes", "custom sections": "custom_sections",
	"types": "types", "functions": "functions", "function bodies": "functions", "imports": "imports", "exports": "exports", "globals": "globals", "tables": "tables",
	"data segments": "data_segments", "element segments": "element_segments", "elements": "elements",
	"parameters or results": "params", "types of select": "params", "targets of br_table": "br_table", "locals": "locals", "groups of locals": "locals",
	"nesting of blocks": "nesting", "blocks and branches in a function": "controls", "locals times loop depth": "loop_locals",
}
