package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// torchrunFlags are all flags of torchrun 2.15's command line. Each is understood, in torchrun's spellings, or refused
// with a reason; env is the variable that gives it too.
var torchrunFlags = []struct {
	args string
	env  string
	want func(*trainCmd) any // nil: refused
	is   string
}{
	{"--nnodes=1:4", "PET_NNODES", func(c *trainCmd) any { return c.Nnodes }, "1:4"},
	{"--nproc-per-node=8", "PET_NPROC_PER_NODE", func(c *trainCmd) any { return c.Gpus }, "8"},
	{"--nproc_per_node=auto", "PET_NPROC_PER_NODE", func(c *trainCmd) any { return c.Gpus }, "auto"},
	{"--rdzv-backend=c10d", "PET_RDZV_BACKEND", func(c *trainCmd) any { return c.RdzvBackend }, "c10d"},
	{"--rdzv_endpoint=host:29400", "PET_RDZV_ENDPOINT", func(c *trainCmd) any { return c.RdzvEndpoint }, "host:29400"},
	{"--rdzv-id=456", "PET_RDZV_ID", func(c *trainCmd) any { return c.RdzvID }, "456"},
	{"--rdzv-conf=join_timeout=60", "PET_RDZV_CONF", func(c *trainCmd) any { return c.RdzvConf }, "join_timeout=60"},
	{"--standalone", "", func(c *trainCmd) any { return c.Standalone }, "true"},
	{"--max-restarts=3", "PET_MAX_RESTARTS", func(c *trainCmd) any { return c.MaxRestarts }, "3"},
	{"--monitor_interval=0.5", "PET_MONITOR_INTERVAL", func(c *trainCmd) any { return *c.MonitorInterval }, "0.5"},
	{"--log-dir=d", "PET_LOG_DIR", func(c *trainCmd) any { return c.LogDir }, "d"},
	{"--redirects=3", "PET_REDIRECTS", func(c *trainCmd) any { return c.Redirects }, "3"},
	{"-r 0:1", "", func(c *trainCmd) any { return c.Redirects }, "0:1"},
	{"--tee=3", "PET_TEE", func(c *trainCmd) any { return c.Tee }, "3"},
	{"-t 3", "", func(c *trainCmd) any { return c.Tee }, "3"},
	{"--local_ranks_filter=0,1", "PET_LOCAL_RANKS_FILTER", func(c *trainCmd) any { return c.LocalRanksFilter }, "0,1"},
	{"--node-rank=1", "PET_NODE_RANK", func(c *trainCmd) any { return *c.NodeRank }, "1"},
	{"--master_addr=host", "PET_MASTER_ADDR", func(c *trainCmd) any { return c.MasterAddr }, "host"},
	{"--master-port=1234", "PET_MASTER_PORT", func(c *trainCmd) any { return c.MasterPort }, "1234"},
	{"--local-addr=10.0.0.1", "PET_LOCAL_ADDR", func(c *trainCmd) any { return c.LocalAddr }, "10.0.0.1"},
	{"--shutdown_timeout=5", "PET_SHUTDOWN_TIMEOUT", func(c *trainCmd) any { return *c.ShutdownTimeout }, "5"},
	{args: "--start-method=spawn"}, {args: "--event_log_handler=null"}, {args: "--role=trainer"}, {args: "-m"}, {args: "--module"},
	{args: "--no-python"}, {args: "--run_path"}, {args: "--log-line-prefix-template=x"}, {args: "--duplicate-stdout-filters=x"},
	{args: "--duplicate_stderr_filters=x"}, {args: "--logs-specs=x"}, {args: "--numa-binding=node"}, {args: "--signals-to-handle=SIGTERM"},
	{args: "--virtual-local-rank"}, {args: "--print-completion=bash"},
}

func TestTorchrunFlags(t *testing.T) {
	parse := func(args ...string) (*trainCmd, error) {
		var c cli
		parser, err := kong.New(&c)
		if err != nil {
			t.Fatal(err)
		}
		_, err = parser.Parse(hyphens(append(args, "r.toml")))
		return &c.Train, err
	}
	for _, tt := range torchrunFlags {
		t.Run(tt.args, func(t *testing.T) {
			if tt.want == nil {
				var stderr bytes.Buffer
				code := run(t.Context(), []string{tt.args, "r.toml"}, nil, &stderr, &stderr)
				if code != exitUsage || !strings.Contains(stderr.String(), "leave it away") {
					t.Errorf("exit code %d, %q", code, &stderr)
				}
				return
			}
			c, err := parse(strings.Fields(tt.args)...)
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(tt.want(c)); got != tt.is {
				t.Errorf("it is understood as %q, want %q", got, tt.is)
			}
			if tt.env == "" {
				return
			}
			t.Setenv(tt.env, tt.is)
			if c, err = parse(); err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(tt.want(c)); got != tt.is {
				t.Errorf("%s is understood as %q, want %q", tt.env, got, tt.is)
			}
		})
	}
}
