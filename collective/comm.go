// Package collective moves and reduces device buffers among the ranks of a mesh axis. It knows buffers, not what is in
// them; fsdp decides what is gathered and when. Today there is one implementation, Solo, for an axis of one rank.
package collective

import "gorun/csrc/device"

// Comm is the ranks of one axis of the mesh. All ranks call the same methods in the same order, from one goroutine.
// Buffers passed in stay the caller's. A result that is the very buffer passed in means that nothing had to move.
type Comm interface {
	Rank() int // of this process on the axis
	Size() int // ranks on the axis

	// AllGather returns whole tensors from every rank's shards along axis 0, one collective for all of them.
	AllGather(shards []*device.Buffer) ([]*device.Buffer, error)
	// ReduceScatter sums whole tensors over the ranks and returns this rank's shards along axis 0.
	ReduceScatter(whole []*device.Buffer) ([]*device.Buffer, error)
	// AllReduce sums tensors over the ranks.
	AllReduce(tensors []*device.Buffer) ([]*device.Buffer, error)
}

// Solo is an axis of one rank: every collective returns what it was given, without a copy.
type Solo struct{}

// Rank is 0.
func (Solo) Rank() int { return 0 }

// Size is 1.
func (Solo) Size() int { return 1 }

// AllGather returns the shards: they are whole.
func (Solo) AllGather(shards []*device.Buffer) ([]*device.Buffer, error) { return shards, nil }

// ReduceScatter returns the tensors: their sum over one rank.
func (Solo) ReduceScatter(whole []*device.Buffer) ([]*device.Buffer, error) { return whole, nil }

// AllReduce returns the tensors: their sum over one rank.
func (Solo) AllReduce(tensors []*device.Buffer) ([]*device.Buffer, error) { return tensors, nil }
