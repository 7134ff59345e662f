package plugins

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// What can go wrong with pip, in the words that the user sees.
var (
	errNoPython     = errors.New("python3 is not on PATH: install Python 3 with pip (Debian, Ubuntu: apt install python3 python3-pip)")
	errNoPip        = errors.New("python3 has no pip: install it (Debian, Ubuntu: apt install python3-pip; elsewhere: python3 -m ensurepip --user)")
	errHash         = errors.New("the download is not the file that gorun pins (sha256 differs): try again, and if it stays so do not use this package index")
	errNetwork      = errors.New("the package index cannot be reached: check the network, the proxy and pip's configuration (python3 -m pip config list)")
	errNotPublished = errors.New("the package index has no such wheel for " + platform)
	errDiskFull     = errors.New("pip could not write")
)

// pipPlatforms are the tags of wheels that run on x86_64 with a C library of 2018 or later. They are given to pip, with
// a version of Python, so that it does not matter which python3 runs it: nothing is imported from these wheels.
var pipPlatforms = []string{
	"manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_26_x86_64", "manylinux_2_25_x86_64", "manylinux_2_24_x86_64",
	"manylinux_2_18_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64", "manylinux_2_12_x86_64", "manylinux2010_x86_64",
	"manylinux_2_5_x86_64", "manylinux1_x86_64",
}

const (
	pipTries     = 3
	pipFirstWait = 2 * time.Second // before the second try; it grows
)

// download fetches the wheel into dir, which it makes, and returns its path. A network fault is tried again.
func download(ctx context.Context, w wheel, dir string, progress io.Writer) (string, error) {
	python, err := exec.LookPath("python3")
	if err != nil {
		return "", errNoPython
	}
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval = pipFirstWait
	return backoff.Retry(ctx, func() (string, error) {
		path, err := pipDownload(ctx, python, w, dir)
		if err != nil && !errors.Is(err, errNetwork) {
			return "", backoff.Permanent(err)
		}
		return path, err
	}, backoff.WithBackOff(wait), backoff.WithMaxTries(pipTries), backoff.WithNotify(func(err error, d time.Duration) {
		fmt.Fprintf(progress, "%s: %v; trying again in %.0f s\n", w.name, err, d.Seconds())
	}))
}

// pipDownload is one try. dir is emptied first.
func pipDownload(ctx context.Context, python string, w wheel, dir string) (string, error) {
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	temp := filepath.Join(dir, "tmp") // pip's own, on the disk where there must be room anyway
	if err := os.MkdirAll(temp, 0o755); err != nil {
		return "", err
	}
	requirements := filepath.Join(temp, "requirements.txt")
	line := fmt.Sprintf("%s==%s --hash=sha256:%s\n", w.name, w.version, w.sha256)
	if err := os.WriteFile(requirements, []byte(line), 0o644); err != nil {
		return "", err
	}
	args := []string{
		"-m", "pip", "download", "--disable-pip-version-check", "--no-input", "--no-cache-dir", "--progress-bar", "off", "--quiet",
		"--retries", "1", "--no-deps", "--require-hashes", "--only-binary", ":all:", "--implementation", "cp", "--python-version", "3.12",
	}
	for _, p := range pipPlatforms {
		args = append(args, "--platform", p)
	}
	cmd := exec.CommandContext(ctx, python, append(args, "-r", requirements, "-d", dir)...)
	cmd.Env = append(os.Environ(), "TMPDIR="+temp, "LC_ALL=C.UTF-8")
	cmd.WaitDelay = 5 * time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		return "", pipError(err, out.String())
	}
	found, err := filepath.Glob(filepath.Join(dir, "*.whl"))
	if err != nil || len(found) != 1 {
		return "", fmt.Errorf("pip left %d wheels in %s instead of one: %s", len(found), dir, lastLines(out.String()))
	}
	return found[0], checkHash(found[0], w.sha256)
}

// pipError tells pip's failures apart by its words: it has no codes for them.
func pipError(err error, out string) error {
	has := func(words ...string) bool {
		for _, w := range words {
			if strings.Contains(out, w) {
				return true
			}
		}
		return false
	}
	kind := err
	switch {
	case has("No module named pip"):
		return errNoPip
	case has("DO NOT MATCH THE HASHES"):
		kind = errHash
	case has("No space left on device", "Errno 28"):
		kind = errDiskFull
	case has("onnection", "timed out", "name resolution", "Name or service not known", "ProxyError", "SSLError", "IncompleteRead", "Server Error"):
		kind = errNetwork
	case has("No matching distribution", "Could not find a version"):
		kind = errNotPublished
	}
	return fmt.Errorf("%w: pip says: %s", kind, lastLines(out))
}

// lastLines are pip's error lines, or failing these its last words, on one line.
func lastLines(out string) string {
	var errs, all []string
	for line := range strings.Lines(out) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		all = append(all, line)
		if strings.HasPrefix(line, "ERROR:") {
			errs = append(errs, strings.TrimSpace(strings.TrimPrefix(line, "ERROR:")))
		}
	}
	if len(errs) == 0 {
		errs = all
	}
	return strings.Join(errs[max(0, len(errs)-3):], "; ")
}

// checkHash is pip's own check again: what is unpacked is what was pinned, whatever pip did.
func checkHash(path, want string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		return fmt.Errorf("%w: %s has sha256 %s, not %s", errHash, filepath.Base(path), got, want)
	}
	return nil
}
