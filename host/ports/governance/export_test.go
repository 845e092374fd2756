package governance

// Kept returns how many decisions a port keeps.
func Kept(p *Port) int { return len(p.cache.young) + len(p.cache.old) }
