package collective

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// missing asks a communicator's ranks where they are and names those that have not come to a collective. A rank that does
// not answer may have ended because it was late too, with an answer: there is time to be told of that.
func (j *Job) missing(c call, comm string, ranks []int) string {
	patience := time.NewTimer(causePatience)
	defer patience.Stop()
	found := make([]string, len(ranks))
	var silent atomic.Bool
	var asking sync.WaitGroup
	for i, r := range ranks {
		if r == j.cfg.Rank {
			continue
		}
		asking.Go(func() {
			e, err := j.ask(r, comm)
			switch {
			case err != nil:
				silent.Store(true)
				found[i] = fmt.Sprintf("rank %d does not answer (%v)", r, err)
			case e.Seq >= c.seq:
			case e.Seq == 0:
				found[i] = fmt.Sprintf("rank %d has not begun", r)
			default:
				found[i] = fmt.Sprintf("rank %d has not come beyond %s %s, number %d", r, e.Op, e.What, e.Seq)
			}
		})
	}
	asking.Wait()
	if silent.Load() {
		select {
		case <-j.ctx.Done():
		case <-patience.C:
		}
	}
	var list []string
	for _, f := range found {
		if f != "" {
			list = append(list, f)
		}
	}
	if list == nil {
		return "all ranks have arrived, but data does not: look at the network between them"
	}
	return strings.Join(list, "; ")
}

// ask asks a rank how far it is in a communicator.
func (j *Job) ask(rank int, comm string) (e Event, err error) {
	ctx, cancel := context.WithTimeout(j.ctx, causePatience)
	defer cancel()
	conn, err := j.dial(ctx, j.addrs[rank], inquiry, comm)
	if err != nil {
		return e, err
	}
	defer conn.Close() //nolint:errcheck // only read from
	if err := conn.SetDeadline(time.Now().Add(causePatience)); err != nil {
		return e, err
	}
	err = json.NewDecoder(io.LimitReader(conn, 1<<12)).Decode(&e)
	return e, err
}
