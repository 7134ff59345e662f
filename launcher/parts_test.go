package launcher

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"gorun/launcher/rdzv"
)

// TestRankEnv holds the environment to torchrun's documented names; the second node's second rank.
func TestRankEnv(t *testing.T) {
	c := &Config{RunID: "r", MaxRestarts: 3}
	p := &rdzv.Plan{Gen: 1, Nodes: []rdzv.Member{{Slots: 2}, {Slots: 4}}, MasterAddr: "10.0.0.1", MasterPort: 29500}
	got := c.rankEnv(p, []byte{0xab, 0xcd}, 1, 1)
	want := []string{
		"RANK=3", "LOCAL_RANK=1", "WORLD_SIZE=6", "LOCAL_WORLD_SIZE=4", "GROUP_RANK=1", "GROUP_WORLD_SIZE=2",
		"ROLE_NAME=default", "ROLE_RANK=3", "ROLE_WORLD_SIZE=6", "MASTER_ADDR=10.0.0.1", "MASTER_PORT=29500",
		"TORCHELASTIC_RESTART_COUNT=1", "TORCHELASTIC_MAX_RESTARTS=3", "TORCHELASTIC_RUN_ID=r", "GORUN_GENERATION=1", "GORUN_JOB_KEY=abcd",
	}
	if !slices.Equal(got, want) {
		t.Errorf("the environment is %q, want %q", got, want)
	}
	p.Nodes = []rdzv.Member{{Addr: "10.0.0.1", Slots: 2, Files: 4711}, {Addr: "10.0.0.2", Slots: 1}, {Addr: "fe80::1", Slots: 4, Files: 4712}}
	got = c.rankEnv(p, nil, 2, 0)
	if want := []string{"GORUN_PEERS=10.0.0.1:4711,[fe80::1]:4712", "GORUN_PEER=1"}; !slices.Equal(got[len(got)-2:], want) {
		t.Errorf("of nodes that give files it says %q, want %q", got[len(got)-2:], want)
	}
	if got := c.rankEnv(p, nil, 1, 0); slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, "GORUN_PEER") }) {
		t.Errorf("a node that gives none is told of others: %q", got)
	}
	all := inherited([]string{"HOME=/h", "RANK=9"}, []string{"RANK=3"})
	if !slices.Equal(all, []string{"HOME=/h", "RANK=3"}) {
		t.Errorf("with the agent's own it is %q", all)
	}
}

// TestFollow: nonsense and lines that are too long are passed over; the rest counts.
func TestFollow(t *testing.T) {
	var tr tracker
	tr.follow(strings.NewReader(`{"event":"step","step":4,"unknown":[1]}` + "\nnonsense\n" +
		`{"event":"collective","op":"` + strings.Repeat("x", 2*maxEvent) + `","seq":99,"state":"begin"}` + "\n" +
		`{"event":"collective","op":"all-\u0007reduce","seq":5,"state":"begin"}` + "\n" + `{"event":"step","step":`))
	got, _ := tr.progress()
	if want := (rdzv.Progress{Step: 4, Op: "all-reduce", Seq: 5, Begun: true}); got != want {
		t.Errorf("progress is %+v, want %+v", got, want)
	}
}

// TestCut: of a long error whole lines are kept.
func TestCut(t *testing.T) {
	line := strings.Repeat("x", 150) + "\n"
	for text, want := range map[string]string{
		"short":                            "short",
		strings.Repeat(line, 20):           strings.Repeat(line, 13) + "... the rest is in its log",
		strings.Repeat("\u00e9", maxError): strings.Repeat("\u00e9", maxError/2) + "\n... the rest is in its log",
	} {
		if got := cut(text); got != want {
			t.Errorf("%.20q... is cut to %q, want %q", text, got, want)
		}
	}
}

func TestStreams(t *testing.T) {
	s, err := ParseStreams("0:1,2:3")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		local, stream int
		want          bool
	}{{0, 1, true}, {0, 2, false}, {1, 1, false}, {2, 2, true}} {
		if got := s.has(tt.local, tt.stream); got != tt.want {
			t.Errorf("local rank %d, stream %d: %t", tt.local, tt.stream, got)
		}
	}
	for _, bad := range []string{"", "4", "-1", "0:4", "a:1", "0:1,", "1:"} {
		if _, err := ParseStreams(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// TestValidate: all faults are told at once, each by its flag.
func TestValidate(t *testing.T) {
	c := &Config{Gpus: 0, MinNodes: 3, MaxNodes: 2, NodeRank: 2, MaxRestarts: -1, RunID: "a/b", LocalFilter: []int{2}}
	err := c.Validate()
	if err == nil {
		t.Fatal("no error")
	}
	for _, flag := range []string{"--gpus", "--nnodes 3:2", "--node-rank", "--rdzv-endpoint", "--key-file", "join_timeout", "--max-restarts", "--monitor-interval", "--shutdown-timeout", "--rdzv-id", "--local-ranks-filter"} {
		if !strings.Contains(err.Error(), flag) {
			t.Errorf("%q does not name %s", err, flag)
		}
	}
}

// TestPrefixed: a line that comes in pieces is written whole.
func TestPrefixed(t *testing.T) {
	var b bytes.Buffer
	to := &console{w: &b}
	one, two := to.stream("[0]: "), to.stream("[1]: ")
	for _, w := range []struct {
		p    *Lines
		text string
	}{{one, "a"}, {two, "x\ny"}, {one, "b\n"}} {
		if _, err := w.p.Write([]byte(w.text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := two.Flush(); err != nil {
		t.Fatal(err)
	}
	if want := "[1]: x\n[0]: ab\n[1]: y\n"; b.String() != want {
		t.Errorf("the console shows %q, want %q", b.String(), want)
	}
}

// TestUnread: a console that takes nothing ends no rank's stream.
func TestUnread(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(r.Close(), w.Close()); err != nil {
		t.Fatal(err)
	}
	p := (&console{w: w}).stream("")
	for _, text := range []string{"a line\n", strings.Repeat("x", maxLine+1)} {
		if n, err := p.Write([]byte(text)); n != len(text) || err != nil {
			t.Errorf("%d of %d bytes, %v", n, len(text), err)
		}
	}
}

// FuzzRecord: whatever is in verdict.json, 'gorun why' says something or an error.
func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"run":"r","verdicts":[{"gen":0,"ok":false,"failure":{"cause":"killed","node":"n","rank":1,"pid":5,"signal":"SIGKILL"}}]}`))
	f.Add([]byte(`{"verdicts":[{"ok":false}]}`))
	f.Add([]byte(`{"verdicts":[null]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		rec, err := parseRecord(b)
		if err != nil {
			return
		}
		for _, v := range rec.Verdicts {
			if v.Line() == "" {
				t.Error("an empty line")
			}
		}
	})
}
