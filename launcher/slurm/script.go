package slurm

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Script is a batch script: resources, and one command that runs once on every node. Empty fields are left to Slurm.
type Script struct {
	About   string // a line for people: what wrote it, for what
	Name    string
	Command []string // program and arguments; the program must have the same path on all nodes

	Partition, Account, QOS, Constraint string
	Time                                string // limit, in one of Slurm's forms: MINUTES, HOURS:MINUTES:SECONDS, DAYS-HOURS, ...
	Nodes                               int
	GPUs                                int    // on each node; 0 = none
	CPUs                                int    // on each node; 0 = whole nodes, with all of their memory
	Memory                              string // of each node, as 64G; with whole nodes it is all of it
	Warning                             int    // seconds before the limit at which SIGUSR1 comes
	Folder                              string // where the command starts
	Output                              string // file for what it prints; %j is the job's number

	Options []string // further options of sbatch, as --mail-type=END
	Before  []string // shell commands before the run, as "module load cuda"
}

// Mark begins the second line of every script that this package writes.
const Mark = "# Written by gorun"

// maxWarning is the longest warning that Slurm takes, in seconds.
const maxWarning = 65535

var (
	plainValue   = regexp.MustCompile(`^[A-Za-z0-9._,+:@=%/-]*$`)
	nodeFeatures = regexp.MustCompile(`^[A-Za-z0-9._,+:@=&|*()\[\]-]*$`)
	timeLimit    = regexp.MustCompile(`^([0-9]{1,6}-)?[0-9]{1,7}(:[0-9]{1,2}){0,2}$`)
	memorySize   = regexp.MustCompile(`^[0-9]{1,12}[KMGT]?$`)
)

// Validate returns all faults at once.
func (s *Script) Validate() error {
	var faults []error
	refuse := func(bad bool, format string, args ...any) {
		if bad {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	for _, f := range []struct{ flag, value string }{{"--job-name", s.Name}, {"--partition", s.Partition}, {"--account", s.Account}, {"--qos", s.QOS}} {
		refuse(!plainValue.MatchString(f.value), "%s %q: want letters, digits and . _ , + : @ = %% / - only", f.flag, f.value)
	}
	refuse(!nodeFeatures.MatchString(s.Constraint), "--constraint %q: want names of features, with & | , * ( ) [ ] between them, and no spaces", s.Constraint)
	refuse(s.Time != "" && !timeLimit.MatchString(s.Time), "--time %q: want MINUTES, MINUTES:SECONDS, HOURS:MINUTES:SECONDS, DAYS-HOURS, DAYS-HOURS:MINUTES or DAYS-HOURS:MINUTES:SECONDS", s.Time)
	refuse(s.Memory != "" && !memorySize.MatchString(s.Memory), "--mem %q: want a number with K, M, G or T, as 64G", s.Memory)
	refuse(s.Memory != "" && s.CPUs == 0, "--mem %s without --cpus: then the job has whole nodes, with all of their memory", s.Memory)
	refuse(s.Nodes < 1, "--nnodes %d: want 1 or more", s.Nodes)
	refuse(s.CPUs < 0, "--cpus %d: want 1 or more, or 0 for whole nodes", s.CPUs)
	refuse(s.Warning < 1 || s.Warning > maxWarning, "--warning %d: want 1 to %d seconds", s.Warning, maxWarning)
	for _, f := range []struct{ what, path string }{{"--output", s.Output}, {"the working folder", s.Folder}} {
		refuse(strings.ContainsFunc(f.path, isControl) || strings.ContainsAny(f.path, `"'\`), "%s %q: sbatch can't take a path with quotes, backslashes or control characters", f.what, f.path)
	}
	for _, o := range s.Options {
		refuse(!strings.HasPrefix(o, "-") || strings.ContainsFunc(o, isControl), "--option %q: want an option of sbatch on one line, as --option=--mail-type=END", o)
	}
	for _, b := range s.Before {
		refuse(strings.ContainsFunc(b, isControl), "--before %q: want one line; give the flag again for another", b)
	}
	return errors.Join(faults...)
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// Text is the script. It has values only: no variable, no trap, nothing to adapt before it is submitted.
func (s *Script) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "#!/bin/sh\n%s%s\n", Mark, oneLine(s.About))
	option := func(name, value string) {
		if value == "" {
			return
		}
		if strings.ContainsAny(value, " #") {
			value = `"` + value + `"`
		}
		fmt.Fprintf(&b, "#SBATCH --%s=%s\n", name, value)
	}
	option("job-name", s.Name)
	option("partition", s.Partition)
	option("account", s.Account)
	option("qos", s.QOS)
	option("constraint", s.Constraint)
	option("time", s.Time)
	option("nodes", strconv.Itoa(s.Nodes))
	option("ntasks-per-node", "1")
	if s.GPUs > 0 {
		option("gpus-per-node", strconv.Itoa(s.GPUs))
	}
	step := "" // srun does not take it from sbatch
	if s.CPUs > 0 {
		option("cpus-per-task", strconv.Itoa(s.CPUs))
		option("mem", s.Memory)
		step = fmt.Sprintf(" --cpus-per-task=%d", s.CPUs)
	} else {
		b.WriteString("#SBATCH --exclusive\n")
		option("mem", "0")
	}
	option("signal", fmt.Sprintf("USR1@%d", s.Warning))
	b.WriteString("#SBATCH --requeue\n")
	option("open-mode", "append")
	option("chdir", s.Folder)
	option("output", s.Output)
	for _, o := range s.Options {
		fmt.Fprintf(&b, "#SBATCH %s\n", o)
	}
	b.WriteByte('\n')
	for _, line := range s.Before {
		b.WriteString(line + "\n")
	}
	// The agents place ranks on CPUs themselves, and an agent that ends badly ends the others.
	fmt.Fprintf(&b, "exec srun --cpu-bind=none --kill-on-bad-exit=1%s --", step)
	for _, arg := range s.Command {
		b.WriteString(" " + quote(arg))
	}
	b.WriteByte('\n')
	return b.String()
}

var unquoted = regexp.MustCompile(`^[A-Za-z0-9._,+:@=%/-]+$`)

// quote makes one word of the shell of a text.
func quote(s string) string {
	if unquoted.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if isControl(r) {
			return ' '
		}
		return r
	}, s)
}
