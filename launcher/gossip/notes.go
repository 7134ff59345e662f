package gossip

import (
	"bytes"
	"fmt"
	"regexp"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// patience is how long something odd may last before the user hears of it: nodes start at different times, and a port's
// last owner may still be talking.
const patience = 3 * time.Second

// notes tells the user of nodes that do not come, or that come and can take no part, each once. memberlist's own log,
// which it also is the writer of, has what this package can't see: packets and streams that can't be read.
type notes struct {
	log zerolog.Logger

	mu       sync.Mutex
	first    map[string]time.Time // when something odd was first seen; protected by mu
	said     map[string]bool      // protected by mu
	refusals map[string]*refusal  // by address; protected by mu
}

func newNotes(log zerolog.Logger) *notes {
	return &notes{log: log, first: map[string]time.Time{}, said: map[string]bool{}, refusals: map[string]*refusal{}}
}

// maxNotes bounds what strangers can make this process remember.
const maxNotes = 1000

// say logs a line once.
func (n *notes) say(line string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.said[line] && len(n.said) < maxNotes {
		n.said[line] = true
		n.log.Warn().Msg(line)
	}
}

// sayIfItLasts logs a line once, when its subject has been seen for longer than patience.
func (n *notes) sayIfItLasts(subject, line string) {
	n.mu.Lock()
	since, seen := n.first[subject]
	if !seen && len(n.first) < maxNotes {
		n.first[subject] = time.Now()
	}
	n.mu.Unlock()
	if seen && time.Since(since) > patience {
		n.say(line)
	}
}

// refuse tells that a node may not take part.
func (n *notes) refuse(at, name string, r *refusal) {
	n.mu.Lock()
	if len(n.refusals) < maxNotes {
		n.refusals[at] = r
	}
	n.mu.Unlock()
	n.say(fmt.Sprintf("node %s at %s is refused: %s", name, at, r.why))
}

// refusal is why the node at an address was refused last; it is forgotten.
func (n *notes) refusal(at string) *refusal {
	n.mu.Lock()
	defer n.mu.Unlock()
	r := n.refusals[at]
	delete(n.refusals, at)
	return r
}

// silent tells that no node of this run could be found at an endpoint.
func (n *notes) silent(endpoint string, err error) {
	line := fmt.Sprintf("no node of this run answers yet: %v", err)
	switch {
	case unreadable.MatchString(err.Error()):
		line = undecipherable(endpoint)
	case hungUp.MatchString(err.Error()):
		line = fmt.Sprintf("what listens at %s closes the connection: an agent of another run does so (compare --rdzv-id), and what is no gorun agent", endpoint)
	}
	n.sayIfItLasts("at "+endpoint, line)
}

// What memberlist says, in its own words, of one that speaks to this node and is no node of this run. Its errors have no
// types; TestStrangers fails if the words change.
var (
	unreadable = regexp.MustCompile(`no installed keys could decrypt`)
	hungUp     = regexp.MustCompile(`: EOF$|connection reset by peer$`)
	from       = regexp.MustCompile(`from=(\S+):\d+`)
	otherLabel = regexp.MustCompile(`unacceptable label ("(?:[^"\\]|\\.)*")`)
)

func undecipherable(at string) string {
	return fmt.Sprintf("what comes from %s can't be decrypted with this run's key: either that node has another key (--key-file, GORUN_JOB_KEY), or it is no gorun agent", at)
}

// Write takes memberlist's log.
func (n *notes) Write(b []byte) (int, error) {
	line := string(bytes.TrimSpace(b))
	n.log.Debug().Msg(line)
	who := from.FindStringSubmatch(line)
	if who == nil {
		return len(b), nil
	}
	if label := otherLabel.FindStringSubmatch(line); label != nil {
		n.say(fmt.Sprintf("a node at %s is refused: it belongs to the run %s: compare --rdzv-id", who[1], label[1]))
	} else if unreadable.MatchString(line) {
		n.sayIfItLasts("from "+who[1], undecipherable(who[1]))
	}
	return len(b), nil
}
