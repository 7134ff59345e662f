package fsdp

import (
	"fmt"

	"github.com/gomlx/compute/dtypes"

	"gorun/collective"
	"gorun/csrc/device"
)

// part is this rank's rows of a parameter, and the shape of its shard.
func (s *State) part(p Param) (lo, hi int, shard device.Shape) {
	size := s.ranks.Shard.Size()
	lo, hi = collective.Part(p.Shape.Dims[0], size, s.ranks.Shard.Rank())
	return lo, hi, collective.ShardShape(p.Shape, size)
}

// upload puts this rank's shard of a parameter on the device; fill gives its rows.
func (s *State) upload(p Param, fill Fill) (*device.Buffer, error) {
	lo, hi, shard := s.part(p)
	data := make([]byte, shard.Bytes())
	if lo < hi {
		if err := fill(lo, hi, data[:(hi-lo)*(p.Shape.Bytes()/p.Shape.Dims[0])]); err != nil {
			return nil, err
		}
	}
	if s.offloaded(p) {
		return s.dev.UploadPinned(data, shard)
	}
	return s.dev.Upload(data, shard)
}

// offloaded tells whether this rank's shard of a parameter lies in host memory.
func (s *State) offloaded(p Param) bool { return s.ranks.Offload && !p.Trained }

// Load uploads this rank's shard of parameter i of a group, asking fill for its rows only. Several parameters may be
// loaded at once, all before Fix.
func (s *State) Load(groupIndex, i int, fill Fill) error {
	g := s.groups[groupIndex]
	b, err := s.upload(g.params[i], fill)
	if err != nil {
		return fmt.Errorf("fsdp: load %s: %w", g.params[i].Name, err)
	}
	g.shards[i].Free()
	g.shards[i] = b
	return nil
}

// Fix says that everything is loaded: shards of frozen parameters, which never change from now on, go where gathering them
// costs least. Those of a root group that is gathered only once, and those in host memory, stay where they are. All ranks
// of a job call it together.
func (s *State) Fix() error {
	if s.ranks.Offload {
		return nil
	}
	for l, g := range s.groups {
		if l == len(s.groups)-1 && s.keepsRoot() {
			continue
		}
		var frozen []int
		var shards []*device.Buffer
		for i, p := range g.params {
			if !p.Trained {
				frozen, shards = append(frozen, i), append(shards, g.shards[i])
			}
		}
		fixed, err := s.ranks.Shard.Fix(g.name, shards)
		if err != nil {
			return fmt.Errorf("fsdp: fix %s: %w", g.name, err)
		}
		for j, i := range frozen {
			g.shards[i] = fixed[j]
		}
	}
	return nil
}

// keepsRoot tells whether the root group stays whole from pass to pass: where it never changes, and is gathered at all. It
// is whole at the fullest moment of every pass.
func (s *State) keepsRoot() bool {
	return len(s.groups[len(s.groups)-1].trained) == 0 && s.ranks.Shard.Size() > 1
}

// Put takes a shard of parameter i of a group that is on the device already, and consumes it.
func (s *State) Put(groupIndex, i int, shard *device.Buffer) (err error) {
	g := s.groups[groupIndex]
	p := g.params[i]
	if _, _, want := s.part(p); !shard.Shape().Equal(want) {
		defer shard.Free()
		return fmt.Errorf("fsdp: %s is given as %s, want %s", p.Name, shard.Shape(), want)
	}
	if s.offloaded(p) {
		if shard, err = toHost(shard); err != nil {
			return fmt.Errorf("fsdp: %s: %w", p.Name, err)
		}
	}
	g.shards[i].Free()
	g.shards[i] = shard
	return nil
}

// toHost takes a buffer from the device to host memory.
func toHost(b *device.Buffer) (*device.Buffer, error) {
	defer b.Free()
	data := make([]byte, b.Shape().Bytes())
	if err := b.Download(data); err != nil {
		return nil, err
	}
	return b.Client().UploadPinned(data, b.Shape())
}

// Draft uploads this rank's shard of what parameter i of a group, a frozen one, is to be made of: of its dims in another
// dtype. It lies where the parameter's shard is to lie; Fetch brings it from there, and Put takes what was made of it.
func (s *State) Draft(groupIndex, i int, dtype dtypes.DType, fill Fill) (*device.Buffer, error) {
	p := s.groups[groupIndex].params[i]
	p.Shape.DType = dtype
	b, err := s.upload(p, fill)
	if err != nil {
		return nil, fmt.Errorf("fsdp: load %s: %w", p.Name, err)
	}
	return b, nil
}

// Fetch is a draft on the device. It consumes the one that is given.
func (s *State) Fetch(draft *device.Buffer) (*device.Buffer, error) {
	if !s.ranks.Offload {
		return draft, nil
	}
	defer draft.Free()
	return draft.ToDevice()
}

// Part is the rows [lo, hi) of parameter i of a group that this rank holds, and the shape of its shard.
func (s *State) Part(groupIndex, i int) (lo, hi int, shard device.Shape) {
	return s.part(s.groups[groupIndex].params[i])
}
