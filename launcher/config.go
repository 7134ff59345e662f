package launcher

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"gorun/launcher/rdzv"
)

// Config says what an agent is to do. Its fields have the meaning of torchrun's flags of the same names.
type Config struct {
	Command []string // what a rank runs: program and arguments
	Gpus    int      // ranks on this node
	CPUs    [][]int  // by local rank, the CPUs near its GPU; an empty or missing list = any
	RunID   string   // a folder in LogDir, and what the nodes of a run know it by

	MinNodes, MaxNodes int           // --nnodes; of more than one, the fields below say how they meet
	NodeRank           int           // group rank that this node wants; -1 = any
	Endpoints          []string      // HOST:PORT of nodes to ask for the others; one may be this node
	LocalAddr          string        // this node's address for the others; "" = the one that leads to the endpoints
	Key                []byte        // the run's secret, gossip.KeyBytes long; one node makes its own if there is none
	Version            string        // nodes of another version of gorun are refused
	JoinTimeout        time.Duration // how long to wait for MinNodes
	LastCall           time.Duration // with MinNodes there, how long to wait for more

	// Files begins to give files to the ranks of other nodes, at an address of this one, until the caller of Run ends it;
	// key is the ranks'. It returns the port. nil = this node gives none.
	Files func(addr string, key []byte) (port int, err error)

	MaxRestarts     int
	Tick            time.Duration // --monitor-interval
	HangTimeout     time.Duration // a rank inside one collective for longer hangs; 0 = never
	ShutdownTimeout time.Duration // between asking a rank to checkpoint and ending it

	LogDir      string
	Redirects   Streams
	Tee         Streams
	LocalFilter []int // local ranks whose output is shown; nil = all

	OnEnd func(*rdzv.Verdict) // told how the run ended, before Run returns; may be nil

	Out, Err io.Writer
	Log      zerolog.Logger
}

// DefaultRunID is the folder of a launch if the user names none.
const DefaultRunID = "launch"

// maxRunID is what packets have room for.
const maxRunID = 64

// Validate returns all faults at once.
func (c *Config) Validate() error {
	var faults []error
	refuse := func(bad bool, format string, args ...any) {
		if bad {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	refuse(len(c.Command) == 0, "no command for the ranks")
	refuse(c.Gpus < 1, "--gpus %d: want 1 or more", c.Gpus)
	refuse(c.MinNodes < 1 || c.MaxNodes < c.MinNodes, "--nnodes %d:%d: want N or MIN:MAX, with 1 <= MIN <= MAX", c.MinNodes, c.MaxNodes)
	refuse(c.NodeRank < -1 || c.MaxNodes > 0 && c.NodeRank >= c.MaxNodes, "--node-rank %d: want 0 to %d", c.NodeRank, c.MaxNodes-1)
	if c.MaxNodes > 1 {
		refuse(len(c.Endpoints) == 0, "--nnodes %d: say where the nodes meet, the same on all of them: --rdzv-endpoint HOST[:PORT], the address of one", c.MaxNodes)
		refuse(len(c.Key) == 0, "--nnodes %d: nodes know each other by a key: write one with 'openssl rand -hex 32 > FILE', copy it to all nodes and give --key-file FILE, or set GORUN_JOB_KEY", c.MaxNodes)
		refuse(c.JoinTimeout <= 0, "join_timeout %s: want more than 0", c.JoinTimeout)
		refuse(c.LastCall < 0, "last_call_timeout %s: want 0 or more", c.LastCall)
		refuse(len(c.RunID) > maxRunID, "--rdzv-id of %d bytes: want at most %d for a run of several nodes", len(c.RunID), maxRunID)
	}
	refuse(c.MaxRestarts < 0, "--max-restarts %d: want 0 or more", c.MaxRestarts)
	refuse(c.Tick <= 0, "--monitor-interval %s: want more than 0", c.Tick)
	refuse(c.ShutdownTimeout <= 0, "--shutdown-timeout %s: want more than 0", c.ShutdownTimeout)
	refuse(c.RunID == "" || strings.ContainsAny(c.RunID, "/\x00") || c.RunID == "." || c.RunID == "..", "--rdzv-id %q: it names a folder, so it can't be empty or have slashes", c.RunID)
	for _, local := range c.LocalFilter {
		refuse(local >= c.Gpus, "--local-ranks-filter %d: there are local ranks 0 to %d", local, c.Gpus-1)
	}
	return errors.Join(faults...)
}

// nodes is --nnodes as the nodes compare it.
func (c *Config) nodes() string { return fmt.Sprintf("%d:%d", c.MinNodes, c.MaxNodes) }

// RunDir is where the logs and the verdict go.
func (c *Config) RunDir() string { return filepath.Join(c.LogDir, c.RunID) }
