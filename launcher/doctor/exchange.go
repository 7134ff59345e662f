package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// Meeting is how several nodes are examined together: each writes what it found into a folder of theirs, reads what the
// others wrote, and tries to reach them. That the folder works for this is itself what checkpoints need of it.
type Meeting struct {
	Folder      string // that all nodes share
	ID          string // of this examination
	Nodes, Rank int
	Wait        time.Duration // for the others
}

var plainID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// maxMeeting bounds the nodes that meet.
const maxMeeting = 4096

// Validate returns all faults at once.
func (m *Meeting) Validate() error {
	var faults []error
	refuse := func(bad bool, format string, args ...any) {
		if bad {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	refuse(m.Folder == "", "--shared: several nodes meet in a folder that all of them share: name it")
	refuse(!plainID.MatchString(m.ID), "--rdzv-id %q: give one name on all nodes, of letters, digits and . _ -, at most 64", m.ID)
	refuse(m.Nodes < 2 || m.Nodes > maxMeeting, "--nnodes %d: want 2 to %d for nodes that meet", m.Nodes, maxMeeting)
	refuse(m.Rank < 0 || m.Rank >= m.Nodes, "--node-rank %d: want 0 to %d", m.Rank, m.Nodes-1)
	refuse(m.Wait <= 0, "--wait %s: want more than 0", m.Wait)
	return errors.Join(faults...)
}

// dir is the folder of this examination.
func (m *Meeting) dir() string { return filepath.Join(m.Folder, ".gorun-doctor-"+m.ID) }

// over tells whether rank 0 has made its report, and with that removed the folder.
func (m *Meeting) over() bool {
	_, err := os.Stat(m.dir())
	return errors.Is(err, fs.ErrNotExist)
}

// hello is what a node writes first, reached what it writes when it has tried to reach the others.
type hello struct {
	Facts  *Facts `json:"facts"`
	Listen string `json:"listen"` // HOST:PORT; "" = it can't listen
}

type reached struct {
	Failed []string `json:"failed"` // a text for each node that could not be reached
}

// Together examines this node with the others. Only rank 0 gets a report; the others get nil. However rank 0's part ends,
// it removes the folder, by which the others know.
func Together(ctx context.Context, m *Meeting, f *Facts) (report *Report, err error) {
	if err := os.MkdirAll(m.dir(), 0o700); err != nil {
		return nil, fmt.Errorf("--shared: %w", err)
	}
	if m.Rank == 0 {
		defer func() { err = errors.Join(err, os.RemoveAll(m.dir())) }()
	}
	l, stop := answer(f.Address)
	defer stop()
	hellos, err := exchange(ctx, m, "facts", hello{f, l})
	if err != nil {
		return nil, err
	}
	if m.over() {
		return nil, errors.New("node 0 has ended the examination without this node: start gorun doctor on all nodes at the same time")
	}
	failed := reach(ctx, hellos)
	calls, err := exchange(ctx, m, "reached", reached{failed})
	if err != nil || m.Rank > 0 {
		return nil, err
	}
	return m.report(hellos, calls), nil
}

// report is what rank 0 makes of everything.
func (m *Meeting) report(hellos []*hello, calls []*reached) *Report {
	var nodes []*Facts
	var findings []Finding
	for rank, h := range hellos {
		if h == nil || h.Facts == nil {
			findings = append(findings, Finding{
				Fail, fmt.Sprintf("node %d", rank), "shared folder", fmt.Sprintf("nothing of this node within %s in %s", m.Wait, m.Folder),
				"start gorun doctor on all nodes, and name a folder that all of them share",
			})
			continue
		}
		nodes = append(nodes, h.Facts)
		findings = append(findings, Judge(h.Facts)...)
		if calls[rank] == nil {
			continue // it ended meanwhile; what it said is above
		}
		for _, text := range calls[rank].Failed {
			findings = append(findings, Finding{Fail, h.Facts.Node, "reaching others", text, "open the nodes' ports to each other in the firewall, or choose another network with --local-addr"})
		}
		if len(calls[rank].Failed) == 0 {
			findings = append(findings, Finding{Status: OK, Node: h.Facts.Node, Check: "reaching others", Found: "all nodes answer"})
		}
	}
	return NewReport(nodes, append(findings, Compare(nodes)...))
}

// lookAgain is how often a node looks for what others wrote.
const lookAgain = 200 * time.Millisecond

// maxHello bounds what is read of another node.
const maxHello = 4 << 20

// exchange writes what this node says and returns what all nodes said, by rank; nil for those that said nothing in time.
func exchange[T any](ctx context.Context, m *Meeting, what string, mine T) ([]*T, error) {
	if err := say(m.dir(), fmt.Sprintf("%s.%d", what, m.Rank), mine); err != nil {
		return nil, fmt.Errorf("--shared: %w", err)
	}
	all := make([]*T, m.Nodes)
	for end := time.Now().Add(m.Wait); ; {
		for rank := range all {
			if all[rank] != nil {
				continue
			}
			said, err := hear[T](filepath.Join(m.dir(), fmt.Sprintf("%s.%d", what, rank)))
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("--shared: node %d: %w", rank, err)
			}
			all[rank] = said
		}
		if time.Now().After(end) || !slices.Contains(all, nil) || m.over() {
			return all, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(lookAgain):
		}
	}
}

// say writes a whole file or none.
func say(dir, name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".writing-*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, name))
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

func hear[T any](path string) (*T, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	b, err := io.ReadAll(io.LimitReader(f, maxHello))
	if err != nil {
		return nil, err
	}
	out := new(T)
	if err := json.Unmarshal(b, out); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return out, nil
}

// answer listens for the other nodes' calls until stop; where says at which address, "" if it can't.
func answer(address string) (where string, stop func()) {
	l, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		return "", func() {} // Facts.PortErr says why
	}
	var done sync.WaitGroup
	done.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.Close() // the call was answered
		}
	})
	return l.Addr().String(), func() {
		_ = l.Close() // nobody calls any more
		done.Wait()
	}
}

// callTime is how long a node may take to answer.
const callTime = 3 * time.Second

// reach calls all nodes at once and says which did not answer.
func reach(ctx context.Context, nodes []*hello) []string {
	texts := make([]string, len(nodes))
	var calls sync.WaitGroup
	for i, n := range nodes {
		if n == nil || n.Facts == nil || n.Listen == "" {
			continue
		}
		calls.Go(func() {
			c, err := (&net.Dialer{Timeout: callTime}).DialContext(ctx, "tcp", n.Listen)
			if err != nil {
				texts[i] = fmt.Sprintf("node %s does not answer: %v", n.Facts.Node, err)
				return
			}
			_ = c.Close() // it said nothing
		})
	}
	calls.Wait()
	return slices.DeleteFunc(texts, func(s string) bool { return strings.TrimSpace(s) == "" })
}
