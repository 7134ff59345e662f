package launcher

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"gorun/launcher/gossip"
	"gorun/launcher/rdzv"
)

// Agent runs this machine's ranks. All of its state belongs to the goroutine of Run; the goroutines that wait for ranks
// and for other agents talk to it through inbox.
type Agent struct {
	cfg      *Config
	core     *rdzv.Core
	self     rdzv.Member
	net      *gossip.Net // to the other agents; nil on one node
	key      []byte      // its ranks know each other by it
	spawner  *spawner
	out, err *console
	inbox    chan func()
	done     chan struct{}  // closed when the loop has ended: nobody reads inbox any more
	waiters  sync.WaitGroup // one for each rank that has not ended

	plan    *rdzv.Plan
	ranks   []*process
	alive   int       // ranks that have not ended
	ended   int       // ranks that ended well
	abort   bool      // the generation's ranks are being ended
	kill    time.Time // when to end those that are left; zero = never
	verdict *rdzv.Verdict
	kept    chan struct{} // closed when the newest verdict is on disk
	refused error         // why the other nodes do not want this one
	waiting time.Time     // since when, or since the user was told so; zero = ranks run
	signals int
}

// Run starts the ranks and returns when all have ended, for good. signals asks them to checkpoint and end; a second
// interrupt ends them at once, as the end of ctx does. The error is nil if all ranks ended well, and an *Ended, whose
// text has been printed already, if not.
func Run(ctx context.Context, c *Config, signals <-chan os.Signal) error {
	if err := c.Validate(); err != nil {
		return err
	}
	a := &Agent{
		cfg: c, spawner: newSpawner(), out: &console{w: c.Out}, err: &console{w: c.Err}, inbox: make(chan func()), done: make(chan struct{}), kept: make(chan struct{}),
	}
	close(a.kept) // there is none yet
	defer a.spawner.close()
	if err := a.join(); err != nil {
		return err
	}
	if a.net != nil {
		defer a.net.Close()
	}
	rc := rdzv.DefaultConfig(a.self)
	rc.MinNodes, rc.MaxNodes, rc.MaxRestarts = c.MinNodes, c.MaxNodes, c.MaxRestarts
	if c.MaxNodes > 1 {
		rc.JoinTimeout, rc.LastCall = c.JoinTimeout, c.LastCall
	}
	a.core = rdzv.New(rc, 0)
	err := a.loop(ctx, signals)
	close(a.done)
	a.killAll(unix.SIGKILL)
	a.waiters.Wait()
	a.awaitKept()
	return err
}

// Ended is how a run ended that did not end well.
type Ended struct{ Verdict *rdzv.Verdict }

func (e *Ended) Error() string { return e.Verdict.Line() }

// coreTick is how often the core repeats what may have been lost.
const coreTick = 100 * time.Millisecond

func (a *Agent) loop(ctx context.Context, signals <-chan os.Signal) error {
	began := time.Now()
	tick := time.NewTicker(coreTick)
	defer tick.Stop()
	watch := time.NewTicker(a.cfg.Tick)
	defer watch.Stop()
	a.core.Tick(0)
	for {
		a.obey()
		if a.verdict != nil {
			if a.cfg.OnEnd != nil {
				a.cfg.OnEnd(a.verdict)
			}
			if !a.verdict.OK {
				return &Ended{a.verdict}
			}
			return nil
		}
		if a.refused != nil {
			return a.refused
		}
		select {
		case f := <-a.inbox:
			f()
		case <-watch.C:
			a.look()
			a.tellWaiting()
		case <-tick.C:
			a.core.Tick(time.Since(began)) // monotonic: a clock that is set does not matter
		case sig := <-signals:
			a.onSignal(sig)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// post lets the agent's goroutine run f, unless the agent has ended.
func (a *Agent) post(f func()) {
	select {
	case a.inbox <- f:
	case <-a.done:
	}
}

// obey does what the core asks for.
func (a *Agent) obey() {
	for outputs := a.core.Outputs(); len(outputs) > 0; outputs = a.core.Outputs() {
		for _, o := range outputs {
			switch {
			case o.Send != nil:
				a.deliver(*o.Send)
			case o.Start != nil:
				a.start(o.Start)
			case o.Announce != nil:
				a.announce(o.Announce)
			case o.Abort:
				a.abortRanks()
			case o.Checkpt:
				a.checkpoint()
			case o.Finish != nil:
				a.verdict = o.Finish
			}
		}
	}
}

// deliver fills in what only the driver knows, and hands the message to its receiver.
func (a *Agent) deliver(m rdzv.Message) {
	switch m.Kind {
	case rdzv.Ready:
		m.Port = freePort(a.self.Addr)
	case rdzv.Report:
		for _, r := range a.ranks {
			p, _ := r.tracker.progress()
			m.Node.Progress = append(m.Node.Progress, p)
		}
	}
	if m.To == a.self.ID {
		a.core.Receive(m)
	} else if a.net != nil {
		a.net.Send(m)
	}
}

func (a *Agent) start(p *rdzv.Plan) {
	a.plan, a.ranks, a.alive, a.ended, a.abort, a.kill = p, nil, 0, 0, false, time.Time{}
	if p.Gen == 0 && a.net != nil {
		if err := a.forget(); err != nil {
			a.core.RankFailed(p.Gen, rdzv.Failure{Cause: rdzv.NoStart, Rank: -1, Detail: err.Error()})
			return
		}
	}
	a.out.mute(false)
	a.err.mute(false)
	group := p.GroupRank(a.self.ID)
	a.cfg.Log.Debug().Int("gen", p.Gen).Int("node", group).Int("world", p.World()).Msg("starting ranks")
	for local := range p.Nodes[group].Slots {
		r, err := a.startRank(p, group, local, func(r *process) { a.post(func() { a.exited(p.Gen, r) }) })
		if err != nil {
			a.core.RankFailed(p.Gen, rdzv.Failure{Cause: rdzv.NoStart, Rank: p.FirstRank(group) + local, Detail: err.Error()})
			return
		}
		a.ranks = append(a.ranks, r)
		a.alive++
	}
}

// exited handles the end of a rank.
func (a *Agent) exited(gen int, r *process) {
	a.alive--
	switch f := r.failure(); {
	case a.abort:
	case f != nil:
		a.core.RankFailed(gen, *f)
	default:
		if a.ended++; a.ended == len(a.ranks) {
			a.core.RanksDone(gen)
		}
	}
	if a.alive == 0 && a.abort {
		a.core.RanksGone(gen)
	}
}

// look finds ranks that hang, and ends those that did not end when they were asked to.
func (a *Agent) look() {
	if !a.kill.IsZero() && time.Now().After(a.kill) {
		a.kill = time.Time{}
		for _, r := range a.ranks {
			r.overdue = !a.abort
		}
		a.killAll(unix.SIGKILL)
	}
	if a.abort || a.cfg.HangTimeout == 0 {
		return
	}
	for _, r := range a.ranks {
		if p, since := r.tracker.progress(); p.Alive && since > a.cfg.HangTimeout && !r.hangs {
			r.hangs = true
			a.core.RankFailed(a.plan.Gen, rdzv.Failure{
				Cause: rdzv.Hung, Rank: r.rank, PID: p.PID, Step: p.Step, Op: p.Op, Seq: p.Seq,
				Detail: fmt.Sprintf("inside one collective for %s", since.Round(time.Second)), Tail: r.stderr.String(),
			})
		}
	}
}

// abortGrace is for a rank to say where it stands when it gets SIGABRT.
const abortGrace = 500 * time.Millisecond

// abortRanks ends the generation's ranks; the core hears of it when the last is gone.
func (a *Agent) abortRanks() {
	a.abort = true
	a.out.mute(true)
	a.err.mute(true)
	if a.alive == 0 {
		a.core.RanksGone(a.core.Gen())
		return
	}
	a.killAll(unix.SIGABRT)
	a.kill = time.Now().Add(abortGrace)
}

func (a *Agent) checkpoint() {
	a.killAll(unix.SIGTERM)
	a.kill = time.Now().Add(a.cfg.ShutdownTimeout)
}

func (a *Agent) killAll(sig unix.Signal) {
	for _, r := range a.ranks {
		r.signal(sig)
	}
}

// onSignal asks for a checkpoint; a second interrupt ends the ranks at once.
func (a *Agent) onSignal(sig os.Signal) {
	if a.signals++; a.signals > 1 && sig == os.Interrupt {
		a.verdict = &rdzv.Verdict{Gen: a.core.Gen(), Failure: &rdzv.Failure{Cause: rdzv.Killed, Node: a.self.ID, Rank: -1, Signal: "a second interrupt, without a checkpoint"}}
		a.announce(a.verdict)
		return
	}
	a.cfg.Log.Info().Msgf("%s: all ranks checkpoint at the end of their step; a second interrupt ends them at once", sig)
	a.core.StopAsked()
}
