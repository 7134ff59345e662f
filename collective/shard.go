package collective

import (
	"slices"

	"gorun/csrc/device"
)

// Part is the range [lo, hi) of n rows that a rank of size holds under Shard(0), as torch.chunk divides: equal parts of
// n/size rows rounded up, of which the last ones may be short or empty.
func Part(n, size, rank int) (lo, hi int) {
	rows := ShardRows(n, size)
	return min(n, rank*rows), min(n, (rank+1)*rows)
}

// ShardRows is the number of rows of every rank's shard of n rows, filling included.
func ShardRows(n, size int) int { return (n + size - 1) / size }

// ShardShape is the shape of every rank's shard of a whole tensor, filling included; a scalar cannot be sharded.
func ShardShape(whole device.Shape, size int) device.Shape {
	dims := slices.Clone(whole.Dims)
	dims[0] = ShardRows(dims[0], size)
	return device.Shape{DType: whole.DType, Dims: dims}
}
