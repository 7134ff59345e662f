package collective

import (
	"time"

	"github.com/gomlx/compute/dtypes"

	"gorun/csrc/device"
)

// onDevices are the collectives that Measure measures, each between a whole float32 tensor and a rank's part of it.
var onDevices = []struct {
	op    op
	share float64 // of the tensor that a link carries, in units of (n-1)/n
	run   func(c Comm, whole, part *device.Buffer) ([]*device.Buffer, error)
}{
	{allReduce, 2, func(c Comm, whole, _ *device.Buffer) ([]*device.Buffer, error) {
		return c.AllReduce("bench", []*device.Buffer{whole})
	}},
	{allGather, 1, func(c Comm, whole, part *device.Buffer) ([]*device.Buffer, error) {
		return c.AllGather("bench", []*device.Buffer{part}, []device.Shape{whole.Shape()})
	}},
	{reduceScatter, 1, func(c Comm, whole, _ *device.Buffer) ([]*device.Buffer, error) {
		return c.ReduceScatter("bench", []*device.Buffer{whole})
	}},
}

// Measure measures a communicator's collectives on a device: the mean of rounds that follow each other without the host
// waiting, as nccl-tests does. sizes are bytes of the whole tensor, rounded down to whole float32 for each rank. Every
// rank calls it.
func Measure(dev *device.Client, c Comm, sizes []int, rounds int) (out []Speed, err error) {
	for _, m := range onDevices {
		for _, size := range sizes {
			n := max(1, size/4/c.Size())
			took, err := measure(dev, n*c.Size(), n, rounds, func(whole, part *device.Buffer) ([]*device.Buffer, error) { return m.run(c, whole, part) })
			if err != nil {
				return nil, err
			}
			out = append(out, speed(m.op, m.share, 4*n*c.Size(), c.Size(), took, rounds))
		}
	}
	return out, nil
}

// measure is the mean time of a collective in seconds, after three rounds of warm-up.
func measure(dev *device.Client, whole, part, rounds int, once func(whole, part *device.Buffer) ([]*device.Buffer, error)) (seconds float64, err error) {
	data := make([]float32, whole)
	for i := range data {
		data[i] = float32(i % 251)
	}
	w, err := device.FromSlice(dev, dtypes.Float32, data, whole)
	if err != nil {
		return 0, err
	}
	defer w.Free()
	p, err := device.FromSlice(dev, dtypes.Float32, data[:part], part)
	if err != nil {
		return 0, err
	}
	defer p.Free()
	run := func(times int) (err error) {
		var last []*device.Buffer
		defer func() { device.FreeAll(last) }()
		for range times {
			device.FreeAll(last)
			if last, err = once(w, p); err != nil {
				return err
			}
		}
		return last[0].Await()
	}
	if err := run(3); err != nil {
		return 0, err
	}
	begin := time.Now()
	err = run(rounds)
	return time.Since(begin).Seconds() / float64(rounds), err
}
