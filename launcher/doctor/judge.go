package doctor

import (
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

// What a node should have. The sizes are what gorun's own needs come to, with room.
const (
	wantOpenFiles = 4096     // a rank has a few connections to every other, and maps every file of the weights
	wantDisk      = 20 << 30 // bytes: compiled programs, checkpoints; the models' own size is for 'gorun plan'
	leastDisk     = 1 << 30  // with less, the first checkpoint may fail
	wantShared    = 1 << 30  // NCCL's buffers between the GPUs of a node
	wantMemory    = 8 << 30  // a rank's program and its prefetched data
	slowFolder    = time.Second
	lowestClock   = 0.5 // of a GPU's highest, while it is slowed
)

// judge collects findings of one node.
type judge struct {
	node string
	out  []Finding
}

func (j *judge) say(s Status, check, fix, format string, args ...any) {
	j.out = append(j.out, Finding{s, j.node, check, fmt.Sprintf(format, args...), fix})
}

// Judge says what the facts of one node mean.
func Judge(f *Facts) []Finding {
	j := &judge{node: f.Node}
	j.programs(f)
	j.driver(f)
	for i := range f.GPUs {
		j.gpu(f, i)
	}
	j.kernelLog(f)
	j.network(f)
	j.limits(f)
	j.space(f)
	if f.Folder != nil {
		j.folder(f.Folder)
	}
	if f.Unsynced {
		j.say(Warn, "clock", "let chrony or another NTP client set it", "not synchronised")
	}
	return j.out
}

func (j *judge) programs(f *Facts) {
	for _, p := range f.Programs {
		if p.Err != "" {
			j.say(Fail, p.Name, p.Fix, "%s", p.Err)
			continue
		}
		j.say(OK, p.Name, "", "%s", strings.TrimSpace(p.Version+" "+p.Path))
	}
}

func (j *judge) driver(f *Facts) {
	switch {
	case f.DriverErr != "":
		j.say(Fail, "driver", "see 'nvidia-smi'; without GPUs use --device cpu", "%s", f.DriverErr)
	case f.Device == "cuda" && len(f.GPUs) == 0:
		j.say(Fail, "GPUs", "unset CUDA_VISIBLE_DEVICES, give the container its GPUs, or ask Slurm for some (--gpus-per-node)", "none that this process may use")
	case f.Driver != "":
		j.say(OK, "driver", "", "%s, %d GPUs", f.Driver, len(f.GPUs))
	}
}

func (j *judge) gpu(f *Facts, i int) {
	g := &f.GPUs[i]
	check, h := fmt.Sprintf("GPU %d", g.Index), g.Health
	sound := len(j.out)
	if h.BadMemory != "" {
		j.say(Fail, check, "reset the GPU or reboot the node; a GPU whose rows can't be remapped has to be replaced", "%s", h.BadMemory)
	}
	if h.ECCErrors > 0 {
		j.say(Warn, check, "reset the GPU, or take the node out if it happens again", "%d uncorrected errors of its memory since the driver was loaded", h.ECCErrors)
	}
	if len(h.Slowed) > 0 {
		status := Warn
		if float64(h.ClockMHz) < lowestClock*float64(h.MaxClockMHz) {
			status = Fail
		}
		j.say(status, check, "look after its cooling, power and clock settings: it slows all ranks down", "at %d of %d MHz because of %s", h.ClockMHz, h.MaxClockMHz, list(h.Slowed))
	}
	if len(j.out) == sound {
		j.say(OK, check, "", "%s, %s, up to %d MHz", g.Name, humanize.IBytes(g.Memory), h.MaxClockMHz)
	}
}

func (j *judge) kernelLog(f *Facts) {
	switch {
	case f.Driver == "":
	case f.XidErr != "":
		j.say(Warn, "Xid", "run as a user who may read /dev/kmsg, or look with 'dmesg | grep Xid'", "the kernel's log can't be read: %s", f.XidErr)
	case len(f.Xid) > 0:
		j.say(Warn, "Xid", "look the number up in NVIDIA's list of Xids; 48, 63, 64, 79, 94 and 95 are of ill hardware", "%s", f.Xid[len(f.Xid)-1])
	default:
		j.say(OK, "Xid", "", "none in the kernel's log")
	}
}

func (j *judge) network(f *Facts) {
	chosen := f.chosen()
	switch {
	case f.PortErr != "":
		j.say(Fail, "network", "free ports, or choose another address with --local-addr", "no port can be listened on: %s", f.PortErr)
	case chosen == nil:
		j.say(Warn, "network", "for several nodes, bring an interface up that leads to the others", "loopback only: this node can train by itself")
	default:
		speed := ""
		if chosen.Mbit > 0 {
			speed = fmt.Sprintf(", %d Mbit/s", chosen.Mbit)
		}
		j.say(OK, "network", "", "other nodes reach this one at %s (%s, MTU %d%s)%s", f.Address, chosen.Name, chosen.MTU, speed, others(f, chosen))
	}
}

// others names the interfaces that are not chosen.
func others(f *Facts, chosen *Interface) string {
	var names []string
	for i := range f.Interfaces {
		if i := &f.Interfaces[i]; i != chosen {
			names = append(names, i.Name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return "; not by " + list(names)
}

func (j *judge) limits(f *Facts) {
	if f.OpenFiles < wantOpenFiles {
		j.say(Warn, "open files", fmt.Sprintf("ulimit -n %d, or in /etc/security/limits.conf", wantOpenFiles), "a process may have %d, and a run of many ranks needs more", f.OpenFiles)
	} else {
		j.say(OK, "open files", "", "up to %d", f.OpenFiles)
	}
	if f.Device == "cuda" && f.Locked < 1<<30 {
		j.say(Warn, "locked memory", "ulimit -l unlimited; under Slurm, in slurmd's unit: LimitMEMLOCK=infinity", "a process may lock %s: InfiniBand needs more", humanize.IBytes(f.Locked))
	}
}

func (j *judge) space(f *Facts) {
	less := func(check, fix string, r Room, want, least uint64) {
		switch {
		case r.Err != "":
			j.say(Warn, check, fix, "%s", r.Err)
		case r.Free < least:
			j.say(Fail, check, fix, "%s free of %s", humanize.IBytes(r.Free), humanize.IBytes(r.Total))
		case r.Free < want:
			j.say(Warn, check, fix, "%s free of %s", humanize.IBytes(r.Free), humanize.IBytes(r.Total))
		default:
			j.say(OK, check, "", "%s free of %s", humanize.IBytes(r.Free), humanize.IBytes(r.Total))
		}
	}
	less("memory", "end other programs, or ask for more", f.Memory, wantMemory, 0)
	if f.Device == "cuda" {
		less("/dev/shm", "a larger one: mount -o remount,size=8G /dev/shm; for containers --shm-size=8g or --ipc=host", f.Shared, wantShared, 0)
	}
	for _, d := range f.Disks {
		less("disk for "+d.Use, "make room, or use another folder than "+d.Path, d.Room, wantDisk, leastDisk)
	}
}

func (j *judge) folder(f *Folder) {
	switch {
	case f.Err != "":
		j.say(Fail, "shared folder", "a folder that this user may write to on all nodes", "%s: %s", f.Path, f.Err)
	case f.Took > slowFolder:
		j.say(Warn, "shared folder", "look after the file server: checkpoints will be slow", "%s: %s to write, sync, rename and read 4 KiB", f.Path, f.Took.Round(time.Millisecond))
	default:
		j.say(OK, "shared folder", "", "%s: %s to write, sync, rename and read 4 KiB", f.Path, f.Took.Round(100*time.Microsecond))
	}
}
