package collective

import (
	"fmt"

	"github.com/gomlx/compute/dtypes"

	"gorun/csrc"
)

// The collectives of programs, on the stream that XLA runs them on: csrc.StreamCommunicator.

// QueueAllReduce writes the sum of all ranks' src to dst.
func (n *NCCL) QueueAllReduce(what string, dst, src uintptr, count int, t dtypes.DType, s csrc.Stream) error {
	return n.inProgram(allReduce, what, csrc.NCCLOp{Kind: csrc.NCCLAllReduce, DType: t, Src: src, Dst: dst, Count: count}, s)
}

// QueueAllGather fills dst with every rank's src.
func (n *NCCL) QueueAllGather(what string, dst, src uintptr, count int, t dtypes.DType, s csrc.Stream) error {
	return n.inProgram(allGather, what, csrc.NCCLOp{Kind: csrc.NCCLAllGather, DType: t, Src: src, Dst: dst, Count: count}, s)
}

// QueueReduceScatter writes this rank's part of the sum of all ranks' src to dst.
func (n *NCCL) QueueReduceScatter(what string, dst, src uintptr, count int, t dtypes.DType, s csrc.Stream) error {
	return n.inProgram(reduceScatter, what, csrc.NCCLOp{Kind: csrc.NCCLReduceScatter, DType: t, Src: src, Dst: dst, Count: count}, s)
}

func (n *NCCL) inProgram(o op, what string, c csrc.NCCLOp, s csrc.Stream) error {
	m, err := n.run(o, what, c.Count*c.DType.Size(), one(c), s, func() error { return nil })
	if err != nil {
		return fmt.Errorf("%s %s: %s: %w", opNames[o], what, n.name, err)
	}
	m.drop()
	return nil
}
