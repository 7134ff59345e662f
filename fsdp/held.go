package fsdp

import (
	"fmt"

	"gorun/collective"
	"gorun/csrc/device"
)

// Tensor is a trained parameter with its moments, whole, on the host; float32, row-major. Of one with Split it is all of
// Tensor's parts, one behind the other in the order of ranks.
type Tensor struct {
	Param
	Data, M1, M2 []byte
}

// batchBytes and batchTensors are how much is made whole at once, of tensors that are smaller: an adapter's many would
// each cost every rank a message.
const (
	batchBytes   = 64 << 20
	batchTensors = 64
)

// held is a trained parameter as this rank holds it: its shard and those of its moments.
type held struct {
	Param
	shards [3]*device.Buffer
}

// held lists a group's trained parameters.
func (g *group) held() (out []held) {
	for j, i := range g.trained {
		out = append(out, held{g.params[i], [3]*device.Buffer{g.shards[i], g.m1[j], g.m2[j]}})
	}
	return out
}

// size is the bytes that a rank has of a parameter and its moments, one of shard ranks; where the ranks of Tensor hold
// the same, the first of them has it.
func (h held) size(shard int, first bool) int {
	if !h.Split && !first {
		return 0
	}
	return 3 * collective.ShardShape(h.Shape, shard).Bytes()
}

// download writes the n bytes that this rank has to dst.
func (h held) download(dst []byte, n int) error {
	for i := 0; i < 3 && n > 0; i++ {
		if err := h.shards[i].Download(dst[i*n/3 : (i+1)*n/3]); err != nil {
			return fmt.Errorf("read %s: %w", h.Name, err)
		}
	}
	return nil
}

// size is the bytes that a rank has of a batch.
func (b *batch) size(shard int, first bool) (n int) {
	for _, h := range b.held {
		n += h.size(shard, first)
	}
	return n
}

// batches divides tensors into batches of at most batchBytes, or one tensor, and batchTensors.
func batches(all []held) (out []*batch) {
	for lo, hi := 0, 0; lo < len(all); lo = hi {
		for size := 0; hi < len(all); hi++ {
			size += 3 * all[hi].Shape.Bytes()
			if hi > lo && size > batchBytes || hi == lo+batchTensors {
				break
			}
		}
		what := fmt.Sprintf("tensors %d to %d for a checkpoint", lo+1, hi)
		out = append(out, &batch{what: what, held: all[lo:hi], read: make(chan struct{})})
	}
	return out
}
