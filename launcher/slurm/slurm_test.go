package slurm

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestHostlist: what 'scontrol show hostnames' of Slurm 22.05 prints for the same lists.
func TestHostlist(t *testing.T) {
	for _, tt := range []struct {
		list string
		want string
	}{
		{"login", "login"},
		{"n1,n2", "n1 n2"},
		{"n[1-3]", "n1 n2 n3"},
		{"n[08-11,7]", "n08 n09 n10 n11 n7"},
		{"n[098-101]", "n098 n099 n100 n101"},
		{"a[1-2]b,c", "a1b a2b c"},
		{"r[0-1]n[1-2]", "r0n1 r0n2 r1n1 r1n2"},
		{"gpu-[5]-ib.cluster", "gpu-5-ib.cluster"},
		{"[1-2]", "1 2"},
	} {
		got, err := ParseHostlist(tt.list)
		if err != nil || strings.Join(got, " ") != tt.want {
			t.Errorf("%s is %q, %v, want %q", tt.list, got, err, tt.want)
		}
	}
	for _, bad := range []string{"", ",", "n1,", "n[", "n]", "n[1", "n[]", "n[1-]", "n[3-1]", "n[a]", "n[[1]]", "n[1,]", "n[0-65536]", "n[0-255]m[0-256]",
		"n[-1]", "n[+1]", "n[1-2-3]", "n 1", "n\n", "n$x", "n[99999999999999999999]", strings.Repeat("n", 256)} {
		if got, err := ParseHostlist(bad); err == nil {
			t.Errorf("%q was taken, as %d nodes", short(bad), len(got))
		}
	}
}

// FuzzHostlist: any text is a bounded list of names without odd characters, or an error.
func FuzzHostlist(f *testing.F) {
	for _, seed := range []string{"n[08-11,7],m", "r[0-1]n[1-2]-ib", "n[0-99999999]", "a[1-9][1-9][1-9][1-9][1-9]", "n[1", "],["} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, list string) {
		nodes, err := ParseHostlist(list)
		if err != nil {
			return
		}
		if len(nodes) == 0 || len(nodes) > maxNodes {
			t.Errorf("%d nodes", len(nodes))
		}
		again, err := ParseHostlist(strings.Join(nodes, ","))
		if err != nil || !slices.Equal(again, nodes) {
			t.Errorf("%q written out is another list (%v)", list, err)
		}
	})
}

func TestCounts(t *testing.T) {
	got, err := parseCounts("2(x3),1", 4)
	if err != nil || !slices.Equal(got, []int{2, 2, 2, 1}) {
		t.Errorf("got %v, %v", got, err)
	}
	for _, bad := range []string{"", "2", "2(x5)", "2(x", "2(x3)", "2(x3),x", "-1(x4),1", "2(x1000000000),1", "1,1,1,1,1"} {
		if got, err := parseCounts(bad, 4); err == nil {
			t.Errorf("%q was taken, as %v", bad, got)
		}
	}
}

// FuzzCounts: any text is one count for each node, or an error.
func FuzzCounts(f *testing.F) {
	for _, seed := range []string{"2(x3),1", "1", "2(x1000000000)", "1(x", "-1"} {
		f.Add(seed, 4)
	}
	f.Fuzz(func(t *testing.T, text string, nodes int) {
		nodes = min(max(nodes, 1), maxNodes)
		if got, err := parseCounts(text, nodes); err == nil && (len(got) != nodes || slices.Min(got) < 0) {
			t.Errorf("%q for %d nodes is %v", text, nodes, got)
		}
	})
}

// second is the environment of task 2 of 'srun -N2 --ntasks-per-node=2', as Slurm 22.05 gives it.
var second = map[string]string{
	"SLURM_CLUSTER_NAME": "gorun", "SLURM_JOB_ID": "17", "SLURM_JOB_NODELIST": "n[1-4]", "SLURM_LOCALID": "0", "SLURM_NNODES": "2",
	"SLURM_NODEID": "1", "SLURM_NTASKS": "4", "SLURM_PROCID": "2", "SLURM_STEP_ID": "0", "SLURM_STEP_NODELIST": "n[1-2]",
	"SLURM_STEP_NUM_NODES": "2", "SLURM_STEP_TASKS_PER_NODE": "2(x2)", "SLURM_TASKS_PER_NODE": "2(x2)",
}

// with is second with changes; "-" removes a variable.
func with(changes map[string]string) func(string) string {
	env := maps.Clone(second)
	for name, value := range changes {
		if env[name] = value; value == "-" {
			delete(env, name)
		}
	}
	return func(name string) string { return env[name] }
}

func TestFromEnv(t *testing.T) {
	s, err := FromEnv(with(map[string]string{"SLURM_RESTART_COUNT": "3", "SLURM_GPUS_ON_NODE": "2", "SLURM_JOB_END_TIME": "1700000000"}))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(s.Nodes, []string{"n1", "n2"}) || s.Node() != "n2" || s.Task != 2 || s.LocalTask != 0 || s.LocalTasks != 2 || s.GPUs != 2 {
		t.Errorf("the step is %+v", s)
	}
	if s.ID() != "slurm-17.0-3" || s.Endpoint() != "n1:15020" || !s.End.Equal(time.Unix(1700000000, 0)) {
		t.Errorf("id %s, endpoint %s, end %s", s.ID(), s.Endpoint(), s.End)
	}
	for _, outside := range []string{"SLURM_STEP_ID", "SLURM_JOB_ID"} {
		if s, err := FromEnv(with(map[string]string{outside: "-"})); s != nil || err != nil {
			t.Errorf("without %s it is %+v, %v", outside, s, err)
		}
	}
}

// TestFromEnvFaults: what does not fit together is an error that names the variable.
func TestFromEnvFaults(t *testing.T) {
	for name, value := range map[string]string{
		"SLURM_NODEID": "2", "SLURM_LOCALID": "2", "SLURM_PROCID": "x", "SLURM_STEP_NODELIST": "n[1-", "SLURM_STEP_NUM_NODES": "3",
		"SLURM_STEP_TASKS_PER_NODE": "2", "SLURM_HET_SIZE": "2", "SLURM_RESTART_COUNT": "-1", "SLURM_JOB_ID": "../x",
	} {
		if _, err := FromEnv(with(map[string]string{name: value})); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s=%s: %v", name, value, err)
		}
	}
	if _, err := FromEnv(with(map[string]string{"SLURM_STEP_TASKS_PER_NODE": "0,2"})); err == nil || !strings.Contains(err.Error(), "--ntasks-per-node") {
		t.Errorf("a node without a task: %v", err)
	}
	_, err := FromEnv(with(map[string]string{"SLURM_PROCID": "x", "SLURM_LOCALID": "y"}))
	if err == nil || !strings.Contains(err.Error(), "SLURM_PROCID") || !strings.Contains(err.Error(), "SLURM_LOCALID") {
		t.Errorf("two faults: %v", err)
	}
}

func step(t *testing.T) *Step {
	t.Helper()
	s, err := FromEnv(with(nil))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestKey: one key for all tasks of a start, another one for every other start; the secret is made once.
func TestKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gorun", "secret")
	keys := make(chan string, 8)
	for range cap(keys) {
		go func() {
			key, err := step(t).Key(path)
			if err != nil {
				t.Error(err)
			}
			keys <- string(key)
		}()
	}
	first := <-keys
	for range cap(keys) - 1 {
		if <-keys != first {
			t.Error("tasks of one step have several keys")
		}
	}
	for name, value := range map[string]string{"SLURM_RESTART_COUNT": "1", "SLURM_STEP_ID": "1", "SLURM_JOB_ID": "18", "SLURM_CLUSTER_NAME": "other"} {
		s, err := FromEnv(with(map[string]string{name: value}))
		if err != nil {
			t.Fatal(err)
		}
		if key, err := s.Key(path); err != nil || string(key) == first {
			t.Errorf("with %s=%s it is the same key (%v)", name, value, err)
		}
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("the folder has %v, %v", left, err)
	}
}

// TestKeyRefuses: a secret that others may know or have chosen.
func TestKeyRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, text, want string
		mode             os.FileMode
	}{
		{"others may read it", strings.Repeat("ab", 32), "by others", 0o640},
		{"too short", "abcd\n", "hexadecimal", 0o600},
		{"empty", "", "secret", 0o600},
		{"no hexadecimal digits", strings.Repeat("xy", 32), "hexadecimal", 0o600},
	} {
		path := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, tt.mode); err != nil {
			t.Fatal(err)
		}
		if _, err := step(t).Key(path); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
		link := filepath.Join(filepath.Dir(path), "link")
		if err := os.Symlink(path, link); err != nil {
			t.Fatal(err)
		}
		if _, err := step(t).Key(link); err == nil {
			t.Errorf("%s, by a link: no error", tt.name)
		}
	}
}

// ownJob is the id of a job that no other process has a socket for.
func ownJob(t *testing.T) string { return fmt.Sprintf("%s-%d", t.Name(), os.Getpid()) }

// TestStandBy: a task ends when its agent does, and not before, however long the node's name.
func TestStandBy(t *testing.T) {
	s := step(t)
	s.JobID = ownJob(t)
	s.Nodes[s.NodeRank] = strings.Repeat("n", maxName)
	done := make(chan error, 2)
	for range cap(done) {
		go func() { done <- s.StandBy(context.Background(), time.Minute) }()
	}
	agent, err := s.Lead()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Lead(); err == nil {
		t.Error("a node has two agents")
	}
	select {
	case err := <-done:
		t.Fatalf("a task did not wait for its agent: %v", err)
	case <-time.After(3 * standbyRetry):
	}
	if err := agent.Close(); err != nil {
		t.Error(err)
	}
	for range cap(done) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestStandByEnds(t *testing.T) {
	s := step(t)
	s.JobID = ownJob(t)
	if err := s.StandBy(t.Context(), 0); err == nil || !strings.Contains(err.Error(), "no agent") {
		t.Errorf("without an agent: %v", err)
	}
	agent, err := s.Lead()
	if err != nil {
		t.Fatal(err)
	}
	defer agent.Close() //nolint:errcheck // the test is over
	ctx, cancel := context.WithTimeout(t.Context(), 3*standbyRetry)
	defer cancel()
	if err := s.StandBy(ctx, time.Minute); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestParseJob(t *testing.T) {
	for line, want := range map[string]Job{
		"JobId=3 JobState=RUNNING Requeue=1 BatchFlag=1 PreemptEligibleTime=2026-11-25T08:00:00 PreemptTime=None": {Batch: true, Running: true},
		"JobId=3 JobState=RUNNING BatchFlag=1 PreemptTime=2026-11-25T08:00:00":                                    {Batch: true, Running: true, Preempted: true},
		"JobId=3 JobState=CANCELLED BatchFlag=2 PreemptTime=None":                                                 {Batch: true},
		"JobId=3 JobState=RUNNING BatchFlag=0 PreemptTime=None":                                                   {Running: true},
		"": {},
	} {
		if got := parseJob(line); got != want {
			t.Errorf("%q is %+v, want %+v", line, got, want)
		}
	}
}

// TestAddress: a name that is not this machine's, or only of loopback, gives no address.
func TestAddress(t *testing.T) {
	for _, name := range []string{"localhost", "127.0.0.1", "no-such-node.invalid"} {
		if got := (&Step{Nodes: []string{name}}).Address(); got != "" {
			t.Errorf("%s gives %s", name, got)
		}
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range own {
		if ip := a.(*net.IPNet).IP; !ip.IsLoopback() && ip.To4() != nil {
			if got := (&Step{Nodes: []string{ip.String()}}).Address(); got != ip.String() {
				t.Errorf("this machine's %s gives %q", ip, got)
			}
		}
	}
}
