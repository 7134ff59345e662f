package ckpt

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// fail ends a child process with a message.
func fail(err error) {
	fmt.Fprintln(os.Stderr, "child:", err)
	os.Exit(3)
}

// saveForever is a run that resumes and saves every step until it is killed. It prints each step once
// Save has returned.
func saveForever() {
	dir := os.Getenv(childDir)
	d, err := Open(dir, nil)
	if err != nil {
		fail(err)
	}
	step := 0
	if path, ok, err := latest(dir); err != nil {
		fail(err)
	} else if ok {
		s, err := Load(path)
		if err != nil {
			fail(err)
		}
		step = s.Step // saved again: replaced while it is LATEST
	}
	for ; ; step++ {
		for range 2 { // the second time it is replaced
			if _, err := d.Save(context.Background(), withVal(loraState(step), float64(step%7)), SaveOptions{Keep: 2}); err != nil {
				fail(err)
			}
			fmt.Println(step)
		}
	}
}

// TestKill kills a run that does nothing but save, at moments that a seed chooses. After each kill the
// newest checkpoint must load whole and be the last one acknowledged or the one after it.
func TestKill(t *testing.T) {
	const rounds = 15
	dir := t.TempDir()
	random := rand.New(rand.NewPCG(3, 1))
	acknowledged, total := -1, 0
	for round := range rounds {
		cmd := child(t, "save", dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		if round%2 == 0 && !lines.Scan() { // the clock starts with the first save, or else at once
			t.Fatalf("round %d: the run saved nothing: %v", round, cmd.Wait())
		}
		timer := time.AfterFunc(time.Duration(random.IntN(60_000))*time.Microsecond, func() {
			_ = cmd.Process.Kill()
		})
		for more := round%2 == 0 || lines.Scan(); more; more = lines.Scan() {
			if acknowledged, err = strconv.Atoi(lines.Text()); err != nil {
				t.Fatal(err)
			}
			total++
		}
		timer.Stop()
		if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
			t.Fatalf("round %d: the run ended with %v", round, err)
		}
		path, ok, err := latest(dir)
		if err != nil || !ok {
			t.Fatalf("round %d, killed after step %d: Latest gives %v %v", round, acknowledged, ok, err)
		}
		s, err := Load(path)
		if err != nil {
			t.Fatalf("round %d, killed after step %d: %v", round, acknowledged, err)
		}
		if s.Step != acknowledged && s.Step != acknowledged+1 {
			t.Errorf("round %d: step %d is the newest, %d was acknowledged", round, s.Step, acknowledged)
		}
		assertState(t, s, withVal(loraState(s.Step), float64(s.Step%7)))
		for _, name := range names(t, dir) {
			if _, _, isCheckpoint := parseName(name); !isCheckpoint {
				continue
			}
			if _, err := Load(filepath.Join(dir, name)); err != nil {
				t.Errorf("round %d: published but not whole: %v", round, err)
			}
		}
		for _, link := range []string{latestLink, lowestLink} {
			if _, err := Load(filepath.Join(dir, link)); err != nil {
				t.Errorf("round %d: %v", round, err)
			}
		}
	}
	d, _ := open(t, dir)
	save(t, d, loraState(acknowledged+1), 2)
	for _, name := range names(t, dir) {
		if strings.HasPrefix(name, tmpPrefix) || strings.HasPrefix(name, oldPrefix) {
			t.Errorf("%s is left", name)
		}
	}
	if n := len(names(t, dir)); n > 6 { // lock, two links, two kept, the lowest
		t.Errorf("%d names in the folder: %q", n, names(t, dir))
	}
	t.Logf("%d checkpoints saved in %d lives", total, rounds)
}

// holdLock takes a folder and keeps it until its input ends.
func holdLock() {
	d, err := Open(os.Getenv(childDir), nil)
	if err != nil {
		fail(err)
	}
	fmt.Println("held")
	bufio.NewScanner(os.Stdin).Scan()
	if err := d.Close(); err != nil {
		fail(err)
	}
}

func TestSecondRunIsRefused(t *testing.T) {
	dir := t.TempDir()
	cmd := child(t, "hold", dir)
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	if !bufio.NewScanner(out).Scan() {
		t.Fatalf("no lock: %v", cmd.Wait())
	}
	_, err := Open(dir, nil)
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), fmt.Sprintf("process %d on", cmd.Process.Pid)) {
		t.Errorf("error is %v", err)
	}
	if _, err := Save(t.Context(), dir, loraState(1), SaveOptions{}); !errors.Is(err, ErrLocked) {
		t.Errorf("Save's error is %v", err)
	}
	if _, ok, err := latest(dir); ok || err != nil {
		t.Errorf("reading needs no lock, but Latest gives %v %v", ok, err)
	}
	if err := errors.Join(in.Close(), cmd.Wait()); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
}
