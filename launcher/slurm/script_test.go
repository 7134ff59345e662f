package slurm

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gorun/tools/golden"
)

// TestScriptText compares with testdata/*.sbatch, and lets a shell read each.
func TestScriptText(t *testing.T) {
	for name, s := range map[string]Script{
		"gpus": {
			About: " for recipe.toml", Name: "squad", Command: []string{"/opt/gorun", "--gpus=8", "--", "/home/u/recipe.toml"},
			Partition: "gpu", Account: "lab", QOS: "high", Constraint: "h100&nvlink", Time: "1-00:00:00", Nodes: 2, GPUs: 8, Warning: 120,
			Folder: "/home/u", Output: "/home/u/slurm-%j.out", Options: []string{"--mail-type=END"}, Before: []string{"module load cuda"},
		},
		"cpu": {
			Name: "demo", Command: []string{"/opt/my tools/gorun", "--set=model.x=it's $HOME", "demo.toml"}, Nodes: 1, CPUs: 4, Memory: "8G",
			Warning: 60, Folder: "/home/u/two words",
		},
	} {
		if err := s.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		path := filepath.Join("testdata", name+".sbatch")
		golden.File(t, path, s.Text())
		if out, err := exec.Command("sh", "-n", path).CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", path, err, out)
		}
	}
}

// TestQuote: a shell gives back what was quoted.
func TestQuote(t *testing.T) {
	for _, s := range []string{"plain", "", "two words", "it's", `$HOME "x" \n`, "a;b|c&d", "*?[x]~#!"} {
		out, err := exec.Command("sh", "-c", "printf %s "+quote(s)).Output()
		if err != nil || string(out) != s {
			t.Errorf("%q comes back as %q, %v", s, out, err)
		}
	}
}

// TestScriptValidate: all faults at once; none becomes a line of the script.
func TestScriptValidate(t *testing.T) {
	s := Script{
		Name: "a b", Partition: "p\n#SBATCH --x", Account: "$(x)", QOS: "q;", Constraint: "a b", Time: "soon", Memory: "much", CPUs: -1, Nodes: 0,
		Warning: 70000, Output: "a\"b", Folder: "a\nb", Options: []string{"x"}, Before: []string{"a\nb"},
	}
	err := s.Validate()
	if err == nil {
		t.Fatal("no error")
	}
	for _, flag := range []string{"--job-name", "--partition", "--account", "--qos", "--constraint", "--time", "--mem", "--cpus", "--nnodes", "--warning", "--output", "working folder", "--option", "--before"} {
		if !strings.Contains(err.Error(), flag) {
			t.Errorf("the error does not name %s: %v", flag, err)
		}
	}
}
