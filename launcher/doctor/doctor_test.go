package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gorun/launcher/inventory"
	"gorun/tools/golden"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sound is a node with two GPUs and nothing to say against it.
func sound(name string) *Facts {
	const tib = 1 << 40
	gpu := inventory.GPU{Name: "NVIDIA H200", Memory: 141 << 30, Health: inventory.Health{ClockMHz: 1980, MaxClockMHz: 1980}}
	second := gpu
	second.Index = 1
	return &Facts{
		Node: name, Device: "cuda", Driver: "580.1", GPUs: []inventory.GPU{gpu, second}, OpenFiles: 1 << 20, Locked: tib,
		Programs: []Program{
			{Name: "gorun", Path: "/opt/gorun", Version: "v1", SHA256: strings.Repeat("a", 64)},
			{Name: "plugin", Path: "/opt/plugin.so", Version: "PJRT 0.115", SHA256: strings.Repeat("b", 64)},
		},
		Interfaces: []Interface{{Name: "eth0", Addresses: []string{"10.0.0.1"}, MTU: 9000, Mbit: 100000}, {Name: "mgmt", Addresses: []string{"10.9.0.1"}, MTU: 1500}},
		Address:    "10.0.0.1", Memory: Room{tib, tib, ""}, Shared: Room{tib, tib, ""}, Disks: []Disk{{"/data", "checkpoints", Room{tib, tib, ""}}},
		Folder: &Folder{Path: "/data", Took: 3 * time.Millisecond},
	}
}

// ill are changes to a sound node, each with what the report must then say; testdata/ill.txt has it all.
func ill() *Facts {
	f := sound("n3")
	f.Programs[0].SHA256 = strings.Repeat("c", 64)
	f.Programs[1].Err, f.Programs[1].Fix = "no plugin for cuda", "run 'gorun setup --cuda'"
	f.Driver = "570.9"
	f.GPUs[0].Health = inventory.Health{ClockMHz: 400, MaxClockMHz: 1980, Slowed: []string{"heat, by the hardware"}, ECCErrors: 2, BadMemory: "rows of its memory wait to be remapped"}
	f.GPUs = f.GPUs[:1]
	f.Xid = []string{"NVRM: Xid (PCI:0000:10:00): 79, GPU has fallen off the bus."}
	f.Interfaces[0].MTU, f.Interfaces[0].Mbit = 1500, 10000
	f.PortErr = "listen tcp 10.0.0.1:0: bind: address already in use"
	f.OpenFiles, f.Locked = 1024, 8<<20
	f.Memory.Free, f.Shared.Free, f.Disks[0].Free = 1<<30, 64<<20, 1<<20
	f.Folder = &Folder{Path: "/data", Took: 2 * time.Second, Ahead: time.Hour}
	f.Unsynced = true
	return f
}

func report(nodes ...*Facts) *Report {
	var findings []Finding
	for _, f := range nodes {
		findings = append(findings, Judge(f)...)
	}
	return NewReport(nodes, append(findings, Compare(nodes)...))
}

// TestSound: three nodes that are alike and well give no word of advice.
func TestSound(t *testing.T) {
	r := report(sound("n1"), sound("n2"), sound("n3"))
	for _, f := range r.Findings {
		if f.Status != OK || f.Fix != "" {
			t.Errorf("%+v", f)
		}
	}
	if r.Status != OK {
		t.Errorf("the result is %s", r.Status)
	}
}

// TestIll compares the report on two sound nodes and an ill one with testdata/ill.txt: each fault is named, with the node.
func TestIll(t *testing.T) {
	r := report(sound("n1"), ill(), sound("n2"))
	r.Findings = slices.DeleteFunc(r.Findings, func(f Finding) bool { return f.Status == OK })
	for _, f := range r.Findings {
		if f.Node != "n3" || f.Fix == "" {
			t.Errorf("%+v: want a finding about n3, with advice", f)
		}
	}
	var b bytes.Buffer
	if err := r.Text(&b); err != nil {
		t.Fatal(err)
	}
	golden.File(t, "testdata/ill.txt", b.String())
	if r.Status != Fail {
		t.Errorf("the result is %s", r.Status)
	}
}

// TestMissingDriver: without a driver GPUs can't be used, and that is all that is said of them.
func TestMissingDriver(t *testing.T) {
	f := sound("n1")
	f.Driver, f.DriverErr, f.GPUs = "", "no NVIDIA driver here", nil
	var failed []string
	for _, x := range Judge(f) {
		if x.Status != OK {
			failed = append(failed, x.Check)
		}
	}
	if !slices.Equal(failed, []string{"driver"}) {
		t.Errorf("findings about %q, want one about the driver", failed)
	}
}

// TestGather: this machine has a name, memory, disks and a folder that can be written to; nothing is left in it.
func TestGather(t *testing.T) {
	dir := t.TempDir()
	f := Gather(Subject{Node: "here", Device: "cpu", Shared: dir, Disks: []Disk{{Path: filepath.Join(dir, "not", "there"), Use: "tests"}}})
	if f.Memory.Err != "" || f.Memory.Free == 0 || f.Memory.Free > f.Memory.Total || f.OpenFiles == 0 {
		t.Errorf("memory %+v, open files %d", f.Memory, f.OpenFiles)
	}
	if f.Disks[0].Path != dir || f.Disks[0].Err != "" || f.Disks[0].Total == 0 {
		t.Errorf("disk %+v", f.Disks[0])
	}
	if f.Folder.Err != "" || f.Folder.Ahead.Abs() > time.Minute {
		t.Errorf("folder %+v", f.Folder)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("the folder has %v, %v", left, err)
	}
	if f := Gather(Subject{Address: "127.0.0.1"}); f.Address != "127.0.0.1" || f.PortErr != "" {
		t.Errorf("an address that is given: %q (%s)", f.Address, f.PortErr)
	}
	if f := Gather(Subject{Shared: filepath.Join(dir, "none")}); f.Folder.Err == "" {
		t.Error("a folder that is not there: no error")
	}
}

// meet examines nodes that share a folder, at the same time; one of them, if not negative, stays away.
func meet(t *testing.T, n, away int, wait time.Duration) *Report {
	t.Helper()
	dir := t.TempDir()
	type result struct {
		report *Report
		err    error
	}
	results := make(chan result, n)
	for rank := range n {
		if rank == away {
			results <- result{}
			continue
		}
		go func() {
			f := sound("n" + string(rune('1'+rank)))
			f.Address = "127.0.0.1"
			r, err := Together(t.Context(), &Meeting{Folder: dir, ID: "x", Nodes: n, Rank: rank, Wait: wait}, f)
			results <- result{r, err}
		}()
	}
	var out *Report
	for range n {
		r := <-results
		if r.err != nil {
			t.Error(r.err)
		}
		if r.report != nil {
			out = r.report
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("the folder has %v, %v", left, err)
	}
	return out
}

func TestTogether(t *testing.T) {
	r := meet(t, 3, -1, time.Minute)
	answered := 0
	for _, f := range r.Findings {
		if f.Check == "reaching others" && f.Status == OK {
			answered++
		}
	}
	if answered != 3 || len(r.Nodes) != 3 {
		t.Errorf("%d of %d nodes reach the others", answered, len(r.Nodes))
	}
}

// TestNodeMissing: a node that does not come is named.
func TestNodeMissing(t *testing.T) {
	r := meet(t, 3, 1, 1500*time.Millisecond) // for two to come, on a busy machine
	if len(r.Nodes) != 2 || r.Status != Fail || !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Node == "node 1" && f.Status == Fail }) {
		t.Errorf("the report is %+v", r.Findings)
	}
}

// TestEnded: a node that comes when node 0 has given up is told so, and node 0 leaves nothing behind then either.
func TestEnded(t *testing.T) {
	dir := t.TempDir()
	f := sound("n1")
	f.Address = "127.0.0.1"
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Together(ctx, &Meeting{Folder: dir, ID: "x", Nodes: 2, Wait: time.Minute}, f); !errors.Is(err, context.Canceled) {
		t.Errorf("node 0: %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("the folder has %v, %v", left, err)
	}
	late := &Meeting{Folder: dir, ID: "x", Nodes: 2, Rank: 1, Wait: time.Minute}
	gone := make(chan error, 1)
	go func() { // as node 0 does, once the other has come
		for {
			if _, err := os.Stat(filepath.Join(late.dir(), "facts.1")); err == nil || t.Context().Err() != nil {
				gone <- os.RemoveAll(late.dir())
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	if _, err := Together(t.Context(), late, f); err == nil || !strings.Contains(err.Error(), "node 0 has ended the examination") {
		t.Errorf("node 1: %v", err)
	}
	if err := <-gone; err != nil {
		t.Error(err)
	}
}

// TestReach: a node that does not answer is named.
func TestReach(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	got := reach(t.Context(), []*hello{nil, {Facts: sound("n2"), Listen: l.Addr().String()}, {Facts: sound("n3")}})
	if len(got) != 1 || !strings.Contains(got[0], "node n2 does not answer") {
		t.Errorf("got %q", got)
	}
}

func TestMeetingValidate(t *testing.T) {
	err := (&Meeting{ID: "../x", Nodes: 1, Rank: 2}).Validate()
	if err == nil {
		t.Fatal("no error")
	}
	for _, flag := range []string{"--shared", "--rdzv-id", "--nnodes", "--node-rank", "--wait"} {
		if !strings.Contains(err.Error(), flag) {
			t.Errorf("%v does not name %s", err, flag)
		}
	}
}

// TestText: what another node says can't move the terminal's cursor, nor look like another line.
func TestText(t *testing.T) {
	var b bytes.Buffer
	f := Finding{Warn, "n\x1b[2J", "GPU 0", "slow\nok    GPU 1: fine", "look\rthere"}
	if err := NewReport([]*Facts{sound("a"), sound("b")}, []Finding{f}).Text(&b); err != nil {
		t.Fatal(err)
	}
	if want := "warn  n [2J: GPU 0: slow ok    GPU 1: fine\n      look there\n"; b.String() != want {
		t.Errorf("the text is %q, want %q", b.String(), want)
	}
}

// TestJSON: the report comes back as it was.
func TestJSON(t *testing.T) {
	var b bytes.Buffer
	if err := report(sound("n1"), ill()).JSON(&b); err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(b.Bytes(), &back); err != nil || len(back.Nodes) != 2 || back.Nodes[1].Folder.Ahead != time.Hour || back.Status != Fail {
		t.Errorf("it comes back as %+v, %v", back, err)
	}
}
