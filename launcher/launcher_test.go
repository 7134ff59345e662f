package launcher

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"gorun/launcher/rdzv"
	"gorun/tools/syncbuf"
)

// roleEnv makes the test binary a rank that behaves as its value says.
const roleEnv = "GORUN_TEST_RANK"

func TestMain(m *testing.M) {
	if dir := os.Getenv(agentEnv); dir != "" {
		os.Exit(agentMain(dir))
	}
	if role := os.Getenv(roleEnv); role != "" {
		os.Exit(rankMain(role))
	}
	goleak.VerifyTestMain(m)
}

// agentEnv makes the test binary an agent with two ranks; its value is the folder of the logs.
const agentEnv = "GORUN_TEST_AGENT"

func agentMain(dir string) int {
	if err := os.Unsetenv(agentEnv); err != nil { // its ranks are none
		return 2
	}
	c := baseConfig(dir, 2)
	c.Out, c.Err = os.Stdout, os.Stderr
	if err := Run(context.Background(), c, nil); err != nil {
		return 1
	}
	return 0
}

// rankMain is a rank for the tests: "ok", "crash=R" (rank R kills itself), "fail=R" (rank R ends with code 1), "hungry=R"
// (rank R takes too much memory), "hang=R" (rank R stops), each when the others are inside a collective, "wait" (until
// SIGTERM), "deaf" (ignores SIGTERM), "chatty" (says something three times and ends), "refuse" (tells its agent why it
// ends, in three lines, and what is for its log); with "once:" before it only in generation 0.
func rankMain(role string) int {
	events := os.NewFile(3, "events")
	if rest, once := strings.CutPrefix(role, "once:"); once {
		if role = rest; os.Getenv("GORUN_GENERATION") != "0" {
			role = "ok"
		}
	}
	rank := os.Getenv("RANK")
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	if role == "deaf" {
		signal.Reset(syscall.SIGTERM)
		signal.Ignore(syscall.SIGTERM)
	}
	fmt.Printf("rank %s of %s\n", rank, os.Getenv("WORLD_SIZE"))
	if dir := os.Getenv("GORUN_TEST_PIDS"); dir != "" {
		if err := os.WriteFile(filepath.Join(dir, rank), []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
			return 5
		}
	}
	fmt.Fprintln(events, `{"event":"step","step":7}`)
	verb, who, _ := strings.Cut(role, "=")
	switch verb {
	case "ok":
		return 0
	case "chatty":
		for range 3 {
			fmt.Println("still here")
			time.Sleep(50 * time.Millisecond) // each by itself through the pipe
		}
		return 0
	case "refuse":
		fmt.Fprintln(os.Stderr, "a word of warning")
		fmt.Fprintln(events, `{"event":"log","text":"rank `+rank+`: the last collectives:"}`)
		fmt.Fprintln(events, `{"event":"failed","text":"no plugin is installed:\nrun 'gorun setup'\nor give --plugin"}`)
		return 1
	}
	if verb == "wait" || verb == "deaf" || who != rank {
		fmt.Fprintln(events, `{"event":"collective","op":"all-gather block 7","seq":9,"state":"begin"}`)
		if err := come(rank); err != nil {
			return 5
		}
		select {
		case <-term:
			return 0
		case <-time.After(30 * time.Second):
			return 3
		}
	}
	fmt.Fprintln(events, `{"event":"collective","op":"all-gather block 6","seq":8,"state":"end"}`)
	if !othersCome() {
		return 5
	}
	switch verb {
	case "crash":
		fmt.Fprintln(os.Stderr, "about to die")
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case "fail":
		fmt.Fprintln(os.Stderr, "disk full")
		return 1
	case "hungry":
		starve()
		return 6
	case "hang":
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	}
	time.Sleep(30 * time.Second) // the signal may reach another thread first
	return 4
}

// meetEnv names the folder in which ranks say that they are inside their collective.
const meetEnv = "GORUN_TEST_MEET"

func come(rank string) error {
	return os.WriteFile(filepath.Join(os.Getenv(meetEnv), rank), nil, 0o600)
}

// othersCome waits until all ranks but this one are inside their collective; false if they do not come.
func othersCome() bool {
	world, err := strconv.Atoi(os.Getenv("WORLD_SIZE"))
	if err != nil {
		return false
	}
	for range 3000 {
		if here, err := os.ReadDir(os.Getenv(meetEnv)); err == nil && len(here) == world-1 {
			return true
		}
		time.Sleep(10 * time.Millisecond)
	}
	return false
}

// baseConfig runs n ranks of this test binary.
func baseConfig(dir string, n int) *Config {
	return &Config{
		Command: []string{os.Args[0]}, Gpus: n, RunID: "test", MinNodes: 1, MaxNodes: 1, NodeRank: -1, Tick: 50 * time.Millisecond,
		ShutdownTimeout: 20 * time.Second, LogDir: dir, Log: zerolog.Nop(),
	}
}

// setRole says how the ranks of the test behave.
func setRole(t *testing.T, role string) {
	t.Helper()
	t.Setenv(roleEnv, role)
	t.Setenv(meetEnv, t.TempDir())
}

func testConfig(t *testing.T, role string, n int) (c *Config, out, errs *syncbuf.Buffer) {
	t.Helper()
	setRole(t, role)
	c, out, errs = baseConfig(t.TempDir(), n), &syncbuf.Buffer{}, &syncbuf.Buffer{}
	c.Out, c.Err = out, errs
	return c, out, errs
}

func verdictOf(t *testing.T, err error) *rdzv.Verdict {
	t.Helper()
	var ended *Ended
	if !errors.As(err, &ended) {
		t.Fatalf("ended with %v, want a verdict", err)
	}
	return ended.Verdict
}

func TestOneNodeEndsWell(t *testing.T) {
	c, out, _ := testConfig(t, "ok", 2)
	if err := Run(t.Context(), c, nil); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"[0]: rank 0 of 2\n", "[1]: rank 1 of 2\n"} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("the console shows %q, want %q in it", out.String(), line)
		}
	}
	b, err := os.ReadFile(filepath.Join(c.RunDir(), "attempt_0", "1", "stdout.log"))
	if err != nil || string(b) != "rank 1 of 2\n" {
		t.Errorf("rank 1's log is %q, %v", b, err)
	}
}

// TestFullDisk: a log that can't be written ends the log, not the rank: what the rank says is still shown, and the user
// hears of it once.
func TestFullDisk(t *testing.T) {
	c, out, _ := testConfig(t, "chatty", 1)
	logs, said := filepath.Join(c.RunDir(), "attempt_0", "0"), &syncbuf.Buffer{}
	c.Log = zerolog.New(said)
	if err := os.MkdirAll(logs, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/full", filepath.Join(logs, "stdout.log")); err != nil {
		t.Fatal(err)
	}
	if err := Run(t.Context(), c, nil); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), "still here\n"); n != 3 {
		t.Errorf("%d lines are shown, want 3:\n%s", n, out)
	}
	if n := strings.Count(said.String(), "no space left on device"); n != 1 || !strings.Contains(said.String(), "the stdout of rank 0 is logged no further") {
		t.Errorf("the user hears %d times of it:\n%s", n, said)
	}
}

func TestVerdicts(t *testing.T) {
	tests := []struct {
		role string
		says []string
	}{
		{"crash=1", []string{"rank 1 (pid ", "was killed by SIGKILL", "after step 7, last collective all-gather block 6 (number 8)", "had not arrived: ranks 1", "stderr: about to die"}},
		{"fail=0", []string{"rank 0 (pid ", "ended with exit code 1", "stderr: disk full"}},
		{"hang=1", []string{"rank 1 (pid ", "makes no progress", "rank 0 waits for it in all-gather block 7 (number 9)", "had not arrived: ranks 1"}},
	}
	for _, tt := range tests {
		t.Run(tt.role, func(t *testing.T) {
			c, _, errs := testConfig(t, tt.role, 2)
			if tt.role == "hang=1" {
				c.HangTimeout = time.Second
			}
			began := time.Now()
			line := verdictOf(t, Run(t.Context(), c, nil)).Line()
			if took := time.Since(began); took > 20*time.Second { // make test-netns measures; the others would wait for 30 s
				t.Errorf("the verdict took %s", took)
			}
			var why strings.Builder
			if err := Why(&why, c.RunDir()); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(errs.String(), "SIGABRT: abort") {
				t.Error("the console shows how aborted ranks ended")
			}
			for _, text := range tt.says {
				if !strings.Contains(line, text) {
					t.Errorf("the verdict is %q, want %q in it", line, text)
				}
			}
			if !strings.Contains(errs.String(), line) || !strings.Contains(why.String(), line) {
				t.Errorf("the verdict %q is not on the console %q or not in why %q", line, errs, why.String())
			}
		})
	}
}

// TestAlike: what all ranks end with is told once, whole, before the verdict, which comes last; what is for a rank's log is
// there alone.
func TestAlike(t *testing.T) {
	c, _, errs := testConfig(t, "refuse", 2)
	v := verdictOf(t, Run(t.Context(), c, nil))
	log := filepath.Join(c.RunDir(), "attempt_0", strconv.Itoa(v.Failure.Rank), "stderr.log")
	want := fmt.Sprintf(`gorun: rank %[1]d says:
no plugin is installed:
run 'gorun setup'
or give --plugin
gorun: the log of rank %[1]d on node %s is %s; the other ranks' are beside it
gorun: %s
`, v.Failure.Rank, v.Failure.Node, log, v.Line())
	if got := errs.String(); !strings.HasSuffix(got, want) || strings.Count(got, "--plugin") != 1 {
		t.Errorf("the console shows\n%s\nwant at its end\n%s", got, want)
	}
	if line := v.Line(); !strings.Contains(line, "say") || !strings.HasSuffix(line, ": no plugin is installed: (and 2 more lines)") {
		t.Errorf("the verdict is %q", line)
	}
	b, err := os.ReadFile(log)
	if said := string(b); err != nil || !strings.Contains(said, "a word of warning\n") || !strings.Contains(said, fmt.Sprintf("rank %d: the last collectives:\n", v.Failure.Rank)) {
		t.Errorf("the log is %q, %v", said, err)
	}
}

func TestRestart(t *testing.T) {
	c, _, errs := testConfig(t, "once:fail=1", 2)
	c.MaxRestarts = 1
	if err := Run(t.Context(), c, nil); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(errs.String(), "; restarting") {
		t.Errorf("the console shows %q", errs)
	}
	if _, err := os.Stat(filepath.Join(c.RunDir(), "attempt_1", "0", "stdout.log")); err != nil {
		t.Error(err)
	}
}

// signalled runs two ranks and, when both have started, sends the agent the signals.
func signalled(t *testing.T, c *Config, out *syncbuf.Buffer, sigs ...os.Signal) error {
	t.Helper()
	signals := make(chan os.Signal, len(sigs))
	go func() {
		for strings.Count(out.String(), "of 2") < 2 {
			time.Sleep(10 * time.Millisecond)
		}
		for _, sig := range sigs {
			signals <- sig
		}
	}()
	return Run(t.Context(), c, signals)
}

func TestSignalCheckpoints(t *testing.T) {
	c, out, errs := testConfig(t, "wait", 2)
	if err := signalled(t, c, out, syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if !strings.Contains(errs.String(), "stopped as asked") {
		t.Errorf("the console shows %q", errs)
	}
}

// TestDeafRanks: ranks that do not end when they are asked to are killed, and that is a failure.
func TestDeafRanks(t *testing.T) {
	c, out, _ := testConfig(t, "deaf", 2)
	c.ShutdownTimeout = 200 * time.Millisecond
	v := verdictOf(t, signalled(t, c, out, syscall.SIGTERM))
	if line := v.Line(); !strings.Contains(line, "not ended within --shutdown-timeout") {
		t.Errorf("the verdict is %q", line)
	}
}

func TestSecondInterrupt(t *testing.T) {
	c, out, errs := testConfig(t, "deaf", 2)
	c.ShutdownTimeout = time.Minute
	began := time.Now()
	v := verdictOf(t, signalled(t, c, out, os.Interrupt, os.Interrupt))
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("the end took %s, want it at once", took)
	}
	if !strings.Contains(v.Line(), "second interrupt") || !strings.Contains(errs.String(), v.Line()) {
		t.Errorf("the verdict is %q, the console shows %q", v.Line(), errs)
	}
}

// TestNoOrphans: ranks do not outlive an agent that is killed.
func TestNoOrphans(t *testing.T) {
	pids := t.TempDir()
	agent := exec.Command(os.Args[0])
	agent.Env = append(os.Environ(), agentEnv+"="+t.TempDir(), roleEnv+"=deaf", "GORUN_TEST_PIDS="+pids)
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	var ranks []string
	within(t, "the ranks start", func() bool {
		ranks = nil
		for _, rank := range []string{"0", "1"} {
			if b, err := os.ReadFile(filepath.Join(pids, rank)); err == nil && len(b) > 0 {
				ranks = append(ranks, string(b))
			}
		}
		return len(ranks) == 2
	})
	if err := agent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = agent.Wait() // it was killed
	within(t, "the ranks end", func() bool {
		return !running(ranks[0]) && !running(ranks[1])
	})
}

// running tells whether a process exists and is no zombie.
func running(pid string) bool {
	b, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}

func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 30 s", what)
		}
	}
}

// TestConsole: what is shown of the ranks' streams; the logs have all of it.
func TestConsole(t *testing.T) {
	tests := []struct {
		redirects, tee, filter string
		want                   []string
	}{
		{"0", "0", "", []string{"[0]: rank 0 of 2", "[1]: rank 1 of 2"}},
		{"0", "0", "1", []string{"[1]: rank 1 of 2"}},
		{"3", "0", "", nil},
		{"2", "0", "", []string{"[0]: rank 0 of 2", "[1]: rank 1 of 2"}},
		{"3", "0:1", "", []string{"[0]: rank 0 of 2"}},
	}
	for _, tt := range tests {
		c, out, _ := testConfig(t, "ok", 2)
		var err error
		if c.Redirects, err = ParseStreams(tt.redirects); err != nil {
			t.Fatal(err)
		}
		if c.Tee, err = ParseStreams(tt.tee); err != nil {
			t.Fatal(err)
		}
		if c.LocalFilter, err = ParseLocalRanks(tt.filter); err != nil {
			t.Fatal(err)
		}
		if err := Run(t.Context(), c, nil); err != nil {
			t.Fatal(err)
		}
		got := strings.FieldsFunc(out.String(), func(r rune) bool { return r == '\n' })
		slices.Sort(got)
		if !slices.Equal(got, tt.want) {
			t.Errorf("--redirects %s --tee %s --local-ranks-filter %s shows %q, want %q", tt.redirects, tt.tee, tt.filter, got, tt.want)
		}
		if b, err := os.ReadFile(filepath.Join(c.RunDir(), "attempt_0", "0", "stdout.log")); err != nil || string(b) != "rank 0 of 2\n" {
			t.Errorf("rank 0's log is %q, %v", b, err)
		}
	}
}
