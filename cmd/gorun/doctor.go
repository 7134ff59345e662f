package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"gorun/csrc"
	"gorun/csrc/plugins"
	"gorun/launcher/doctor"
	"gorun/launcher/slurm"
)

// doctorCmd examines this node, or all nodes of a run.
type doctorCmd struct {
	Shared    string        `placeholder:"DIR" help:"A folder that all nodes share, as for checkpoints: it is tried too, and several nodes meet there."`
	Nnodes    int           `placeholder:"N" help:"Machines that are examined together: run the same line on each (1; under Slurm, the step's)."`
	NodeRank  int           `default:"-1" placeholder:"N" help:"Place of this machine among the nodes, from 0 (Slurm's); 0 prints the report."`
	RdzvID    string        `name:"rdzv-id" placeholder:"NAME" help:"Name of this examination, the same on all nodes and another one each time (Slurm's)."`
	LocalAddr string        `placeholder:"ADDRESS" help:"Address of this machine for the other nodes (the default route's; under Slurm the one of the node's name)."`
	Wait      time.Duration `default:"2m" placeholder:"TIME" help:"How long nodes wait for each other."`
	JSON      bool          `name:"json" help:"Print everything that was found out as JSON."`
}

// errIll says that a node is not fit; the report has said why.
var errIll = errors.New("not fit for training: see the lines that begin with 'fail'")

// Run examines. The exit code is 1 if something does not work.
func (c *doctorCmd) Run(ctx context.Context, a *app) error {
	meeting, node, address, err := c.meeting()
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	facts := doctor.Gather(doctor.Subject{Node: node, Programs: a.programs(), Device: a.deviceKind(), Disks: disks(), Shared: c.Shared, Address: address})
	report := doctor.NewReport([]*doctor.Facts{facts}, doctor.Judge(facts))
	if meeting != nil {
		if report, err = doctor.Together(ctx, meeting, facts); err != nil || report == nil {
			return err
		}
	}
	if c.JSON {
		err = report.JSON(a.stdout)
	} else {
		err = report.Text(a.stdout)
	}
	if err == nil && report.Status == doctor.Fail {
		err = errIll
	}
	return err
}

// meeting is where and as what this node meets the others, nil if there are none; and the node's name and address.
func (c *doctorCmd) meeting() (m *doctor.Meeting, name, address string, err error) {
	address = c.LocalAddr
	if name, err = os.Hostname(); err != nil {
		return nil, "", "", fmt.Errorf("this node's name: %w", err)
	}
	m = &doctor.Meeting{Folder: c.Shared, ID: c.RdzvID, Nodes: c.Nnodes, Rank: c.NodeRank, Wait: c.Wait}
	step, err := slurm.FromEnv(os.Getenv)
	if err != nil {
		return nil, "", "", err
	}
	if step != nil {
		name = step.Node()
		if address == "" {
			address = step.Address() // as training does
		}
		if step.LocalTasks > 1 {
			return nil, "", "", errors.New("start one task a node: srun --ntasks-per-node=1")
		}
		m.ID, m.Nodes = cmp.Or(m.ID, step.ID()), cmp.Or(m.Nodes, len(step.Nodes))
		if m.Rank < 0 {
			m.Rank = step.NodeRank
		}
	} else if m.Nodes == 0 && (m.ID != "" || m.Rank >= 0) {
		return nil, "", "", errors.New("--rdzv-id and --node-rank are for several nodes: say how many with --nnodes")
	}
	if m.Nodes == 0 || m.Nodes == 1 {
		return nil, name, address, nil
	}
	return m, name, address, m.Validate()
}

// programs are the files that must be the same on all nodes.
func (a *app) programs() []doctor.Program {
	self := doctor.Program{Name: "gorun", Version: gorunVersion()}
	path, err := os.Executable()
	out := []doctor.Program{digest(self, path, err)}
	kind, path, err := a.findPlugin()
	plugin := doctor.Program{Name: "plugin", Fix: "run '" + plugins.SetupCommand(kind) + "'"}
	if err == nil {
		plugin.Version, err = pluginVersion(path)
	}
	out = append(out, digest(plugin, path, err))
	if err == nil && kind == plugins.CUDA {
		out = append(out, ncclProgram(plugins.NCCL(path), plugin.Fix))
	}
	return out
}

// ncclProgram loads the NCCL that the plugin finds.
func ncclProgram(path, fix string) doctor.Program {
	p := doctor.Program{Name: "NCCL", Fix: fix}
	lib, err := csrc.LoadNCCL(path)
	if err == nil {
		v := lib.Version() // 22809 is 2.28.9
		p.Version = fmt.Sprintf("%d.%d.%d", v/10000, v/100%100, v%100)
	}
	if err == nil && !filepath.IsAbs(path) {
		p.Path = path // the system knows where it is
		return p
	}
	return digest(p, path, err)
}

// pluginVersion loads a plugin, which is the test of it.
func pluginVersion(path string) (string, error) {
	if err := os.Setenv("TF_CPP_MIN_LOG_LEVEL", "2"); err != nil { // XLA's log would mix with the report
		return "", err
	}
	plugin, err := csrc.LoadPlugin(path)
	if err != nil {
		return "", err
	}
	major, minor := plugin.Version()
	return fmt.Sprintf("PJRT %d.%d", major, minor), nil
}

// digest adds a file's path and hash, or why there is none.
func digest(p doctor.Program, path string, err error) doctor.Program {
	p.Path = path
	if err == nil {
		p.SHA256, err = hash(path)
	}
	if err != nil {
		p.Err = err.Error()
	}
	return p
}

func hash(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close() //nolint:errcheck // only read
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// disks are the folders where gorun keeps things.
func disks() []doctor.Disk {
	out := []doctor.Disk{{Path: ".", Use: "checkpoints here"}}
	if cache, err := plugins.CacheDir(); err == nil {
		out = append(out, doctor.Disk{Path: cache, Use: "compiled programs"})
	}
	return out
}
