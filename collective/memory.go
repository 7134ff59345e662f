package collective

import (
	"fmt"

	"github.com/gomlx/compute/dtypes"
)

// The same collectives on plain host memory, for custom calls inside programs on the CPU, and one that brings memory to
// rank 0. Memory is dense; parts are equal and in the order of ranks. dst and src must not overlap, but AllReduceMemory may
// work in place.

// AllGatherMemory fills dst with every rank's src.
func (h *Host) AllGatherMemory(what string, dst, src []byte) error {
	if len(dst) != h.size*len(src) {
		return fmt.Errorf("all-gather %s: %d bytes from each of %d ranks into %d", what, len(src), h.size, len(dst))
	}
	return h.run(allGather, what, len(src), func(r ring) error {
		parts := h.equalParts(dst)
		copy(parts[h.rank][0], src)
		return r.gather(parts)
	})
}

// ReduceScatterMemory writes this rank's part of the sum of all ranks' src to dst.
func (h *Host) ReduceScatterMemory(what string, dst, src []byte, t dtypes.DType) error {
	if err := summable(t); err != nil {
		return fmt.Errorf("reduce-scatter %s: %w", what, err)
	}
	if len(src) != h.size*len(dst) || len(dst)%t.Size() != 0 {
		return fmt.Errorf("reduce-scatter %s: %d bytes of %s for each of %d ranks from %d", what, len(dst), t, h.size, len(src))
	}
	return h.run(reduceScatter, what, len(src), func(r ring) error {
		return r.scatter([]dtypes.DType{t}, h.equalParts(src), message{dst})
	})
}

// AllReduceMemory writes the sum of all ranks' src to dst, which may be src itself.
func (h *Host) AllReduceMemory(what string, dst, src []byte, t dtypes.DType) error {
	if err := summable(t); err != nil {
		return fmt.Errorf("all-reduce %s: %w", what, err)
	}
	if len(src) != len(dst) || len(dst)%t.Size() != 0 {
		return fmt.Errorf("all-reduce %s: %d bytes of %s into %d", what, len(src), t, len(dst))
	}
	return h.run(allReduce, what, len(src), func(r ring) error {
		types := []dtypes.DType{t}
		sum := like(h.elementParts(types, message{src})[h.rank])
		if err := r.scatter(types, h.elementParts(types, message{src}), sum); err != nil {
			return err
		}
		parts := h.elementParts(types, message{dst})
		copy(parts[h.rank][0], sum[0])
		return r.gather(parts)
	})
}

// GatherMemory fills dst[r] with rank r's src on rank 0, which knows how long it is. On the others dst is nil.
func (h *Host) GatherMemory(what string, dst [][]byte, src []byte) error {
	if h.rank == 0 && (len(dst) != h.size || len(dst[0]) != len(src)) || h.rank > 0 && dst != nil {
		return fmt.Errorf("gather %s: from %d ranks into %d pieces of memory on rank %d", what, h.size, len(dst), h.rank)
	}
	return h.run(gather, what, len(src), func(r ring) error {
		parts := make([]message, len(dst))
		for i, d := range dst {
			parts[i] = message{d}
		}
		if h.rank == 0 {
			copy(dst[0], src)
		}
		return r.first(message{src}, parts)
	})
}

func (h *Host) equalParts(memory []byte) []message {
	return h.cut(message{memory}, func(int) (units, bytes int) { return h.size, len(memory) / h.size })
}
