package launcher

import (
	"encoding/hex"
	"fmt"
	"net"
	"strconv"
	"strings"

	"gorun/launcher/rdzv"
)

// rankEnv is what a rank finds in its environment beyond the agent's own: torchrun's names, and gorun's. key is the
// run's secret, by which its ranks know each other.
func (c *Config) rankEnv(p *rdzv.Plan, key []byte, group, local int) []string {
	first, world := p.FirstRank(group), p.World()
	pairs := []struct {
		name  string
		value any
	}{
		{"RANK", first + local}, {"LOCAL_RANK", local}, {"WORLD_SIZE", world}, {"LOCAL_WORLD_SIZE", p.Nodes[group].Slots},
		{"GROUP_RANK", group}, {"GROUP_WORLD_SIZE", len(p.Nodes)},
		{"ROLE_NAME", "default"}, {"ROLE_RANK", first + local}, {"ROLE_WORLD_SIZE", world},
		{"MASTER_ADDR", p.MasterAddr}, {"MASTER_PORT", p.MasterPort},
		{"TORCHELASTIC_RESTART_COUNT", p.Gen}, {"TORCHELASTIC_MAX_RESTARTS", c.MaxRestarts}, {"TORCHELASTIC_RUN_ID", c.RunID},
		{"GORUN_GENERATION", p.Gen}, {"GORUN_JOB_KEY", hex.EncodeToString(key)},
	}
	var env []string
	for _, kv := range pairs {
		env = append(env, fmt.Sprintf("%s=%v", kv.name, kv.value))
	}
	return append(env, peerEnv(p, group)...)
}

// peerEnv tells a rank where the nodes of a plan give files to each other, and which of them its own is.
func peerEnv(p *rdzv.Plan, group int) []string {
	var addrs []string
	self := -1
	for i, m := range p.Nodes {
		if m.Files == 0 {
			continue
		}
		if i == group {
			self = len(addrs)
		}
		addrs = append(addrs, net.JoinHostPort(m.Addr, strconv.Itoa(m.Files)))
	}
	if self < 0 || len(addrs) < 2 {
		return nil
	}
	return []string{"GORUN_PEERS=" + strings.Join(addrs, ","), fmt.Sprint("GORUN_PEER=", self)}
}

// inherited drops the names that rankEnv sets from the agent's environment.
func inherited(agent, set []string) (out []string) {
	ours := map[string]bool{}
	for _, kv := range set {
		name, _, _ := strings.Cut(kv, "=")
		ours[name] = true
	}
	for _, kv := range agent {
		if name, _, _ := strings.Cut(kv, "="); !ours[name] {
			out = append(out, kv)
		}
	}
	return append(out, set...)
}
