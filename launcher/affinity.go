package launcher

import "golang.org/x/sys/unix"

// pinned runs f with this thread on those of the CPUs that it may use, and puts the thread back: a process that f starts
// stays there. Where none is left, as in a container that has other CPUs, f runs as it is.
func pinned(cpus []int, f func() error) error {
	var before, near unix.CPUSet
	if len(cpus) == 0 || unix.SchedGetaffinity(0, &before) != nil {
		return f()
	}
	for _, cpu := range cpus {
		if before.IsSet(cpu) {
			near.Set(cpu)
		}
	}
	if near.Count() == 0 || unix.SchedSetaffinity(0, &near) != nil {
		return f() // a rank far from its GPU is slower, no worse
	}
	err := f()
	_ = unix.SchedSetaffinity(0, &before) // it was allowed a moment ago
	return err
}
