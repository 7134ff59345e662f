package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"gorun/launcher"
	"gorun/launcher/gossip"
)

// nodeFlags say which machines take part and how they meet: torchrun's rendezvous. The same line works on all of them,
// but for --node-rank and --local-addr.
type nodeFlags struct {
	Nnodes       string `default:"1" env:"PET_NNODES" placeholder:"N|MIN:MAX" help:"Machines that take part (1). With MIN:MAX a run goes on, after a restart, with as few as MIN."`
	NodeRank     *int   `env:"PET_NODE_RANK" placeholder:"N" help:"Place of this machine among the nodes, from 0 (any)."`
	RdzvEndpoint string `env:"PET_RDZV_ENDPOINT" placeholder:"HOST[:PORT],..." help:"Where nodes meet: one or several of them. All nodes use its port, for TCP and UDP (29400)."`
	RdzvID       string `name:"rdzv-id" env:"PET_RDZV_ID" placeholder:"NAME" help:"Name of the run among the nodes, and folder of this launch in --log-dir (launch)."`
	RdzvBackend  string `env:"PET_RDZV_BACKEND" placeholder:"NAME" help:"gossip. torchrun's c10d and static are taken for it."`
	RdzvConf     string `env:"PET_RDZV_CONF" placeholder:"KEY=VALUE,..." help:"join_timeout: seconds to wait for MIN nodes (600). last_call_timeout: with MIN there, seconds to wait for more (30)."`
	MasterAddr   string `env:"PET_MASTER_ADDR" placeholder:"HOST" help:"The same as --rdzv-endpoint HOST with --master-port."`
	MasterPort   int    `default:"29500" env:"PET_MASTER_PORT" placeholder:"PORT" help:"Port for --master-addr."`
	LocalAddr    string `env:"PET_LOCAL_ADDR" placeholder:"ADDRESS" help:"Address of this machine for the other nodes (the one that leads to --rdzv-endpoint)."`
	Standalone   bool   `env:"PET_STANDALONE" help:"One machine, and no port open to others: what one node is without it, too."`
	KeyFile      string `env:"GORUN_KEY_FILE" placeholder:"FILE" help:"The key by which nodes know each other: 64 hexadecimal digits, the same on all ('openssl rand -hex 32'). Or in GORUN_JOB_KEY."`

	key []byte // that Slurm's nodes know each other by; nil = the user's
}

// oneNode tells whether this machine is the only one.
func (f *nodeFlags) oneNode() bool { return f.Nnodes == "1" || f.Nnodes == "1:1" }

// meeting are the flags given that say how nodes meet.
func (f *nodeFlags) meeting() (flags []string) {
	for _, g := range []struct {
		flag  string
		given bool
	}{
		{"--node-rank", f.NodeRank != nil}, {"--rdzv-endpoint", f.RdzvEndpoint != ""}, {"--rdzv-id", f.RdzvID != ""},
		{"--rdzv-backend", f.RdzvBackend != ""}, {"--master-addr", f.MasterAddr != ""}, {"--local-addr", f.LocalAddr != ""},
		{"--standalone", f.Standalone}, {"--key-file", f.KeyFile != ""},
	} {
		if g.given {
			flags = append(flags, g.flag)
		}
	}
	return flags
}

// place fills in what the agent must know of the other nodes.
func (f *nodeFlags) place(c *launcher.Config, a *app) error {
	var faults []error
	fault := func(err error) { faults = append(faults, err) }
	var err error
	if c.MinNodes, c.MaxNodes, err = launcher.ParseNodes(f.Nnodes); err != nil {
		return err
	}
	if f.RdzvID != "" {
		c.RunID = f.RdzvID
	}
	if c.NodeRank = -1; f.NodeRank != nil {
		c.NodeRank = *f.NodeRank
	}
	if f.Standalone && c.MaxNodes > 1 {
		fault(fmt.Errorf("--standalone and --nnodes %s: leave one of them away", f.Nnodes))
	}
	if f.MasterPort < 1 || f.MasterPort > 65535 {
		fault(fmt.Errorf("--master-port %d: want 1 to 65535", f.MasterPort))
	}
	c.LocalAddr = f.LocalAddr
	c.Endpoints, err = f.endpoints()
	fault(err)
	fault(f.backend(c, a))
	c.JoinTimeout, c.LastCall, err = f.timeouts(a)
	fault(err)
	if c.Key = f.key; c.MaxNodes > 1 && c.Key == nil {
		c.Key, err = gossip.ReadKey(f.KeyFile, os.Getenv("GORUN_JOB_KEY"))
		fault(err)
	}
	return errors.Join(faults...)
}

// endpoints reads --rdzv-endpoint or, as torchrun's static rendezvous has it, --master-addr and --master-port.
func (f *nodeFlags) endpoints() ([]string, error) {
	switch {
	case f.RdzvEndpoint != "":
		out, err := launcher.ParseEndpoints(f.RdzvEndpoint, gossip.DefaultPort)
		if err != nil {
			return nil, fmt.Errorf("--rdzv-endpoint %w", err)
		}
		return out, nil
	case f.MasterAddr != "":
		out, err := launcher.ParseEndpoints(f.MasterAddr, f.MasterPort)
		if err != nil {
			return nil, fmt.Errorf("--master-addr %w", err)
		}
		return out, nil
	}
	return nil, nil
}

func (f *nodeFlags) backend(c *launcher.Config, a *app) error {
	switch f.RdzvBackend {
	case "", "gossip":
	case "c10d", "static":
		if c.MaxNodes > 1 {
			a.log.Info().Msgf("--rdzv-backend %s: nodes of gorun meet by gossip, at the same endpoint", f.RdzvBackend)
		}
	default:
		return fmt.Errorf("--rdzv-backend %s: nodes of gorun meet by gossip and need no other server: leave the flag away and name one of them with --rdzv-endpoint", f.RdzvBackend)
	}
	return nil
}

// idleConf are torchrun's settings of its store, which gorun does not have.
var idleConf = map[string]bool{
	"timeout": true, "read_timeout": true, "close_timeout": true, "keep_alive_interval": true, "keep_alive_max_attempt": true,
	"heartbeat_timeout": true, "is_host": true, "store_type": true, "rank": true,
}

// timeouts reads --rdzv-conf.
func (f *nodeFlags) timeouts(a *app) (join, lastCall time.Duration, err error) {
	join, lastCall = 10*time.Minute, 30*time.Second
	for _, pair := range strings.FieldsFunc(f.RdzvConf, func(r rune) bool { return r == ',' }) {
		key, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
		if idleConf[key] {
			a.log.Info().Msgf("--rdzv-conf %s has no meaning for gorun", key)
			continue
		}
		n, bad := strconv.ParseFloat(value, 64)
		switch {
		case key != "join_timeout" && key != "last_call_timeout":
			return 0, 0, fmt.Errorf("--rdzv-conf %q: want join_timeout=SECONDS or last_call_timeout=SECONDS, with commas between", pair)
		case bad != nil || n < 0 || n > 1e6:
			return 0, 0, fmt.Errorf("--rdzv-conf %q: want a number of seconds", pair)
		case key == "join_timeout":
			join = time.Duration(n * float64(time.Second))
		default:
			lastCall = time.Duration(n * float64(time.Second))
		}
	}
	return join, lastCall, nil
}
