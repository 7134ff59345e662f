package rank

import (
	"context"
	"fmt"
	"time"

	"gorun/collective"
	"gorun/configs"
	"gorun/csrc"
	"gorun/csrc/device"
	"gorun/csrc/plugins"
	"gorun/fsdp"
	"gorun/model"
)

// world is the other ranks, as this one sees them. With one rank there is no job, and every question answers itself.
type world struct {
	mesh   collective.Mesh
	job    *collective.Job    // nil with one rank
	fabric *collective.Fabric // NCCL between the devices; nil where data moves through the hosts
	aside  fsdp.Gatherer      // brings shards of a checkpoint to rank 0; nil where no other rank has any
	events *events
	limits configs.DistEnv
}

// join waits for all ranks of the run. Cancelling ctx does not end the job: a run that is asked to stop goes on to the
// edge of its step on all ranks.
func join(ctx context.Context, mesh collective.Mesh, p Place, limits configs.DistEnv) (*world, error) {
	w := &world{mesh: mesh, events: p.events(), limits: limits}
	if mesh.World() == 1 {
		return w, nil
	}
	var err error
	w.job, err = collective.Join(context.WithoutCancel(ctx), collective.JobConfig{
		Rank: p.Rank, World: p.World, Addr: p.Addr, Key: p.Key, Generation: p.Generation,
		StartTimeout: minutes(limits.StartupTimeoutMinutes), Timeout: minutes(limits.TimeoutMinutes), Observe: w.events.collective,
	})
	if err != nil {
		return w, err
	}
	ranks := mesh.Ranks(collective.Shard, collective.Context, collective.Tensor)
	if h, ok := w.job.Aside("checkpoint", ranks, minutes(limits.CheckpointTimeoutMinutes)).(*collective.Host); ok {
		w.aside = h
	}
	return w, nil
}

// saves tells whether this rank has a part of a checkpoint: those that replicate others have nothing of their own.
func (w *world) saves() bool { return w.job == nil || w.mesh.Coordinate(collective.Replicate) == 0 }

func minutes(n float64) time.Duration { return time.Duration(n * float64(time.Minute)) }

// leads tells whether this rank speaks and saves for all.
func (w *world) leads() bool { return w.mesh.Rank() == 0 }

// connect makes ready what moves data between the ranks' devices: NCCL between GPUs, else the job's own connections.
func (w *world) connect(dev *device.Client, plugin string) error {
	if w.job == nil || dev.Platform() == "cpu" {
		return nil
	}
	lib, err := csrc.LoadNCCL(plugins.NCCL(plugin))
	if err != nil {
		return err
	}
	w.fabric, err = w.job.NewFabric(lib, dev)
	return err
}

// disconnect ends what connect began; the job goes on.
func (w *world) disconnect() error {
	if w.fabric == nil {
		return nil
	}
	f := w.fabric
	w.fabric = nil
	return f.Close()
}

// comm makes the communicator of axes taken together.
func (w *world) comm(name string, axes ...collective.Axis) (collective.Comm, error) {
	if w.fabric != nil {
		return w.fabric.Comm(name, w.mesh.Ranks(axes...))
	}
	return w.job.Comm(name, w.mesh.Ranks(axes...)), nil
}

// commOfPrograms makes the communicator of an axis for collectives inside programs.
func (w *world) commOfPrograms(axis collective.Axis) (collective.Comm, error) {
	name, ranks := axis.String()+" in programs", w.mesh.Ranks(axis)
	if w.fabric != nil {
		return w.fabric.CommOfPrograms(name, ranks)
	}
	return w.job.Comm(name, ranks), nil
}

// traffic is what collectives between GPUs took so far; between CPUs it is not known.
func (w *world) traffic() (collective.Traffic, error) {
	if w.fabric == nil {
		return collective.Traffic{}, nil
	}
	return w.fabric.Traffic()
}

// gathers says how shards of the frozen base are gathered, "" where they are not, or not between GPUs.
func (w *world) gathers() string {
	if w.fabric == nil || w.mesh.Size(collective.Shard, collective.Context) == 1 {
		return ""
	}
	return w.fabric.Gathers()
}

// ranks is where fsdp's state lies.
func (w *world) ranks(reshard, offload bool) (r fsdp.Ranks, err error) {
	if w.job == nil {
		r = fsdp.Alone
		r.Offload = offload
		return r, nil
	}
	r.ReshardAfterForward, r.Offload = reshard, offload
	for _, c := range []struct {
		to   *collective.Comm
		name string
		axes []collective.Axis
	}{
		{&r.Shard, "dp_shard x cp", []collective.Axis{collective.Shard, collective.Context}},
		{&r.Replicate, "dp_replicate", []collective.Axis{collective.Replicate}},
		{&r.Tensor, "tp", []collective.Axis{collective.Tensor}},
	} {
		if *c.to, err = w.comm(c.name, c.axes...); err != nil {
			return r, err
		}
	}
	return r, nil
}

// split numbers the communicators that a device's programs have among the parts of a model, and returns what forgets
// them. Their numbers are the same on every rank: tp first, then cp. They are others than fsdp's, whose collectives come
// from the step's goroutine while programs are still in theirs.
func (w *world) split(dev *device.Client, s model.Split) (model.Split, func(), error) {
	var forget []func()
	all := func() {
		for _, f := range forget {
			f()
		}
	}
	for _, a := range []struct {
		to   *model.Axis
		axis collective.Axis
	}{{&s.Tensor, collective.Tensor}, {&s.Context, collective.Context}} {
		if a.to.Parts < 2 {
			continue
		}
		comm, err := w.commOfPrograms(a.axis)
		if err != nil {
			return s, all, err
		}
		number, release, err := dev.Communicate(comm)
		if err != nil {
			return s, all, fmt.Errorf("%s: %w", a.axis, err)
		}
		a.to.Comm, forget = number, append(forget, release)
	}
	return s, all, nil
}

// counts tells whether this rank adds to sums over samples: the ranks of one tp group have the same numbers.
func (w *world) counts() bool { return w.job == nil || w.mesh.Coordinate(collective.Tensor) == 0 }

// steady is a context for work that all ranks do together: among several, one that is asked to stop must not leave the
// others waiting for it.
func (w *world) steady(ctx context.Context) context.Context {
	if w.job == nil {
		return ctx
	}
	return context.WithoutCancel(ctx)
}

// any tells whether yes is true on any rank.
func (w *world) any(what string, yes bool) (bool, error) {
	if w.job == nil {
		return yes, nil
	}
	mine := []byte{0}
	if yes {
		mine[0] = 1
	}
	all, err := w.job.Exchange(what, mine)
	for _, v := range all {
		yes = yes || len(v) == 1 && v[0] == 1
	}
	return yes, err
}

// sum adds numbers up over all ranks.
func (w *world) sum(what string, v ...float64) ([]float64, error) {
	if w.job == nil {
		return v, nil
	}
	return w.job.Sum(what, v)
}

// greatest is, element by element, the greatest of all ranks' magnitudes.
func (w *world) greatest(what string, magnitudes []float64) ([]float64, error) {
	if w.job == nil || len(magnitudes) == 0 {
		return magnitudes, nil
	}
	return w.job.Greatest(what, magnitudes, minutes(w.limits.StartupTimeoutMinutes))
}

// fromLeader gives every rank what rank 0 gives, which may take as long as a checkpoint.
func (w *world) fromLeader(what, text string) (string, error) {
	if w.job == nil {
		return text, nil
	}
	all, err := w.job.ExchangeWithin(what, []byte(text), minutes(w.limits.CheckpointTimeoutMinutes))
	if err != nil {
		return "", err
	}
	return string(all[0]), nil
}

// err is why the job has failed, nil while it has not. Devices go on with data that means nothing once it has.
func (w *world) err() error {
	if w.job == nil {
		return nil
	}
	return w.job.Err()
}

// fail ends the job on every rank, for this rank's reason.
func (w *world) fail(err error) {
	if w.job != nil {
		w.job.Fail(err)
	}
}

// leave ends the job. After an error every rank is told of it.
func (w *world) leave(err error) error {
	if w.job == nil {
		return nil
	}
	if err != nil {
		w.fail(err)
	}
	return w.job.Close()
}

// record is the flight record, for a run of several ranks that failed.
func (w *world) record() string {
	if w.job == nil {
		return ""
	}
	return fmt.Sprintf("rank %d: the last collectives:\n%s", w.mesh.Rank(), w.job.FlightRecord())
}
