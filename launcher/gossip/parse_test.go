package gossip

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gorun/launcher/rdzv"
)

// FuzzDecode: whatever bytes come, a core in any phase survives the message in them, and its verdict is one line.
func FuzzDecode(f *testing.F) {
	self := rdzv.Member{ID: "a", Addr: "10.0.0.1", Slots: 1, NodeRank: -1}
	other := rdzv.Member{ID: "b", Addr: "10.0.0.2", Slots: 2, NodeRank: -1}
	plan := &rdzv.Plan{Nodes: []rdzv.Member{self, other}, MasterAddr: "10.0.0.1", MasterPort: 29500}
	verdict := &rdzv.Verdict{Failure: &rdzv.Failure{Cause: rdzv.Killed, Node: "b", Rank: 1, Signal: "SIGKILL", Tail: "a\nb"}}
	for _, m := range []rdzv.Message{
		{Kind: rdzv.Idle, Member: &other}, {Kind: rdzv.Prepare, Plan: plan}, {Kind: rdzv.Ready, Port: 4711}, {Kind: rdzv.Cancel},
		{Kind: rdzv.Start, Plan: plan}, {Kind: rdzv.Query, Ballot: 1, Plan: plan}, {Kind: rdzv.Decide, Plan: plan, Verdict: verdict},
		{Kind: rdzv.Report, Node: &rdzv.State{Failures: []rdzv.Failure{*verdict.Failure}, Progress: []rdzv.Progress{{Rank: 1, Begun: true}}}},
		{Kind: rdzv.News}, {Kind: rdzv.Stop}, {Kind: rdzv.Decide}, {Kind: "x"},
	} {
		m.From, m.To = "b", "a"
		b, err := json.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decode(b)
		if err != nil {
			return
		}
		for phase := range 4 {
			c := coreIn(phase, self, other, plan)
			c.Receive(m)
			c.Tick(10 * time.Second)
			for _, o := range c.Outputs() {
				if o.Announce != nil && strings.ContainsAny(o.Announce.Line(), "\n\r\x1b") {
					t.Errorf("a verdict of more than a line: %q", o.Announce.Line())
				}
			}
		}
	})
}

// coreIn returns a core that is idle, ready, running or closing.
func coreIn(phase int, self, other rdzv.Member, plan *rdzv.Plan) *rdzv.Core {
	conf := rdzv.DefaultConfig(self)
	conf.MinNodes, conf.MaxNodes, conf.MaxRestarts = 2, 2, 1
	c := rdzv.New(conf, 0)
	c.Joined(other)
	from := func(kind rdzv.Kind, verdict *rdzv.Verdict) rdzv.Message {
		return rdzv.Message{Kind: kind, From: "b", To: "a", Plan: plan, Verdict: verdict}
	}
	for _, m := range []rdzv.Message{from(rdzv.Prepare, nil), from(rdzv.Start, nil), from(rdzv.Decide, &rdzv.Verdict{OK: true})}[:phase] {
		c.Receive(m)
	}
	return c
}

// FuzzInfo: what a node tells of itself is refused, or is within the limits and can go into a line.
func FuzzInfo(f *testing.F) {
	f.Add([]byte(`{"v":"v1","n":"2:2","s":8,"r":-1}`))
	f.Add([]byte(`{"v":"v1","n":"2:2","s":0,"r":-1}`))
	f.Add([]byte(`{"v":"\u001b[2J","n":"2:2","s":1}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		i, err := parseInfo(b)
		if err == nil && (i.Slots < 1 || i.Slots > maxSlots || i.NodeRank < -1 || strings.ContainsAny(i.Version+i.Nodes, "\n\r\x1b")) {
			t.Errorf("%q is taken as %+v", b, i)
		}
	})
}

func TestInfo(t *testing.T) {
	want := Info{Version: "v1.2.3 " + strings.Repeat("a", 40), Nodes: "1:512", Slots: 8, NodeRank: 3}
	b, err := want.encode()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := parseInfo(b); err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	if _, err := (Info{Version: strings.Repeat("v", 500), Nodes: "2:2", Slots: 1}).encode(); err == nil {
		t.Error("a version of 500 bytes was taken")
	}
}

// TestReadKey: from a file before the environment; what is no key is refused without showing it.
func TestReadKey(t *testing.T) {
	digits := strings.Repeat("0af1", 16)
	file := filepath.Join(t.TempDir(), "key")
	for _, tt := range []struct {
		file, env string
		ok, none  bool
	}{
		{digits + "\n", "", true, false}, {"", digits, true, false}, {digits, "junk", true, false}, {"", "", false, true},
		{"", "secret", false, false}, {"", digits + "00", false, false}, {strings.Repeat("0", 10000), "", false, false},
	} {
		path := ""
		if tt.file != "" {
			path = file
			if err := os.WriteFile(file, []byte(tt.file), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		key, err := ReadKey(path, tt.env)
		if (err == nil) != (tt.ok || tt.none) || (len(key) == KeyBytes) != tt.ok {
			t.Errorf("file %.10q, environment %.10q: %d bytes, %v", tt.file, tt.env, len(key), err)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the error shows the key: %v", err)
		}
	}
	if _, err := ReadKey(file+".not", ""); err == nil {
		t.Error("a file that does not exist was taken")
	}
}

// TestDeriveKey: other uses and other runs have other keys.
func TestDeriveKey(t *testing.T) {
	key := make([]byte, KeyBytes)
	var all []string
	for _, in := range [][2]string{{"r", "agents"}, {"r", "ranks"}, {"s", "agents"}} {
		out, err := DeriveKey(key, in[0], in[1])
		if err != nil || len(out) != KeyBytes {
			t.Fatalf("%d bytes, %v", len(out), err)
		}
		all = append(all, string(out))
	}
	slices.Sort(all)
	if len(slices.Compact(all)) != 3 {
		t.Error("two of the keys are the same")
	}
}
