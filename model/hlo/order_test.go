package hlo_test

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/gomlx/compute/dtypes"

	"gorun/csrc/device"
	"gorun/csrc/device/devicetest"
	"gorun/model/hlo"
)

// TestOrderOfPrograms: programs that need nothing of each other (the last of a micro-batch and the first of the next) meet
// their collectives in the order in which they are queued, whatever thread queues them and however long they take before.
// XLA's CPU client sees to that; the table fails where parts come to different collectives.
func TestOrderOfPrograms(t *testing.T) {
	table, devs := devicetest.NewTable(2), devicetest.Parts(t, 2)
	errs := make([]error, len(devs))
	var all sync.WaitGroup
	for i, dev := range devs {
		number, release, err := dev.Communicate(table.Seat(i))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(release)
		all.Go(func() {
			if errs[i] = alternate(dev, hlo.Communicator{Parts: len(devs), Number: number}, 1+i*2000); errs[i] != nil {
				table.Cancel(fmt.Errorf("part %d: %w", i, errs[i]))
			}
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
}

// alternate queues two programs in turn, of which the first goes round a loop before its collective, and then waits.
func alternate(dev *device.Client, c hlo.Communicator, rounds int) (err error) {
	program := func(what string, rounds int) (*device.Program, error) {
		src, err := hlo.Build(what, func(g *hlo.Graph) []hlo.Value {
			x := g.Input(device.MakeShape(dtypes.Float32, 1000))
			x = g.Loop(rounds, []hlo.Value{x}, func(g *hlo.Graph, _ hlo.Value, st []hlo.Value) []hlo.Value {
				return []hlo.Value{g.Add(st[0], g.Const(dtypes.Float32, 1))}
			})[0]
			return []hlo.Value{g.AllReduce(c, what, x)}
		})
		if err != nil {
			return nil, err
		}
		return dev.Compile(src)
	}
	long, err := program("long", rounds)
	if err != nil {
		return err
	}
	short, err := program("short", 1)
	if err != nil {
		return errors.Join(err, long.Close())
	}
	defer func() { err = errors.Join(err, long.Close(), short.Close()) }()
	x, err := device.FromSlice(dev, dtypes.Float32, make([]float32, 1000), 1000)
	if err != nil {
		return err
	}
	defer x.Free()
	var results []*device.Buffer
	defer func() { device.FreeAll(results) }()
	for range 10 {
		for _, p := range []*device.Program{long, short} {
			out, err := elsewhere(p, x)
			if err != nil {
				return err
			}
			results = append(results, out...)
		}
	}
	for _, r := range results {
		if err := r.Await(); err != nil {
			return err
		}
	}
	return nil
}

// elsewhere executes on a thread of its own: goroutines may be moved to another at any time.
func elsewhere(p *device.Program, x *device.Buffer) ([]*device.Buffer, error) {
	type results struct {
		out []*device.Buffer
		err error
	}
	done := make(chan results)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		out, err := p.Execute(x)
		done <- results{out, err}
	}()
	r := <-done
	return r.out, r.err
}
