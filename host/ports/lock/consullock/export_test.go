package consullock

import "time"

// Shorten has sessions of a store be shorter than Consul allows, for a server that does.
func Shorten(s *Store, d time.Duration) { s.shortest = d }
