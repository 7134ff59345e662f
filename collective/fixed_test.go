package collective

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gomlx/compute/dtypes"

	"gorun/csrc"
	"gorun/csrc/device"
	"gorun/csrc/device/devicetest"
)

// common is memory that all ranks of this process see alike. It copies by a communicator of the fake NCCL with one rank.
type common struct {
	dev  *device.Client
	lib  *csrc.NCCL
	comm csrc.NCCLComm
	deaf error // what Import says

	mu    sync.Mutex
	taken map[uintptr]*device.Buffer // protected by mu
	seen  int                        // imports less forgets; protected by mu
}

func newCommon(t *testing.T, dev *device.Client) *common {
	t.Helper()
	lib, err := fakeLibrary()
	if err != nil {
		t.Fatal(err)
	}
	c := &common{dev: dev, lib: lib, taken: map[uintptr]*device.Buffer{}}
	id, err := lib.NewUniqueID()
	if err == nil {
		c.comm, err = lib.Init(csrc.CUDA{}, 1, 0, id)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if len(c.taken) > 0 || c.seen != 0 {
			t.Errorf("%d regions are still taken and %d mapped", len(c.taken), c.seen)
		}
	})
	return c
}

func (c *common) Take(n int) (uintptr, error) {
	b, err := c.dev.Uninitialized(device.MakeShape(dtypes.Uint8, n))
	if err != nil {
		return 0, err
	}
	at, err := address(b)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.taken[at] = b
	return at, err
}

func (c *common) GiveBack(at uintptr) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.taken[at].Free()
	delete(c.taken, at)
	return nil
}

func (c *common) Export(at uintptr) (name csrc.MemoryName, err error) {
	binary.LittleEndian.PutUint64(name[:], uint64(at))
	return name, nil
}

func (c *common) Import(name csrc.MemoryName) (uintptr, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.deaf != nil {
		return 0, c.deaf
	}
	c.seen++
	return uintptr(binary.LittleEndian.Uint64(name[:])), nil
}

func (c *common) Forget(uintptr) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen--
	return nil
}

func (c *common) Copy(moves []csrc.Move, s csrc.Stream) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range moves {
		copied := csrc.NCCLOp{Kind: csrc.NCCLAllGather, DType: dtypes.Uint8, Src: m.Src, Dst: m.Dst, Count: m.N}
		if err := c.lib.Run(csrc.CUDA{}, c.comm, []csrc.NCCLOp{copied}, s); err != nil {
			return err
		}
		for settled := false; !settled; {
			var err error
			if settled, err = c.lib.Settle(c.comm, 1000); err != nil {
				return err
			}
		}
	}
	return nil
}

// wholeOf is what tensor i of those that are moved holds.
func wholeOf(i int) []byte { return encode(moved[i].DType, values(9, i, moved[i].Size())) }

// shardsOf uploads a rank's shards of all that is moved.
func shardsOf(dev *device.Client, size, rank int) (out []*device.Buffer, err error) {
	for i, s := range moved {
		b, err := dev.Upload(shardOf(s, size, rank, wholeOf(i)), ShardShape(s, size))
		if err != nil {
			return out, err
		}
		out = append(out, b)
	}
	return out, nil
}

// TestFixed: shards that are fixed are gathered exactly, again and again, beside others that are not, within axes too.
func TestFixed(t *testing.T) {
	devicetest.CPUOnly(t)
	dev := devicetest.Open(t)
	for _, c := range []struct {
		world   int
		ranksOf func(int) []int
	}{{2, everyone(2)}, {3, everyone(3)}, {4, func(r int) []int { return []int{r % 2, r%2 + 2} }}} {
		mem := newCommon(t, dev)
		f := fabrics(t, joinAll(t, c.world, nil), idle{dev})
		for r := range f {
			f[r].memory = mem
		}
		comms := split(t, f, "dp", c.ranksOf)
		errs := each(comms, func(comm Comm) error {
			shards, err := shardsOf(dev, comm.Size(), comm.Rank())
			if err != nil {
				return err
			}
			defer func() { device.FreeAll(shards) }()
			fixed, err := comm.Fix("block 0", shards[:3])
			if err != nil {
				return err
			}
			shards = slices.Concat(fixed, shards[3:])
			return errors.Join(gathered(comm, shards, moved), gathered(comm, shards, moved), gathered(comm, shards[:3], moved[:3]))
		})
		if err := errors.Join(errs...); err != nil {
			t.Errorf("%d ranks: %v", c.world, err)
		}
		for r := range f {
			if got := f[r].Gathers(); got != "by copy engines" {
				t.Errorf("rank %d gathers %s", r, got)
			}
		}
	}
}

// gathered fails unless an all-gather of shards gives the whole tensors.
func gathered(c Comm, shards []*device.Buffer, whole []device.Shape) error {
	got, err := c.AllGather("block 0", shards, whole)
	if err != nil {
		return err
	}
	return holds(got, wholeOf)
}

// TestNotFixed: if one rank cannot map another's memory, or is told not to, shards stay on all ranks what they were, nothing
// is left behind, and all know why.
func TestNotFixed(t *testing.T) {
	devicetest.CPUOnly(t)
	dev := devicetest.Open(t)
	deaf := errors.New("peer access is not supported")
	for _, c := range []struct {
		disabled string // NCCL_P2P_DISABLE
		deaf     error  // on rank 1
		want     string
	}{
		{"0", deaf, "by NCCL (rank 1: memory of rank 0: peer access is not supported)"},
		{"1", nil, "by NCCL (rank 0: NCCL_P2P_DISABLE is set)"},
	} {
		t.Setenv(noPeers, c.disabled)
		hears, other := newCommon(t, dev), newCommon(t, dev)
		other.deaf = c.deaf
		f := fabrics(t, joinAll(t, 2, nil), idle{dev})
		f[0].memory, f[1].memory = hears, other
		errs := each(split(t, f, "dp", everyone(2)), func(c Comm) error {
			shards, err := shardsOf(dev, c.Size(), c.Rank())
			if err != nil {
				return err
			}
			defer device.FreeAll(shards)
			for range 2 { // the second time nobody tries
				same, err := c.Fix("block 0", shards)
				if err != nil || !slices.Equal(same, shards) {
					return fmt.Errorf("other shards, or %w", err)
				}
			}
			return gathered(c, shards, moved)
		})
		if err := errors.Join(errs...); err != nil {
			t.Error(err)
		}
		for r := range f {
			if got := f[r].Gathers(); got != c.want {
				t.Errorf("rank %d gathers %s, want %s", r, got, c.want)
			}
		}
	}
}

// TestFixedLate: a device that does not copy shards to their place in time is not waited for.
func TestFixedLate(t *testing.T) {
	devicetest.CPUOnly(t)
	dev := devicetest.Open(t)
	mem := newCommon(t, dev)
	f := fabrics(t, joinAll(t, 2, func(j *JobConfig) { j.Timeout = time.Second }), stuck{idle{dev}})
	for r := range f {
		f[r].memory = mem
	}
	errs := each(split(t, f, "dp", everyone(2)), func(c Comm) error {
		shards, err := shardsOf(dev, c.Size(), c.Rank())
		if err != nil {
			return err
		}
		defer device.FreeAll(shards)
		_, err = c.Fix("block 0", shards)
		return err
	})
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	if got, want := f[1].Gathers(), "by NCCL (rank 0: the device has not copied them in time)"; got != want {
		t.Errorf("rank 1 gathers %s, want %s", got, want)
	}
}

// TestRegionOpen: what a rank shows of its memory is checked.
func TestRegionOpen(t *testing.T) {
	devicetest.CPUOnly(t)
	show := func(s shown) []byte {
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	name := make([]byte, len(csrc.MemoryName{}))
	mine := show(shown{Machine: "a", Name: name})
	for _, c := range []struct{ mine, theirs, want string }{
		{string(mine), "[", "what rank 2 shows of its memory: unexpected end"},
		{string(mine), string(show(shown{Refused: "out of memory"})), "rank 2 shows no memory: out of memory"},
		{string(mine), string(show(shown{Machine: "b", Name: name})), "rank 2 is on another machine"},
		{string(show(shown{Name: name})), string(show(shown{Name: name})), "rank 2 is on another machine"},
		{string(mine), string(show(shown{Machine: "a", Name: name[1:]})), "rank 2 names its memory in 63 bytes, want 64"},
		{string(show(shown{Refused: "out of memory"})), string(mine), "out of memory"},
	} {
		r := region{ranks: make([]uintptr, 2), own: 0}
		if err := r.open([]int{1, 2}, [][]byte{nil, []byte(c.mine), []byte(c.theirs)}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s beside %s: %v, want %q", c.theirs, c.mine, err, c.want)
		}
	}
}
