package rdzv

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"gorun/tools/golden"
)

// TestScenarios plays testdata/*.txt: commands, a line "--", and the log that must come of them.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			script, _, _ := strings.Cut(string(b), "--\n")
			golden.File(t, file, script+"--\n"+play(t, script))
		})
	}
}

// play runs a scenario. Commands: config key=value..., join NODE key=value..., pass DURATION, crash NODE, lost AT NODE,
// fail NODE key=value..., behind NODE by=N, done NODE, stop NODE, cut A B, heal.
func play(t *testing.T, script string) string {
	t.Helper()
	w := newWorld(DefaultConfig(Member{}), 1)
	w.verbose = true
	for _, line := range strings.Split(script, "\n") {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] == "#" {
			continue
		}
		var args []string
		opts := map[string]string{}
		for _, word := range words[1:] {
			if k, v, ok := strings.Cut(word, "="); ok {
				opts[k] = v
			} else {
				args = append(args, word)
			}
		}
		w.printf("# %s", line)
		command(t, w, words[0], args, opts)
	}
	return w.log.String()
}

func command(t *testing.T, w *world, verb string, args []string, opts map[string]string) {
	t.Helper()
	num := func(key string, def int) int {
		if opts[key] == "" {
			return def
		}
		n, err := strconv.Atoi(opts[key])
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	switch verb {
	case "config":
		w.cfg.MinNodes, w.cfg.MaxNodes, w.cfg.MaxRestarts = num("min", 1), num("max", 1), num("restarts", 0)
	case "join":
		w.join(Member{ID: args[0], Addr: "10.0.0." + args[0], Slots: num("slots", 1), NodeRank: num("node_rank", -1)})
	case "pass":
		d, err := time.ParseDuration(args[0])
		if err != nil {
			t.Fatal(err)
		}
		w.pass(d)
	case "crash":
		w.crash(args[0])
	case "lost":
		w.notice(args[0], args[1])
	case "fail":
		n := w.nodes[args[0]]
		n.core.RankFailed(n.gen, Failure{Cause: Cause(opts["cause"]), Rank: num("rank", 0), PID: num("pid", 0), Signal: opts["signal"], Code: num("code", 0), Step: 7, Op: "all-reduce", Seq: 3 - n.behind, Error: opts["error"], Tail: opts["tail"]})
		w.drain(args[0])
	case "behind":
		w.nodes[args[0]].behind = num("by", 1)
	case "done":
		n := w.nodes[args[0]]
		n.ranks = false
		n.core.RanksDone(n.gen)
		w.drain(args[0])
	case "stop":
		w.nodes[args[0]].core.StopAsked()
		w.drain(args[0])
	case "cut":
		w.cut[args[0]+" "+args[1]] = true
	case "heal":
		clear(w.cut)
	default:
		t.Fatalf("no command %q", verb)
	}
}
