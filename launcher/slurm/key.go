package slurm

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// keyBytes is the length of a job's key and of the secret that it is made from.
const keyBytes = 32

// SecretPath is the file of the user's secret, in the home that the nodes of a cluster share.
func SecretPath() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("the folder of the user's secret: %w", err)
	}
	return filepath.Join(dir, "gorun", "secret"), nil
}

// Key is the key of this start of the step: the same on all of its nodes, another one for every other start. It is
// derived from the secret in the file at path, which the first task to need it makes. DESIGN.md says why.
func (s *Step) Key(path string) ([]byte, error) {
	secret, err := readSecret(path)
	if errors.Is(err, os.ErrNotExist) {
		if err = makeSecret(path); err == nil {
			secret, err = readSecret(path)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("the user's secret: %w", err)
	}
	info := strings.Join([]string{"gorun slurm job", s.Cluster, s.ID()}, "\x00")
	return hkdf.Key(sha256.New, secret, nil, info, keyBytes)
}

// readSecret refuses a file that others could have read or written.
func readSecret(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	var stat unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &stat); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	switch {
	case stat.Mode&unix.S_IFMT != unix.S_IFREG:
		return nil, fmt.Errorf("%s is no file: remove it", path)
	case int(stat.Uid) != os.Geteuid():
		return nil, fmt.Errorf("%s belongs to another user (%d): remove it", path, stat.Uid)
	case stat.Mode&0o077 != 0:
		return nil, fmt.Errorf("%s may be read or written by others (mode %04o): remove it, and a new one is made", path, stat.Mode&0o7777)
	}
	text := make([]byte, 2*keyBytes)
	n, err := f.Read(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	secret, err := hex.DecodeString(string(text[:n]))
	if err != nil || len(secret) != keyBytes {
		return nil, fmt.Errorf("%s does not begin with %d hexadecimal digits: remove it, and a new one is made", path, 2*keyBytes)
	}
	return secret, nil
}

// makeSecret writes a new secret, unless another task or node was faster: a link to a whole file is made once, on
// network file systems too.
func makeSecret(path string) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	secret := make([]byte, keyBytes)
	if _, err := rand.Read(secret); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".secret.*") // with mode 0600
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(f.Name())) }()
	_, err = f.WriteString(hex.EncodeToString(secret) + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err = os.Link(f.Name(), path); errors.Is(err, os.ErrExist) {
		return nil
	}
	return err
}
