package csrc

import (
	"fmt"
	"sync"
)

// registry keeps what programs call by number. A number is data of a program's text, so it is the same in every process of
// a run, and executables in the cache stay good from run to run.
type registry[T any] struct {
	what string // in errors

	mu   sync.Mutex
	list []*T // by number; nil = free
}

// add gives v the lowest free number.
func (r *registry[T]) add(v T) int32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, old := range r.list {
		if old == nil {
			r.list[i] = &v
			return int32(i)
		}
	}
	r.list = append(r.list, &v)
	return int32(len(r.list) - 1)
}

// remove frees a number.
func (r *registry[T]) remove(number int32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list[number] = nil
}

func (r *registry[T]) get(number int32) (v T, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if number < 0 || int(number) >= len(r.list) || r.list[number] == nil {
		return v, fmt.Errorf("a program names %s %d, which this process does not have", r.what, number)
	}
	return *r.list[number], nil
}
