package ckpt

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Resolved is where a run starts from.
type Resolved struct {
	Path     string   // checkpoint to load; "" to start afresh
	Warnings []string // what was passed over, one line each
}

// Resolve turns checkpoint.resume into the checkpoint to load.
//
// "auto" takes the one LATEST points to, else the last saved that is whole; each one it looks at is read
// in full and compared with its manifest, and one that is not whole is passed over with a warning. No
// checkpoints at all mean starting afresh; some, but none whole, are an error, since starting afresh was
// not asked for. "never" starts afresh. Anything else is the path of a checkpoint or of a link to one,
// which must be whole.
func Resolve(dir, resume string) (Resolved, error) {
	switch resume {
	case "auto":
		r, err := resolveAuto(dir)
		if err != nil {
			return Resolved{}, fmt.Errorf("resume from %s: %w", dir, err)
		}
		return r, nil
	case "never":
		return Resolved{}, nil
	case "":
		return Resolved{}, errors.New(`checkpoint.resume is empty: want "auto", "never" or the path of a checkpoint`)
	}
	path, err := resolvePath(resume)
	if err != nil {
		return Resolved{}, fmt.Errorf("checkpoint.resume = %q: %w", resume, err)
	}
	return Resolved{Path: path}, nil
}

func resolveAuto(dir string) (Resolved, error) {
	entries, err := list(dir)
	if err != nil {
		return Resolved{}, err
	}
	var r Resolved
	order := make([]entry, 0, len(entries)+1)
	latest := linkTarget(dir, latestLink)
	for _, e := range entries {
		if e.name == latest {
			order = append(order, e)
		}
	}
	for _, e := range entries {
		if e.name != latest {
			order = append(order, e)
		}
	}
	var faults []error
	for _, e := range order {
		path := filepath.Join(dir, e.name)
		err := e.err
		if err == nil {
			_, err = verify(path)
		}
		if err == nil {
			r.Path = path
			return r, nil
		}
		faults = append(faults, fmt.Errorf("%s: %w", e.name, err))
		r.Warnings = append(r.Warnings, fmt.Sprintf("checkpoint %s is passed over: %v", path, err))
	}
	if len(faults) > 0 {
		return Resolved{}, fmt.Errorf("none of its checkpoints can be used; remove them, or say checkpoint.resume = \"never\": %w",
			errors.Join(faults...))
	}
	return r, nil
}

// resolvePath checks the path of one checkpoint and follows links, since LATEST may move while it is read.
func resolvePath(resume string) (string, error) {
	path, err := filepath.EvalSymlinks(resume)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("there is no such checkpoint: %w", err)
	}
	if err != nil {
		return "", err
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.IsDir() {
		return "", errors.New("a checkpoint is a folder, this is a file")
	}
	if _, err := verify(path); err != nil {
		if linkTarget(path, latestLink) != "" {
			return "", fmt.Errorf("this is a folder of checkpoints: give one of them, such as %s", filepath.Join(resume, latestLink))
		}
		return "", err
	}
	return path, nil
}
