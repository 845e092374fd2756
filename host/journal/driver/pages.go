package driver

import "iter"

// Page is how many chunks a store reads at once: a read that lasts keeps what was overwritten from being cleared up.
const Page = 16

// Pages yields the chunks of a run of which read returns at most Page, those after a number. What it fails with ends them.
func Pages(tenant, run string, read func(after uint64) ([]Chunk, error)) iter.Seq2[Chunk, error] {
	return func(yield func(Chunk, error) bool) {
		for after := uint64(0); ; {
			chunks, err := read(after)
			for _, c := range chunks {
				c.Tenant, c.Run = tenant, run
				if !yield(c, nil) {
					return
				}
				after = c.First
			}
			if err != nil {
				yield(Chunk{First: after + 1, Tenant: tenant, Run: run}, err)
			}
			if err != nil || len(chunks) < Page {
				return
			}
		}
	}
}
