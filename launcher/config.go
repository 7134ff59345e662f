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
	RunID   string   // a folder in LogDir

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
	refuse(c.MaxRestarts < 0, "--max-restarts %d: want 0 or more", c.MaxRestarts)
	refuse(c.Tick <= 0, "--monitor-interval %s: want more than 0", c.Tick)
	refuse(c.ShutdownTimeout <= 0, "--shutdown-timeout %s: want more than 0", c.ShutdownTimeout)
	refuse(c.RunID == "" || strings.ContainsAny(c.RunID, "/\x00") || c.RunID == "." || c.RunID == "..", "--rdzv-id %q: it names a folder, so it can't be empty or have slashes", c.RunID)
	for _, local := range c.LocalFilter {
		refuse(local >= c.Gpus, "--local-ranks-filter %d: there are local ranks 0 to %d", local, c.Gpus-1)
	}
	return errors.Join(faults...)
}

// RunDir is where the logs and the verdict go.
func (c *Config) RunDir() string { return filepath.Join(c.LogDir, c.RunID) }
