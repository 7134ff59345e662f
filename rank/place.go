package rank

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"

	"gorun/collective"
	"gorun/configs"
	"gorun/model"
	"gorun/rank/data"
)

// Place is this process among the ranks of a run, as the launcher or torchrun's environment tells it. The zero Place is
// one rank alone.
type Place struct {
	Rank, World int
	Local       int           // rank on this node
	GPU         int           // of this rank, as CUDA_VISIBLE_DEVICES counts
	Addr        string        // host:port where rank 0 listens
	Key         []byte        // proves that a rank belongs to the run
	Generation  int           // of the run: how often it has been restarted
	Events      io.Writer     // progress as JSON lines, for the launcher; nil = none
	Cache       string        // folder for what has been tokenised; "" = none
	Progress    data.Progress // is told how tokenising goes; nil = nobody
}

// PlaceFrom reads the environment names of torchrun, and gorun's own; get is os.Getenv. It reports all faults at once.
func PlaceFrom(get func(name string) string) (Place, error) {
	var p Place
	var faults []error
	number := func(name string, to *int, optional bool) {
		text := get(name)
		if text == "" && optional {
			return
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			faults = append(faults, fmt.Errorf("%s = %q: want a number, 0 or more", name, text))
		}
		*to = n
	}
	number("RANK", &p.Rank, false)
	number("WORLD_SIZE", &p.World, false)
	number("LOCAL_RANK", &p.Local, true)
	number("GORUN_GENERATION", &p.Generation, true)
	if visible := get("CUDA_VISIBLE_DEVICES"); visible == "" || strings.Contains(visible, ",") {
		p.GPU = p.Local // else each rank sees one alone
	}
	if p.World > 1 {
		p.Addr = net.JoinHostPort(get("MASTER_ADDR"), get("MASTER_PORT"))
		if get("MASTER_ADDR") == "" || get("MASTER_PORT") == "" {
			faults = append(faults, errors.New("MASTER_ADDR or MASTER_PORT is not set: give rank 0's address and a free port there"))
		}
		var err error
		if p.Key, err = hex.DecodeString(get("GORUN_JOB_KEY")); err != nil || len(p.Key) != 32 {
			faults = append(faults, errors.New("GORUN_JOB_KEY: want 64 hexadecimal digits, the same on every rank (openssl rand -hex 32)"))
		}
	}
	if len(faults) == 0 && p.Rank >= max(1, p.World) {
		faults = append(faults, fmt.Errorf("RANK = %d: want less than WORLD_SIZE = %d", p.Rank, p.World))
	}
	if err := errors.Join(faults...); err != nil {
		return Place{}, fmt.Errorf("the environment of a rank: %w", err)
	}
	return p, nil
}

// splitOf is this rank's part of the model on a mesh; world.split numbers its communicators.
func splitOf(m collective.Mesh, sequence bool) model.Split {
	axis := func(a collective.Axis) model.Axis { return model.Axis{Parts: m.Size(a), Index: m.Coordinate(a)} }
	return model.Split{Tensor: axis(collective.Tensor), Context: axis(collective.Context), Sequence: sequence}
}

// meshOf lays the recipe's mesh over a number of ranks.
func meshOf(d configs.Distributed, p Place) (collective.Mesh, error) {
	s := collective.Sizes{Replicate: d.DPReplicateSize, Context: d.CPSize, Tensor: d.TPSize}
	if dp := int(d.DPSize); d.DPSize != configs.DPNone {
		if dp%d.DPReplicateSize != 0 {
			return collective.Mesh{}, fmt.Errorf("distributed.dp_replicate_size: %d does not divide dp_size = %d", d.DPReplicateSize, dp)
		}
		s.Shard = dp / d.DPReplicateSize
	}
	m, err := collective.NewMesh(p.Rank, max(1, p.World), s)
	if err != nil {
		return m, fmt.Errorf("distributed: %w (ranks are machines times --gpus; 'gorun plan' takes --ranks)", err)
	}
	return m, nil
}
