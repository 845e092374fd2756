// Package kernel holds what everything else agrees on: the run's context, the
// calls that pass between nodes, ports and hooks, the events, and the errors.
// It imports nothing of the rest.
package kernel
