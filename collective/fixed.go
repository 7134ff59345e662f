package collective

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"gorun/csrc"
	"gorun/csrc/device"
)

// Shards that never change need no meeting of ranks to be gathered: a rank reads them where they are, when it likes. So
// Fix copies them to memory that all ranks of the machine can map, and an all-gather of them is a list of copies on the
// communicator's stream. Between GPUs copy engines make those, where NCCL's kernels would hold multiprocessors that the
// products beside them want; the driver copies a rank's own part with a kernel, 1/N of it all. What is not fixed in the same
// all-gather goes by NCCL, behind the copies.
//
// Invariants: nobody writes to a fixed shard until the fabric is closed; and by then nobody reads one, because a pass ends
// with something that all ranks come to (its totals, or what is summed of a validation) behind all that it has gathered.
//
// Rejected: sharing XLA's own memory, which it takes from the driver in a way that cannot be shared (PJRT 0.115); gathers
// by NCCL's copy engines, for which both ends must be NCCL's memory, so that every gather would be copied once more.

// memory is what fixed shards need of a device. csrc.CUDA is one.
type memory interface {
	Take(n int) (uintptr, error)
	GiveBack(at uintptr) error
	Export(at uintptr) (csrc.MemoryName, error)
	Import(name csrc.MemoryName) (uintptr, error)
	Forget(at uintptr) error
	Copy(moves []csrc.Move, s csrc.Stream) error
}

// region is memory with the fixed shards of one call of Fix, at the same places on every rank.
type region struct {
	memory memory
	ranks  []uintptr // where it begins, by rank of the communicator, as this rank's device sees it; 0 = not mapped
	own    int       // this rank
}

// place is a fixed shard.
type place struct {
	*region
	offset int
}

// noPeers is NCCL's variable for machines whose GPUs cannot read each other's memory, or not rightly.
const noPeers = "NCCL_P2P_DISABLE"

const (
	fixedAlign = 256     // of shards: what products like best
	fixedUnit  = 2 << 20 // of regions: the driver shows another process all of the unit that memory is part of
)

// Fix implements Comm. All ranks of the job call it together, each for its own communicator; they all fix their shards, or
// none does. Why not, Gathers tells.
func (n *NCCL) Fix(what string, shards []*device.Buffer) ([]*device.Buffer, error) {
	f := n.fabric
	if len(shards) == 0 || f.unfixed != "" {
		return shards, nil
	}
	r := &region{f.memory, make([]uintptr, n.size), n.rank}
	offsets, refused := n.lay(r, shards)
	told, err := n.agree(what, r, refused)
	if err == nil && told == "" {
		return n.fixed(r, shards, offsets), nil
	}
	f.unfixed = told
	return shards, errors.Join(err, r.close())
}

// lay copies shards to a region of this rank's and waits until they are there.
func (n *NCCL) lay(r *region, shards []*device.Buffer) (offsets []int, err error) {
	if os.Getenv(noPeers) == "1" {
		return nil, errors.New(noPeers + " is set")
	}
	size := 0
	for _, b := range shards {
		offsets = append(offsets, size)
		size += roundUp(b.Shape().Bytes(), fixedAlign)
	}
	at, err := r.memory.Take(max(fixedUnit, roundUp(size, fixedUnit)))
	if err != nil {
		return nil, err
	}
	r.ranks[n.rank] = at
	var moves []csrc.Move
	for i, b := range shards {
		from, err := b.Pointer()
		if err != nil {
			return nil, err
		}
		moves = append(moves, csrc.Move{Dst: at + uintptr(offsets[i]), Src: from, N: b.Shape().Bytes()})
	}
	if err := n.queue.After(shards...); err != nil {
		return nil, err
	}
	if err := r.memory.Copy(moves, n.queue.Handle()); err != nil {
		return nil, err
	}
	m, err := n.queue.MarkOn(n.queue.Handle())
	if err != nil {
		return nil, err
	}
	defer m.Free()
	for late := time.Now().Add(n.fabric.job.cfg.Timeout); ; time.Sleep(100 * time.Microsecond) {
		switch passed, err := m.Passed(); {
		case err != nil || passed:
			return offsets, err
		case time.Now().After(late):
			return nil, errors.New("the device has not copied them in time")
		}
	}
}

func roundUp(n, unit int) int { return (n + unit - 1) / unit * unit }

// shown is what a rank tells the others of its region.
type shown struct {
	Machine string
	Name    []byte // a csrc.MemoryName
	Refused string // why there is none
}

// agree shows the ranks each other's regions and maps them. told is why a rank could not; then none may use them.
func (n *NCCL) agree(what string, r *region, refused error) (told string, err error) {
	job := n.fabric.job
	mine := shown{Machine: machine()}
	if refused == nil {
		var name csrc.MemoryName
		name, refused = r.memory.Export(r.ranks[n.rank])
		mine.Name = name[:]
	}
	if refused != nil {
		mine = shown{Refused: refused.Error()}
	}
	said, err := json.Marshal(mine)
	if err != nil {
		return "", err
	}
	all, err := job.ExchangeWithin("memory of "+what, said, job.cfg.StartTimeout)
	if err != nil {
		return "", err
	}
	said = nil
	if err := r.open(n.ranks, all); err != nil {
		said = []byte(err.Error())
	}
	if all, err = job.Exchange("memory of "+what+", seen", said); err != nil {
		return "", err
	}
	for rank, why := range all {
		if len(why) > 0 {
			return fmt.Sprintf("rank %d: %s", rank, why), nil
		}
	}
	return "", nil
}

// open maps the regions of the communicator's ranks, of which all is what they have shown, by rank of the world.
func (r *region) open(ranks []int, all [][]byte) error {
	var mine shown
	if err := json.Unmarshal(all[ranks[r.own]], &mine); err != nil || mine.Refused != "" {
		return errors.Join(err, errors.New(mine.Refused))
	}
	for i, rank := range ranks {
		if i == r.own {
			continue
		}
		var theirs shown
		if err := json.Unmarshal(all[rank], &theirs); err != nil {
			return fmt.Errorf("what rank %d shows of its memory: %w", rank, err)
		}
		var name csrc.MemoryName
		switch {
		case theirs.Refused != "":
			return fmt.Errorf("rank %d shows no memory: %s", rank, theirs.Refused)
		case theirs.Machine != mine.Machine || mine.Machine == "":
			return fmt.Errorf("rank %d is on another machine", rank)
		case copy(name[:], theirs.Name) != len(name):
			return fmt.Errorf("rank %d names its memory in %d bytes, want %d", rank, len(theirs.Name), len(name))
		}
		at, err := r.memory.Import(name)
		if err != nil {
			return fmt.Errorf("memory of rank %d: %w", rank, err)
		}
		r.ranks[i] = at
	}
	return nil
}

// machine tells machines apart, "" if it cannot.
func machine() string {
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id") // without one, ranks count as on several machines
	return strings.TrimSpace(string(id))
}

// fixed exchanges shards for those in a region.
func (n *NCCL) fixed(r *region, shards []*device.Buffer, offsets []int) []*device.Buffer {
	n.regions = append(n.regions, r)
	out := make([]*device.Buffer, len(shards))
	for i, b := range shards {
		out[i] = b.Client().Lend(r.ranks[n.rank]+uintptr(offsets[i]), b.Shape())
		n.places[out[i]] = place{r, offsets[i]}
		b.Free()
	}
	return out
}

// pull is the copies that gather a fixed shard of rows to dst, from the other ranks in such an order that no two of them read
// from the same one at a time. A device's copies within itself are no copy engine's but multiprocessors', for which they
// wait: they come behind all that need not.
func (p place) pull(dst uintptr, whole device.Shape) (m moves) {
	size := len(p.ranks)
	rows, row := whole.Dims[0], whole.Bytes()/max(1, whole.Dims[0])
	for step := range size {
		r := (p.own + step) % size
		lo, hi := Part(rows, size, r)
		if lo == hi {
			continue
		}
		part := csrc.Move{Dst: dst + uintptr(lo*row), Src: p.ranks[r] + uintptr(p.offset), N: (hi - lo) * row}
		if r == p.own {
			m.within = append(m.within, part)
		} else {
			m.between = append(m.between, part)
		}
	}
	return m
}

// close unmaps the others' regions and frees this rank's.
func (r *region) close() error {
	var errs []error
	for i, at := range r.ranks {
		switch {
		case at == 0:
		case i == r.own:
			errs = append(errs, r.memory.GiveBack(at))
		default:
			errs = append(errs, r.memory.Forget(at))
		}
	}
	r.ranks = nil
	return errors.Join(errs...)
}

// Gathers says how shards that never change are gathered, and why not by copy engines.
func (f *Fabric) Gathers() string {
	if f.unfixed != "" {
		return "by NCCL (" + f.unfixed + ")"
	}
	for _, n := range f.all() {
		if len(n.regions) > 0 {
			return "by copy engines"
		}
	}
	return "by NCCL"
}
