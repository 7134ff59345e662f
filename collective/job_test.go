package collective

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gomlx/compute/dtypes"
	"go.uber.org/goleak"
)

// fakeDir is where tests build what they load.
var fakeDir string

func TestMain(m *testing.M) {
	var err error
	if fakeDir, err = os.MkdirTemp("", "gorun-collective-"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(fakeDir) // a temporary folder that stays is no failure
		os.Exit(code)
	}))
}

var testKey = bytes.Repeat([]byte{7}, 32)

// freeAddr is an address on which nobody listens.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // it is only asked for its address
	return l.Addr().String()
}

func config(rank, world int, addr string) JobConfig {
	return JobConfig{Rank: rank, World: world, Addr: addr, Key: testKey, StartTimeout: 20 * time.Second, Timeout: 20 * time.Second}
}

// tryJoin lets ranks join at once; nil where one could not.
func tryJoin(t *testing.T, configs []JobConfig) ([]*Job, []error) {
	t.Helper()
	jobs := make([]*Job, len(configs))
	errs := perRank(len(configs), func(r int) (err error) {
		jobs[r], err = Join(context.Background(), configs[r])
		return err
	})
	return jobs, errs
}

// joinAll joins n ranks and closes them when the test ends.
func joinAll(t *testing.T, n int, change func(*JobConfig)) []*Job {
	t.Helper()
	addr := freeAddr(t)
	configs := make([]JobConfig, n)
	for r := range configs {
		configs[r] = config(r, n, addr)
		if change != nil {
			change(&configs[r])
		}
	}
	jobs, errs := tryJoin(t, configs)
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeAll(t, jobs) })
	return jobs
}

func closeAll(t *testing.T, jobs []*Job) {
	t.Helper()
	errs := perRank(len(jobs), func(r int) error {
		err := jobs[r].Close()
		if !errors.Is(jobs[r].Err(), errClosed) {
			return nil // the job had failed, or failed while it waited for the others to close
		}
		return err
	})
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
}

func TestExchange(t *testing.T) {
	jobs := joinAll(t, 4, nil)
	errs := perRank(4, func(r int) error {
		for round := range 3 {
			all, err := jobs[r].Exchange("names", fmt.Appendf(nil, "%d of round %d", r, round))
			if err != nil {
				return err
			}
			for i, v := range all {
				if want := fmt.Sprintf("%d of round %d", i, round); string(v) != want {
					return fmt.Errorf("rank %d got %q from rank %d, want %q", r, v, i, want)
				}
			}
		}
		sum, err := jobs[r].Sum("sums", []float64{1, float64(r)})
		if err == nil && (sum[0] != 4 || sum[1] != 6) {
			err = fmt.Errorf("sum %v, want [4 6]", sum)
		}
		if err != nil {
			return err
		}
		most, err := jobs[r].Greatest("greatest", []float64{float64(r), float64(3 - r)}, time.Minute)
		if err == nil && (most[0] != 3 || most[1] != 3) {
			err = fmt.Errorf("greatest %v, want [3 3]", most)
		}
		return err
	})
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
}

// TestJoinRefuses: ranks that do not belong together say why within the start-up timeout, and none hangs.
func TestJoinRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(c *JobConfig) // of rank 1 of 2
		want   string             // from rank 1
		other  string             // from rank 0
	}{
		{"another key", func(c *JobConfig) { c.Key = bytes.Repeat([]byte{8}, 32) }, "GORUN_JOB_KEY must be the same", "ranks [1] have not come within"},
		{"another generation", func(c *JobConfig) { c.Generation = 2 }, "rank 1 is of generation 2, this is generation 0", "ranks [1] have not come"},
		{"another world", func(c *JobConfig) { c.World = 3 }, "wants a world size of 3, this one is 2", "ranks [1] have not come"},
		{"not there", func(c *JobConfig) { c.Addr = "127.0.0.1:1" }, "connection refused", "ranks [1] have not come"},
		{"faults of its own", func(c *JobConfig) { c.Rank, c.Key, c.Timeout = 5, nil, 0 }, "RANK 5: want 0 to 1\nGORUN_JOB_KEY of 0 bytes: want at least 16, the same on every rank\ntimeouts", "ranks [1] have not come"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			addr := freeAddr(t)
			both := []JobConfig{config(0, 2, addr), config(1, 2, addr)}
			for i := range both {
				both[i].StartTimeout = 3 * time.Second // for both to begin, on a busy machine
			}
			c.change(&both[1])
			_, errs := tryJoin(t, both)
			if errs[1] == nil || !strings.Contains(errs[1].Error(), c.want) {
				t.Errorf("rank 1: %v, want %q", errs[1], c.want)
			}
			if errs[0] == nil || !strings.Contains(errs[0].Error(), c.other) {
				t.Errorf("rank 0: %v, want %q", errs[0], c.other)
			}
		})
	}
}

// TestSameRankTwice: the second of two processes with one rank is refused, and the job goes on without it.
func TestSameRankTwice(t *testing.T) {
	jobs := joinAll(t, 2, nil)
	_, err := Join(t.Context(), config(1, 2, jobs[0].cfg.Addr))
	if err == nil || !strings.Contains(err.Error(), "rank 1 is here already: two processes have the same RANK") {
		t.Errorf("got %v", err)
	}
	errs := make(chan error, 2)
	for _, j := range jobs {
		go func() {
			_, err := j.Exchange("still there", nil)
			errs <- err
		}()
	}
	if err := errors.Join(<-errs, <-errs); err != nil {
		t.Error(err)
	}
}

// TestStranger: what connects and does not speak as a rank does no harm.
func TestStranger(t *testing.T) {
	jobs := joinAll(t, 2, nil)
	for _, says := range []string{"", "GET / HTTP/1.1\r\n\r\n", string(magic) + strings.Repeat("\xff", 64)} {
		conn, err := net.Dial("tcp", jobs[1].addrs[0])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte(says)); err != nil {
			t.Error(err)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
	if jobs[0].Err() != nil {
		t.Error(jobs[0].Err())
	}
}

// TestSilentStranger: the job's end does not wait for who connects and says nothing.
func TestSilentStranger(t *testing.T) {
	addr := freeAddr(t)
	jobs, errs := tryJoin(t, []JobConfig{config(0, 2, addr), config(1, 2, addr)})
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", jobs[1].addrs[0])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // nothing was said
	start := time.Now()
	closeAll(t, jobs)
	if took := time.Since(start); took > greetingPatience/2 {
		t.Errorf("the job took %s to end", took)
	}
}

// TestFailure: one rank's failure is every rank's, with its reason, wherever the others wait.
func TestFailure(t *testing.T) {
	jobs := joinAll(t, 4, nil)
	comms := make([]Comm, 4)
	for r, j := range jobs {
		comms[r] = j.Comm("dp_shard", []int{0, 1, 2, 3})
	}
	b := make([][]byte, 4)
	errs := each(comms, func(c Comm) error {
		r := c.Rank()
		b[r] = make([]byte, 64)
		if err := c.(*Host).AllReduceMemory("fine", b[r], b[r], dtypes.Float32); err != nil {
			return err
		}
		if _, err := jobs[r].Exchange("all are here", nil); err != nil {
			return err
		}
		switch r {
		case 2:
			jobs[2].Fail(errors.New("its disk is full"))
			return jobs[2].Err()
		case 3:
			_, err := jobs[3].Exchange("losses", nil)
			return err
		}
		return c.(*Host).AllReduceMemory("block 7", b[r], b[r], dtypes.Float32)
	})
	for r, err := range errs {
		if err == nil || !strings.Contains(err.Error(), "rank 2: its disk is full") {
			t.Errorf("rank %d: %v", r, err)
		}
	}
	if want := "all-reduce block 7: dp_shard, number 2: rank 2"; !strings.Contains(errs[0].Error(), want) {
		t.Errorf("rank 0 says %q, want where it was: %q", errs[0], want)
	}
	if record := jobs[0].FlightRecord(); !strings.Contains(record, "dp_shard 1  all-reduce fine, 64 bytes: 0.") || !strings.Contains(record, "dp_shard 2  all-reduce block 7, 64 bytes: failed after") {
		t.Errorf("flight record:\n%s", record)
	}
}

// soon is the timeout of what a rank does not come to. What all come to has the time that a busy machine takes.
const soon = 300 * time.Millisecond

// TestLate: when a rank does not come, the others say which, and how far it is.
func TestLate(t *testing.T) {
	jobs := joinAll(t, 3, nil)
	comms := make([]Comm, 3)
	for r, j := range jobs {
		comms[r] = j.Comm("dp_shard", []int{0, 1, 2})
	}
	errs := each(comms, func(c Comm) error {
		b := make([]byte, 12)
		if err := c.(*Host).AllReduceMemory("block 3", b, b, dtypes.Float32); err != nil || c.Rank() == 1 {
			return err
		}
		c.(*Host).timeout = soon
		return c.(*Host).AllGatherMemory("block 4", b, b[:4])
	})
	for _, r := range []int{0, 2} {
		if errs[r] == nil || !strings.Contains(errs[r].Error(), "all-gather number 2 of dp_shard has taken longer than it may: rank 1 has not come beyond all-reduce block 3, number 1") {
			t.Errorf("rank %d: %v", r, errs[r])
		}
	}
}

// TestLateExchange: an exchange names who has not come.
func TestLateExchange(t *testing.T) {
	jobs := joinAll(t, 3, func(c *JobConfig) { c.Timeout = soon })
	errs := make(chan error, 2)
	for _, r := range []int{0, 2} {
		go func() {
			_, err := jobs[r].Exchange("losses", nil)
			errs <- err
		}()
	}
	for range 2 {
		if err := <-errs; err == nil || !strings.Contains(err.Error(), "exchange losses") || !strings.Contains(err.Error(), "ranks [1] have not arrived") {
			t.Errorf("got %v", err)
		}
	}
}

// TestJobCancel: a cancelled context ends the job on every rank.
func TestJobCancel(t *testing.T) {
	addr := freeAddr(t)
	ctx, cancel := context.WithCancelCause(context.Background())
	jobs := make([]*Job, 2)
	errs := make(chan error, 2)
	for r := range jobs {
		own := context.Background()
		if r == 1 {
			own = ctx
		}
		go func() {
			var err error
			jobs[r], err = Join(own, config(r, 2, addr))
			errs <- err
		}()
	}
	if err := errors.Join(<-errs, <-errs); err != nil {
		t.Fatal(err)
	}
	defer closeAll(t, jobs)
	cancel(errors.New("the user has had enough"))
	if _, err := jobs[0].Exchange("losses", nil); err == nil || !strings.Contains(err.Error(), "rank 1: the user has had enough") {
		t.Errorf("rank 0: %v", err)
	}
}

// TestBench: every collective is measured at every size, and the two bandwidths stand in nccl-tests' proportion.
func TestBench(t *testing.T) {
	speeds, err := Bench(t.Context(), 3, []int{4096, 60000}, 2)
	if err != nil {
		t.Fatal(err)
	}
	if len(speeds) != 6 {
		t.Fatalf("%d results, want 6", len(speeds))
	}
	for _, s := range speeds {
		share := 2.0 / 3
		if s.Op == "all-reduce" {
			share = 4.0 / 3
		}
		if s.Ranks != 3 || s.Bytes%12 != 0 || s.Time <= 0 || s.BusBW/s.AlgBW < share*0.999 || s.BusBW/s.AlgBW > share*1.001 {
			t.Errorf("%+v: want a ratio of %.3f", s, share)
		}
	}
}
