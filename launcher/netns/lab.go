package netns

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// Lab is a few machines on one switch.
type Lab struct {
	*Switch
	names []string
}

// Possible returns nil if labs can be made here, or why not.
func Possible() error {
	if os.Geteuid() != 0 {
		return errors.New("network namespaces need root")
	}
	for _, program := range []string{"ip", "unshare", "hostname"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("%w: install iproute2, util-linux and hostname", err)
		}
	}
	lab, err := NewLab("probe", 1)
	if err != nil {
		return err
	}
	return lab.Close()
}

// NewLab makes n machines. The name is part of their namespaces' names and, with this process's id, unique.
func NewLab(name string, n int) (*Lab, error) {
	l := &Lab{Switch: &Switch{}}
	for i := range n {
		if err := l.add(fmt.Sprintf("gorun-%s-%d-%d", name, os.Getpid(), i), i); err != nil {
			return nil, errors.Join(err, l.Close())
		}
	}
	return l, nil
}

func (l *Lab) add(ns string, node int) error {
	if err := run("ip", "netns", "add", ns); err != nil {
		return err
	}
	l.names = append(l.names, ns)
	device := fmt.Sprintf("gr%d-%d", os.Getpid(), node)
	if err := l.plug(device); err != nil {
		return err
	}
	for _, line := range []string{
		"link set " + device + " netns " + ns,
		"-n " + ns + " link set lo up",
		"-n " + ns + " link set " + device + " name eth0",
		"-n " + ns + " addr add " + Addr(node) + "/24 dev eth0",
		"-n " + ns + " link set eth0 up",
	} {
		if err := run("ip", strings.Fields(line)...); err != nil {
			return err
		}
	}
	return nil
}

// Addr is a node's address.
func Addr(node int) string { return fmt.Sprintf("10.77.0.%d", node+1) }

// Link sets a node's interface up or down.
func (l *Lab) Link(node int, state string) error {
	return run("ip", "-n", l.names[node], "link", "set", "eth0", state)
}

// Command is a command on a node, with a host name of the caller's choice. wrap, if any, is a program with arguments that
// runs the rest of the line.
func (l *Lab) Command(node int, host string, wrap []string, argv ...string) *exec.Cmd {
	line := []string{"netns", "exec", l.names[node], "unshare", "--uts", "sh", "-c", `hostname "$0" && exec "$@"`, host}
	return exec.Command("ip", append(append(line, wrap...), argv...)...)
}

// Close removes the machines.
func (l *Lab) Close() error {
	err := l.unplug()
	for _, ns := range l.names {
		err = errors.Join(err, run("ip", "netns", "del", ns))
	}
	return err
}

func run(name string, args ...string) error {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
