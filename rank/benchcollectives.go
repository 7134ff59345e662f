package rank

import (
	"context"
	"errors"

	"gorun/collective"
	"gorun/configs"
)

// BenchCollectives measures the collectives among all ranks of a run, this one being at p, between their devices. sizes
// and rounds are those of collective.Measure.
func BenchCollectives(ctx context.Context, p Place, d Device, sizes []int, rounds int) (out []collective.Speed, err error) {
	mesh, err := meshOf(configs.Default().Distributed, p)
	if err != nil {
		return nil, err
	}
	w, err := join(ctx, mesh, p, configs.Default().DistEnv)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.leave(err)) }()
	d.GPU = p.GPU
	dev, err := d.open()
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			w.fail(err)
		}
		err = errors.Join(err, w.disconnect(), dev.Close())
	}()
	if err := w.connect(dev, d.Plugin); err != nil {
		return nil, err
	}
	c, err := w.comm("bench", collective.Shard)
	if err != nil {
		return nil, err
	}
	return collective.Measure(dev, c, sizes, rounds)
}
