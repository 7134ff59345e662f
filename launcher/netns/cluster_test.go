package netns

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// cluster is the agents of one scenario.
type cluster struct {
	t     *testing.T
	lab   *Lab
	mark  string // in the environment of all of its processes
	dir   string // for the logs, shared by the nodes
	spec  agentSpec
	nodes []*agent
}

// agent is a node's agent, and what it has said.
type agent struct {
	cmd *exec.Cmd

	mu    sync.Mutex
	lines []said        // protected by mu
	done  chan struct{} // closed when it has ended
}

type said struct {
	at   time.Time
	text string
}

func newCluster(t *testing.T, nodes int) *cluster {
	t.Helper()
	name := strings.ToLower(strings.NewReplacer("_", "", "/", "-", ",", "").Replace(filepath.Base(t.Name())))
	lab, err := NewLab(fmt.Sprintf("%.8s", name), nodes)
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{
		t: t, lab: lab, mark: fmt.Sprintf("GORUN_LAB_MARK=%s-%d", name, os.Getpid()), dir: t.TempDir(), nodes: make([]*agent, nodes),
		spec: agentSpec{Gpus: 1, MinNodes: nodes, MaxNodes: nodes, NodeRank: -1, Endpoint: Addr(0) + ":29400", Key: strings.Repeat("k", 32), Run: "lab", Version: "v1"},
	}
	t.Cleanup(c.close)
	return c
}

// start starts a node's agent.
func (c *cluster) start(node int, change ...func(*agentSpec)) {
	c.t.Helper()
	c.startWrapped(node, fmt.Sprintf("node%d", node), nil, change...)
}

func (c *cluster) startWrapped(node int, host string, wrap []string, change ...func(*agentSpec)) {
	c.t.Helper()
	spec := c.spec
	spec.LogDir = c.dir
	for _, f := range change {
		f(&spec)
	}
	b, err := json.Marshal(spec)
	if err != nil {
		c.t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		c.t.Fatal(err)
	}
	a := &agent{cmd: c.lab.Command(node, host, wrap, self), done: make(chan struct{})}
	a.cmd.Env = append(os.Environ(), c.mark, agentEnv+"="+string(b))
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	read, write := io.Pipe()
	a.cmd.Stdout, a.cmd.Stderr = write, write
	if err := a.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	go a.listen(read)
	go func() {
		_ = a.cmd.Wait() // how it ended is not what is tested
		_ = write.Close()
		close(a.done)
	}()
	c.nodes[node] = a
}

func (a *agent) listen(r io.Reader) {
	for lines := bufio.NewScanner(r); lines.Scan(); {
		if strings.Contains(lines.Text(), "xxxx") {
			continue // ranks talk a lot
		}
		a.mu.Lock()
		a.lines = append(a.lines, said{time.Now(), lines.Text()})
		a.mu.Unlock()
	}
}

// find returns the first line that matches, with its groups.
func (a *agent) find(pattern *regexp.Regexp) (time.Time, []string) {
	if a == nil {
		return time.Time{}, nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, l := range a.lines {
		if m := pattern.FindStringSubmatch(l.text); m != nil {
			return l.at, m
		}
	}
	return time.Time{}, nil
}

// await waits until an agent has said something, and returns when it did and the pattern's groups.
func (c *cluster) await(node int, pattern string) (time.Time, []string) {
	c.t.Helper()
	re := regexp.MustCompile(pattern)
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if at, m := c.nodes[node].find(re); m != nil {
			return at, m
		}
	}
	c.t.Fatalf("node %d has not said %q within 30 s; all have said:\n%s", node, pattern, c.said())
	return time.Time{}, nil
}

// said is all that the agents have printed.
func (c *cluster) said() string {
	var b strings.Builder
	for i, a := range c.nodes {
		if a == nil {
			continue
		}
		a.mu.Lock()
		for _, l := range a.lines {
			fmt.Fprintf(&b, "%s node %d: %s\n", l.at.Format("05.000"), i, l.text)
		}
		a.mu.Unlock()
	}
	return b.String()
}

// ranks waits until the ranks of all of these nodes run, and returns their process ids and when the last one said so.
func (c *cluster) ranks(generation, world int, nodes ...int) (pids map[int]int, last time.Time) {
	c.t.Helper()
	pids = map[int]int{}
	for _, node := range nodes {
		at, m := c.await(node, fmt.Sprintf(`rank (\d+) of %d pid (\d+) generation %d`, world, generation))
		if at.After(last) {
			last = at
		}
		pids[node] = number(c.t, m[2])
	}
	return pids, last
}

func number(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// kill sends a signal to a process of the cluster.
func (c *cluster) kill(pid int, sig syscall.Signal) time.Time {
	c.t.Helper()
	now := time.Now()
	if err := syscall.Kill(pid, sig); err != nil {
		c.t.Fatalf("kill %d: %v", pid, err)
	}
	return now
}

// agentPID is the process id of a node's agent.
func (c *cluster) agentPID(node int) int {
	_, m := c.await(node, `^agent pid (\d+)`)
	return number(c.t, m[1])
}

// ended waits until these nodes' agents have ended, and then until no process of theirs is left.
func (c *cluster) ended(nodes ...int) {
	c.t.Helper()
	for _, node := range nodes {
		select {
		case <-c.nodes[node].done:
		case <-time.After(20 * time.Second):
			c.t.Fatalf("node %d's agent has not ended; all have said:\n%s", node, c.said())
		}
	}
}

// orphans returns the processes of the cluster that are left.
func (c *cluster) orphans() (pids []int) {
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, file := range files {
		if b, err := os.ReadFile(file); err == nil && strings.Contains(string(b), c.mark+"\x00") {
			if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// noOrphans fails the test if processes are left although all agents have ended.
func (c *cluster) noOrphans() {
	c.t.Helper()
	var left []int
	for range 200 {
		if left = c.orphans(); len(left) == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	c.t.Errorf("left behind: %v", left)
}

// close ends what is left and removes the lab.
func (c *cluster) close() {
	for _, pid := range c.orphans() {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it is this test's: the mark says so
	}
	for _, a := range c.nodes {
		if a != nil {
			<-a.done
		}
	}
	if err := c.lab.Close(); err != nil {
		c.t.Error(err)
	}
}
