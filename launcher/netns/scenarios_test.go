package netns

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"gorun/tools/skip"
)

// The longest that a verdict may take, on every node.
const (
	processLimit = 5 * time.Second
	nodeLimit    = 10 * time.Second
)

// table collects a row for each scenario; `make test-netns` shows it.
type table struct{ rows []string }

func (tb *table) add(scenario string, times []time.Duration, what string) {
	var cells []string
	for _, d := range times {
		cells = append(cells, fmt.Sprintf("%.2f", d.Seconds()))
	}
	tb.rows = append(tb.rows, fmt.Sprintf("| %s | %s | %s |", scenario, strings.Join(cells, " "), what))
}

func (tb *table) write(t *testing.T) {
	text := "| scenario | seconds, by node | what the nodes say |\n|---|---|---|\n" + strings.Join(tb.rows, "\n") + "\n"
	t.Log("\n" + text)
	if path := os.Getenv("GORUN_NETNS_TABLE"); path != "" {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Error(err)
		}
	}
}

// TestLab plays the scenarios, one after another: they are measured.
func TestLab(t *testing.T) {
	if os.Getenv("GORUN_NETNS") == "" {
		skip.Because(t, "`make test-netns` runs it: it takes minutes")
	}
	if err := Possible(); err != nil {
		skip.Because(t, "no network namespaces here: "+err.Error())
	}
	tb := &table{}
	t.Cleanup(func() { tb.write(t) })
	for _, order := range []string{"0 1 2 3", "3 2 1 0", "1 3 0 2"} {
		t.Run("join "+order, func(t *testing.T) { join(t, tb, order, 0) })
	}
	t.Run("late", func(t *testing.T) { join(t, tb, "0 1", 2*time.Second) })
	t.Run("strangers", func(t *testing.T) { strangers(t, tb) })
	t.Run("port", func(t *testing.T) { portTaken(t, tb) })
	t.Run("twins", func(t *testing.T) { twins(t, tb) })
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) { f.play(t, tb) })
	}
	t.Run("partition", func(t *testing.T) { partition(t, tb) })
	t.Run("one", func(t *testing.T) { oneNode(t) })
	t.Run("spare", func(t *testing.T) { spare(t, tb) })
	t.Run("leader", func(t *testing.T) { leader(t, tb) })
	t.Run("stop", func(t *testing.T) { stop(t, tb) })
}

// join starts the nodes in an order and measures from the last one's start until its ranks, and all others', run.
func join(t *testing.T, tb *table, order string, pause time.Duration) {
	nodes := strings.Fields(order)
	c := newCluster(t, len(nodes))
	var began time.Time
	var all []int
	for i, n := range nodes {
		if i == len(nodes)-1 {
			time.Sleep(pause)
		}
		began = time.Now()
		c.start(number(t, n))
		all = append(all, number(t, n))
	}
	_, last := c.ranks(0, len(nodes), all...)
	tb.add(fmt.Sprintf("nodes start in the order %s, the last one %s after the others", order, pause), []time.Duration{last.Sub(began)}, "all ranks run")
	c.kill(c.agentPID(0), syscall.SIGTERM)
	c.ended(all...)
	c.noOrphans()
}

// strangers: a node with another key, run, version or --nnodes is told of on both sides.
func strangers(t *testing.T, tb *table) {
	c := newCluster(t, 5)
	change := []func(*agentSpec){
		func(s *agentSpec) { s.Key = strings.Repeat("x", 32) },
		func(s *agentSpec) { s.Run = "other" },
		func(s *agentSpec) { s.Version = "v2" },
		func(s *agentSpec) { s.MinNodes = 1 },
	}
	c.start(0)
	for i, f := range change {
		c.start(i+1, f)
	}
	began := time.Now()
	for i, want := range []struct{ name, here, there string }{
		{"wrong key", `what comes from 10\.77\.0\.2 can't be decrypted`, `what comes from 10\.77\.0\.1:29400 can't be decrypted`},
		{"wrong --rdzv-id", `10\.77\.0\.3 is refused: it belongs to the run "other"`, `what listens at 10\.77\.0\.1:29400 closes the connection`},
		{"wrong version", `node node3-.* is refused: it runs gorun v2, this node v1`, `this node can take no part in run "lab": it runs gorun v1, this node v2`},
		{"other --nnodes", `node node4-.* is refused: it was started with --nnodes 1:5, this node with 5:5`, `this node can take no part in run "lab"`},
	} {
		here, _ := c.await(0, want.here)
		there, _ := c.await(i+1, want.there)
		tb.add(want.name, []time.Duration{here.Sub(began), there.Sub(began)}, "both sides name it; "+want.name)
	}
	c.ended(3, 4)
	for _, node := range []int{0, 1, 2} {
		c.kill(c.agentPID(node), syscall.SIGTERM)
	}
	c.ended(0, 1, 2)
	c.noOrphans()
}

// portTaken: an agent of another run has the port at which the others look for this node.
func portTaken(t *testing.T, tb *table) {
	c := newCluster(t, 1)
	c.spec.MinNodes, c.spec.MaxNodes = 2, 2
	c.start(0, func(s *agentSpec) { s.Run = "other" })
	holder := c.agentPID(0)
	time.Sleep(500 * time.Millisecond)
	c.nodes = append(c.nodes, c.nodes[0])
	began := time.Now()
	c.start(0)
	at, _ := c.await(0, `port 29400 of this machine \(10\.77\.0\.1\) is taken, and not by an agent of this run`)
	tb.add("port taken", []time.Duration{at.Sub(began)}, "the agent says so and ends")
	c.ended(0)
	c.kill(holder, syscall.SIGTERM)
	c.ended(1)
	c.noOrphans()
}

// twins: nodes of the same host name are two nodes; of the same --node-rank, the second one is refused until the first
// has gone.
func twins(t *testing.T, tb *table) {
	c := newCluster(t, 3)
	rank := func(n int) func(*agentSpec) {
		return func(s *agentSpec) { s.MinNodes, s.MaxNodes, s.NodeRank = 2, 2, n }
	}
	c.startWrapped(0, "same", nil, rank(0))
	c.startWrapped(1, "same", nil, rank(0))
	began := time.Now()
	here, _ := c.await(0, `node same-.* is refused: --node-rank 0 is taken by node same-`)
	there, _ := c.await(1, `node same-.* is refused: --node-rank 0 is taken by node same-`)
	tb.add("two nodes with one --node-rank", []time.Duration{here.Sub(began), there.Sub(began)}, "both sides name it")
	began = time.Now()
	c.startWrapped(2, "same", nil, rank(1))
	_, last := c.ranks(0, 2, 0, 2)
	tb.add("two nodes with one host name", []time.Duration{last.Sub(began)}, "all ranks run")
	c.kill(c.agentPID(0), syscall.SIGTERM)
	c.kill(c.agentPID(1), syscall.SIGTERM)
	c.ended(0, 1, 2)
	c.noOrphans()
}

// fault is something that breaks a run.
type fault struct {
	name  string
	nodes int
	setUp func(*cluster)                                     // before the agents start
	wrap  []string                                           // runs node 1's agent
	do    func(c *cluster, ranks map[int]int) (at time.Time) // breaks it
	tell  []int                                              // the nodes that must tell
	limit time.Duration
	say   string // pattern of the verdict
	sides bool   // the nodes can't talk to each other: each has a verdict of its own
}

var faults = []fault{
	{name: "kill -9 of a rank", nodes: 4, tell: []int{0, 1, 2, 3}, limit: processLimit, say: `node node1-\w+: rank 1 \(pid \d+\) was killed by SIGKILL.*`,
		do: func(c *cluster, ranks map[int]int) time.Time { return c.kill(ranks[1], syscall.SIGKILL) }},
	{name: "kill -9 of an agent", nodes: 4, tell: []int{0, 1, 3}, limit: nodeLimit, say: `node node2-\w+ does not answer any more.*`,
		do: func(c *cluster, _ map[int]int) time.Time { return c.kill(c.agentPID(2), syscall.SIGKILL) }},
	{name: "kill -9 of the coordinator", nodes: 4, tell: []int{1, 2, 3}, limit: nodeLimit, say: `node node0-\w+ does not answer any more.*`,
		do: func(c *cluster, _ map[int]int) time.Time { return c.kill(c.agentPID(0), syscall.SIGKILL) }},
	{name: "SIGSTOP of a rank (collective timeout 2 s)", nodes: 2, tell: []int{0, 1}, limit: processLimit, say: `node node1-\w+: rank 1 \(pid \d+\) makes no progress.*`,
		do: func(c *cluster, ranks map[int]int) time.Time { return c.kill(ranks[1], syscall.SIGSTOP) }},
	{name: "link down", sides: true, nodes: 2, tell: []int{0, 1}, limit: nodeLimit, say: `node node[01]-\w+ does not answer any more.*`,
		do: func(c *cluster, _ map[int]int) time.Time { return c.cutLink(1) }},
	{name: "kill -9 of a rank, 20 % of all frames lost", nodes: 2, tell: []int{0, 1}, limit: processLimit, say: `node node1-\w+: rank 1 \(pid \d+\) was killed by SIGKILL.*`,
		setUp: func(c *cluster) { c.lab.Lose(0.2) },
		do:    func(c *cluster, ranks map[int]int) time.Time { return c.kill(ranks[1], syscall.SIGKILL) }},
	{name: "a rank fails with a long story, 20 % of all frames lost", nodes: 2, tell: []int{0, 1}, limit: processLimit,
		say:   `node node1-\w+: rank 1 \(pid \d+\) ended with exit code 1 .*stderr: the disk is full`,
		setUp: func(c *cluster) { c.lab.Lose(0.2) },
		do:    func(c *cluster, ranks map[int]int) time.Time { return c.kill(ranks[1], syscall.SIGUSR2) }},
	{name: "kill -9 of a rank, a log disk that takes nothing any more", nodes: 2, tell: []int{0, 1}, limit: processLimit, say: `node node1-\w+: rank 1 \(pid \d+\) was killed by SIGKILL.*`,
		setUp: (*cluster).stuckLogs,
		do: func(c *cluster, ranks map[int]int) time.Time {
			time.Sleep(500 * time.Millisecond)
			return c.kill(ranks[1], syscall.SIGKILL)
		}},
	{name: "kill -9 of a rank, a clock an hour ahead", nodes: 2, tell: []int{0, 1}, limit: processLimit, say: `node node1-\w+: rank 1 \(pid \d+\) was killed by SIGKILL.*`,
		wrap: []string{"unshare", "--time", "--monotonic", "3600", "--boottime", "3600", "--fork", "--kill-child"},
		do:   func(c *cluster, ranks map[int]int) time.Time { return c.kill(ranks[1], syscall.SIGKILL) }},
}

func (f fault) play(t *testing.T, tb *table) {
	c := newCluster(t, f.nodes)
	if f.setUp != nil {
		f.setUp(c)
	}
	var all []int
	for node := range f.nodes {
		rank := func(s *agentSpec) { s.NodeRank = node }
		if node == 1 && f.wrap != nil {
			c.startWrapped(1, "node1", f.wrap, rank)
		} else {
			c.start(node, rank)
		}
		all = append(all, node)
	}
	ranks, _ := c.ranks(0, f.nodes, all...)
	time.Sleep(200 * time.Millisecond) // some steps
	at := f.do(c, ranks)
	times, lines := c.verdict(0, at, f.limit, f.tell...)
	for _, line := range lines {
		if !regexp.MustCompile("^"+f.say).MatchString(line) || line != lines[0] && !f.sides {
			t.Errorf("the verdicts are %q, want %q", lines, f.say)
		}
	}
	tb.add(f.name, times, lines[0])
	c.ended(all...)
	c.noOrphans()
}

// verdict waits for a generation's verdict on these nodes and returns how long each took and what it said.
func (c *cluster) verdict(generation int, since time.Time, limit time.Duration, nodes ...int) (times []time.Duration, lines []string) {
	c.t.Helper()
	for i, node := range nodes {
		at, m := c.await(node, fmt.Sprintf(`^gorun: generation %d: (.*)`, generation))
		times = append(times, at.Sub(since))
		if times[i] > limit {
			c.t.Errorf("node %d took %s, want at most %s", node, times[i], limit)
		}
		lines = append(lines, m[1])
	}
	return times, lines
}

// cutLink takes a node's interface down.
func (c *cluster) cutLink(node int) time.Time {
	now := time.Now()
	if err := c.lab.Link(node, "down"); err != nil {
		c.t.Error(err)
	}
	return now
}

// stuckLogs lays pipes that nobody reads where the ranks' logs go: a disk that hangs.
func (c *cluster) stuckLogs() {
	for rank := range c.nodes {
		dir := filepath.Join(c.dir, c.spec.Run, "attempt_0", fmt.Sprint(rank))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			c.t.Fatal(err)
		}
		if err := syscall.Mkfifo(filepath.Join(dir, "stdout.log"), 0o600); err != nil {
			c.t.Fatal(err)
		}
	}
}

// partition: the side with the first node goes on with a new generation; the other ends; when the network is whole again
// nothing changes for those that run.
func partition(t *testing.T, tb *table) {
	c := newCluster(t, 4)
	c.spec.MinNodes, c.spec.Restarts = 2, 1
	for node := range 4 {
		c.start(node, func(s *agentSpec) { s.NodeRank = node })
	}
	c.ranks(0, 4, 0, 1, 2, 3)
	at := time.Now()
	c.lab.Part(2)
	times, lines := c.verdict(0, at, nodeLimit, 0, 1, 2, 3)
	tb.add("a partition of four nodes, 2:4 wanted", times, lines[0])
	_, last := c.ranks(1, 2, 0, 1)
	c.ended(2, 3)
	if _, m := c.nodes[3].find(regexp.MustCompile(`no restart: 2 of 4 nodes are left here`)); m == nil {
		t.Errorf("the cut-off side does not say why it ends:\n%s", c.said())
	}
	c.lab.Part(0)
	time.Sleep(2 * time.Second)
	if _, m := c.nodes[0].find(regexp.MustCompile(`generation 1: `)); m != nil {
		t.Errorf("the healed network disturbed the run:\n%s", c.said())
	}
	tb.add("... its first side starts again, and runs on when it has healed", []time.Duration{last.Sub(at)}, "generation 1 runs")
	c.kill(c.agentPID(1), syscall.SIGTERM)
	c.ended(0, 1)
	c.noOrphans()
}

// loopback matches a local address of /proc/net/tcp and udp, or tcp6 and udp6, that is not reachable from outside.
var loopback = regexp.MustCompile(`^(0100007F|00000000000000000000000001000000|0000000000000000FFFF00000100007F):`)

// oneNode: a run on one node opens no port beyond loopback.
func oneNode(t *testing.T) {
	c := newCluster(t, 1)
	c.start(0, func(s *agentSpec) { s.Gpus = 2 })
	c.ranks(0, 2, 0)
	open := 0
	for _, table := range []string{"tcp", "tcp6", "udp", "udp6"} {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", c.agentPID(0), table))
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(string(b), "\n")[1:] {
			if words := strings.Fields(line); len(words) > 1 {
				if open++; !loopback.MatchString(words[1]) {
					t.Errorf("open beyond loopback: %s %s", table, line)
				}
			}
		}
	}
	if open == 0 {
		t.Error("no port is open: rank 0's should be")
	}
	c.kill(c.agentPID(0), syscall.SIGTERM)
	c.ended(0)
	c.noOrphans()
}

// spare: a third node, which waits while two run, takes the place of one that dies.
func spare(t *testing.T, tb *table) {
	c := newCluster(t, 3)
	c.spec.MinNodes, c.spec.MaxNodes, c.spec.Restarts = 2, 2, 1
	c.start(0, func(s *agentSpec) { s.NodeRank = 0 })
	c.start(1, func(s *agentSpec) { s.NodeRank = 1 })
	c.ranks(0, 2, 0, 1)
	c.start(2)
	c.agentPID(2)
	time.Sleep(500 * time.Millisecond)
	at := c.kill(c.agentPID(1), syscall.SIGKILL)
	_, last := c.ranks(1, 2, 0, 2)
	tb.add("kill -9 of an agent, a spare node waits", []time.Duration{last.Sub(at)}, "generation 1 runs with the spare")
	c.kill(c.agentPID(2), syscall.SIGTERM)
	c.ended(0, 1, 2)
	c.noOrphans()
}

// leader: the first agent dies, and another one leads the next generation with those that are left.
func leader(t *testing.T, tb *table) {
	c := newCluster(t, 3)
	c.spec.MinNodes, c.spec.Restarts = 2, 1
	for node := range 3 {
		c.start(node, func(s *agentSpec) { s.NodeRank = node })
	}
	c.ranks(0, 3, 0, 1, 2)
	at := c.kill(c.agentPID(0), syscall.SIGKILL)
	_, last := c.ranks(1, 2, 1, 2)
	tb.add("kill -9 of the first agent of three, 2:3 wanted", []time.Duration{last.Sub(at)}, "generation 1 runs with the other two")
	c.kill(c.agentPID(2), syscall.SIGTERM)
	c.ended(0, 1, 2)
	c.noOrphans()
}

// stop: a signal to one agent ends the ranks of all.
func stop(t *testing.T, tb *table) {
	c := newCluster(t, 2)
	c.start(0)
	c.start(1)
	c.ranks(0, 2, 0, 1)
	at := c.kill(c.agentPID(1), syscall.SIGTERM)
	times, lines := c.verdict(0, at, processLimit, 0, 1)
	tb.add("SIGTERM to one agent", times, lines[0])
	c.ended(0, 1)
	c.noOrphans()
}
