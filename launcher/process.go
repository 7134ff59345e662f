package launcher

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"gorun/launcher/kernellog"
	"gorun/launcher/rdzv"
)

// process is a rank that runs.
type process struct {
	rank, local int
	cmd         *exec.Cmd
	began       time.Duration // by the kernel's log
	tracker     tracker
	stderr      tail
	hangs       bool // the core has been told
	overdue     bool // was asked to end, did not, and was killed for it

	mu     sync.Mutex
	reaped bool // its id may be another process's by now; protected by mu
}

// spawner starts processes from one OS thread that lives as long as the agent: the kernel sends a child's death signal
// when the *thread* that started it ends, and Go ends threads when it likes.
type spawner struct{ jobs chan func() }

func newSpawner() *spawner {
	s := &spawner{make(chan func())}
	go func() {
		runtime.LockOSThread()
		for job := range s.jobs {
			job()
		}
	}()
	return s
}

func (s *spawner) close() { close(s.jobs) }

// start runs cmd's Start on the spawner's thread; the process stays on the CPUs, if any are given.
func (s *spawner) start(cmd *exec.Cmd, cpus []int) error {
	done := make(chan error)
	s.jobs <- func() { done <- pinned(cpus, cmd.Start) }
	return <-done
}

// startRank starts one rank; exit is called from another goroutine when it has ended.
func (a *Agent) startRank(p *rdzv.Plan, group, local int, exit func(*process)) (*process, error) {
	c := a.cfg
	r := &process{rank: p.FirstRank(group) + local, local: local}
	r.tracker.last.Rank = r.rank
	env := c.rankEnv(p, a.key, group, local)
	cmd := exec.Command(c.Command[0], c.Command[1:]...)
	cmd.Env = inherited(os.Environ(), env)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	r.cmd = cmd
	files, err := a.connect(r, p)
	if err != nil {
		return nil, err
	}
	events, write, err := os.Pipe()
	if err != nil {
		closeAll(files)
		return nil, err
	}
	cmd.ExtraFiles = []*os.File{write}
	var cpus []int
	if local < len(c.CPUs) {
		cpus = c.CPUs[local]
	}
	r.began = kernellog.Now()
	err = a.spawner.start(cmd, cpus)
	_ = write.Close() // the rank has it now
	if err != nil {
		_ = events.Close()
		closeAll(files)
		return nil, fmt.Errorf("rank %d: %w", r.rank, err)
	}
	r.tracker.began(cmd.Process.Pid)
	a.waiters.Go(func() {
		r.wait(events)
		closeAll(files)
		exit(r)
	})
	return r, nil
}

// wait returns when the rank has ended and all that it said has been read.
func (r *process) wait(events *os.File) {
	said := make(chan struct{})
	go func() {
		r.tracker.follow(events)
		close(said)
	}()
	// Without reaping it: until then nobody else can have its id, nor its group's.
	for unix.Waitid(unix.P_PID, r.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR { //nolint:errorlint // an errno
	}
	r.mu.Lock()
	// What the rank left behind in its process group would hold ports and devices.
	_ = unix.Kill(-r.cmd.Process.Pid, unix.SIGKILL)
	r.reaped = true
	r.mu.Unlock()
	_ = r.cmd.Wait() // the state says it all
	select {
	case <-said:
	case <-time.After(drain): // somebody outside of the group holds the other end
	}
	_ = events.Close()
	<-said
	r.tracker.ended()
}

// drain is how long the output of a rank that has ended may take to arrive.
const drain = time.Second

// stderrName is the log of a rank's stderr and of what a rank tells its agent for it.
const stderrName = "stderr"

// rankDir is the folder of a rank's logs.
func (a *Agent) rankDir(gen, rank int) string {
	return filepath.Join(a.cfg.RunDir(), fmt.Sprintf("attempt_%d", gen), strconv.Itoa(rank))
}

// connect opens the rank's logs and leads its output there and to the console.
func (a *Agent) connect(r *process, p *rdzv.Plan) (files []io.Closer, err error) {
	dir := a.rankDir(p.Gen, r.rank)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, logFault(err)
	}
	show := a.cfg.LocalFilter == nil
	for _, local := range a.cfg.LocalFilter {
		show = show || local == r.local
	}
	stream := func(id int, name string, to *console) (all, log io.Writer, err error) {
		f, err := os.Create(filepath.Join(dir, name+".log"))
		if err != nil {
			return nil, nil, logFault(err)
		}
		files = append(files, f)
		log = &spared{log: f, lost: func(err error) {
			a.cfg.Log.Warn().Err(err).Msgf("the %s of rank %d is logged no further; the rank goes on", name, r.rank)
		}}
		if !show || a.cfg.Redirects.has(r.local, id) && !a.cfg.Tee.has(r.local, id) {
			return log, log, nil
		}
		prefix := ""
		if p.World() > 1 {
			prefix = fmt.Sprintf("[%d]: ", r.rank)
		}
		screen := to.stream(prefix)
		files = append(files, closer(screen.Flush))
		return io.MultiWriter(log, screen), log, nil
	}
	out, _, err := stream(1, "stdout", a.out)
	var log io.Writer
	if err == nil {
		r.cmd.Stdout = out
		out, log, err = stream(2, stderrName, a.err)
	}
	if err != nil {
		closeAll(files)
		return nil, err
	}
	r.cmd.Stderr = io.MultiWriter(out, &r.stderr)
	r.tracker.log = io.MultiWriter(log, &r.stderr)
	r.cmd.WaitDelay = drain
	return files, nil
}

type closer func() error

func (c closer) Close() error { return c() }

// closeAll closes the logs of a rank; a log that can't be written any more ends no run.
func closeAll(files []io.Closer) {
	for _, f := range files {
		_ = f.Close()
	}
}

// signal sends a signal to the rank's process group, if there still is one.
func (r *process) signal(sig unix.Signal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.reaped {
		_ = unix.Kill(-r.cmd.Process.Pid, sig) // it may have ended just now
	}
}

// failure says how a rank that has ended failed, or nil if it did not.
func (r *process) failure() *rdzv.Failure {
	state := r.cmd.ProcessState
	if state.Success() {
		return nil
	}
	p, _ := r.tracker.progress()
	f := &rdzv.Failure{Cause: rdzv.Exited, Rank: r.rank, PID: p.PID, Code: state.ExitCode(), Step: p.Step, Op: p.Op, Seq: p.Seq, Error: r.tracker.said(), Tail: r.stderr.String()}
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		f.Cause, f.Code = rdzv.Killed, 0
		f.Signal = unix.SignalName(ws.Signal())
		switch {
		case r.overdue:
			f.Detail = "it had not ended within --shutdown-timeout after SIGTERM"
		case ws.Signal() == unix.SIGKILL:
			f.Detail = "by hand, or by the kernel for want of memory (see dmesg)"
		}
	}
	if said := r.kernelSaid(kernellog.Path); said != "" && !r.overdue {
		f.Detail = said
	}
	return f
}

// kernelSaid is what the kernel's log says of the rank's end: that it was killed for want of memory, or, while it ran,
// of a GPU's error. It is "" if nothing does, or the log can't be read.
func (r *process) kernelSaid(path string) string {
	log, err := kernellog.Read(path)
	if err != nil {
		return ""
	}
	said := ""
	for _, x := range log {
		switch {
		case x.At < r.began-time.Second: // the two clocks may differ a little
		case x.OutOfMemory(r.cmd.Process.Pid):
			return "for want of memory: " + x.Text
		case x.Xid():
			said = "an error of a GPU while it ran: " + x.Text
		}
	}
	return said
}
