package ckpt

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"gorun/model/export"
	"gorun/model/safetensors"
)

// SaveOptions say how a checkpoint is saved.
type SaveOptions struct {
	// Keep is how many of the last saved checkpoints stay, this one included; 0 keeps all. Those that
	// LATEST and LOWEST_VAL point to always stay.
	Keep int

	// Files are small files put beside the others as they are, such as the base's config.json with
	// full fine-tuning, by their names.
	Files map[string][]byte
}

// Save opens a checkpoint folder for one checkpoint; see Dir.Save. A run that saves often keeps a Dir.
func Save(ctx context.Context, dir string, s *State, opt SaveOptions) (string, error) {
	d, err := Open(dir, nil)
	if err != nil {
		return "", err
	}
	path, err := d.Save(ctx, s, opt)
	return path, errors.Join(err, d.Close())
}

// Save writes the state as the checkpoint epoch_E_step_S, moves LATEST to it, LOWEST_VAL to the one with
// the lowest validation loss, and removes what Keep does not cover. It returns the checkpoint's path.
//
// A checkpoint saved before for the same epoch and step is replaced in one step. If Save fails before
// the new one is published, nothing of it stays and the others are as they were; path is then "". With
// a path and an error, the checkpoint is whole but a link could not be moved. Trouble in removing old
// checkpoints is only a warning. Cancelling ctx stops between files.
func (d *Dir) Save(ctx context.Context, s *State, opt SaveOptions) (path string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	defer func() {
		if err != nil {
			err = fmt.Errorf("save checkpoint of step %d: %w", s.Step, explain(err, d.path, s.bytes()))
		}
	}()
	if d.closed {
		return "", errors.New("the checkpoint folder is closed")
	}
	if err := errors.Join(s.Validate(), opt.validate()); err != nil {
		return "", err
	}
	entries, err := list(d.path)
	if err != nil {
		return "", err
	}
	sequence := int64(1)
	if len(entries) > 0 {
		sequence += entries[0].sequence
	}
	name := checkpointName(s.Epoch, s.Step)
	tmp := filepath.Join(d.path, tmpPrefix+name)
	if err := d.write(ctx, tmp, s, opt, sequence); err != nil {
		return "", errors.Join(err, os.RemoveAll(tmp))
	}
	if err := d.publish(tmp, name); err != nil {
		return "", errors.Join(err, os.RemoveAll(tmp))
	}
	path = filepath.Join(d.path, name)
	if err := d.moveLinks(name, s.BaseDigest); err != nil {
		return path, fmt.Errorf("%s is saved, but the links are not: %w", path, err)
	}
	if err := d.retain(opt.Keep); err != nil {
		d.warn(fmt.Sprintf("old checkpoints could not be removed: %v", err))
	}
	return path, nil
}

func (opt *SaveOptions) validate() error {
	var faults []error
	if opt.Keep < 0 {
		faults = append(faults, fmt.Errorf("checkpoint.keep is %d, want 0 (all) or more", opt.Keep))
	}
	ours := []string{export.ConfigFile, export.WeightsFile, modelFile, optimizerFile, stateFile, recipeFile, manifestFile}
	for _, name := range slices.Sorted(maps.Keys(opt.Files)) {
		if !plainName(name) || slices.Contains(ours, name) {
			faults = append(faults, fmt.Errorf("a file cannot be put in a checkpoint under the name %q", name))
		}
	}
	return errors.Join(faults...)
}

// bytes is about how much room the state takes on disk.
func (s *State) bytes() int64 {
	var n int64
	for _, ts := range [][]safetensors.Tensor{s.Params, s.Moment1, s.Moment2} {
		for i := range ts {
			n += int64(len(ts[i].Data))
		}
	}
	return n + int64(len(s.Recipe))
}

// write makes the folder tmp with all files of the checkpoint, synced, the manifest last.
func (d *Dir) write(ctx context.Context, tmp string, s *State, opt SaveOptions, sequence int64) error {
	if err := os.RemoveAll(tmp); err != nil { // left by a Save of ours that could not clear it
		return err
	}
	if err := os.Mkdir(tmp, 0o755); err != nil {
		return err
	}
	state, err := s.encode()
	if err != nil {
		return err
	}
	for _, part := range []func() error{
		func() error { return writeParams(tmp, s) },
		func() error { return writeOptimizer(tmp, s) },
		func() error { return writeFile(filepath.Join(tmp, recipeFile), []byte(s.Recipe)) },
		func() error { return writeFile(filepath.Join(tmp, stateFile), state) },
		func() error {
			for _, name := range slices.Sorted(maps.Keys(opt.Files)) {
				if err := writeFile(filepath.Join(tmp, name), opt.Files[name]); err != nil {
					return err
				}
			}
			return nil
		},
		func() error {
			m, err := makeManifest(tmp, sequence)
			if err != nil {
				return err
			}
			data, err := m.encode()
			if err != nil {
				return err
			}
			return writeFile(filepath.Join(tmp, manifestFile), data)
		},
		func() error { return syncDir(tmp) },
	} {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("stopped before it was whole: %w", err)
		}
		if err := part(); err != nil {
			return err
		}
	}
	return nil
}

func writeParams(tmp string, s *State) error {
	if s.Adapter != nil {
		return export.WritePEFT(tmp, s.filledAdapter())
	}
	return safetensors.Write(filepath.Join(tmp, modelFile), s.Params, map[string]string{"format": "pt"})
}

const (
	moment1Prefix = "moment1."
	moment2Prefix = "moment2."
)

func writeOptimizer(tmp string, s *State) error {
	all := make([]safetensors.Tensor, 0, len(s.Moment1)+len(s.Moment2))
	for _, m := range []struct {
		prefix string
		list   []safetensors.Tensor
	}{{moment1Prefix, s.Moment1}, {moment2Prefix, s.Moment2}} {
		for _, t := range m.list {
			t.Name = m.prefix + t.Name
			all = append(all, t)
		}
	}
	return safetensors.Write(filepath.Join(tmp, optimizerFile), all,
		map[string]string{"format": "pt", "step": strconv.Itoa(s.Step)})
}

// moveLinks points LATEST to the checkpoint just published, and LOWEST_VAL to the best of those whose
// base is the same.
func (d *Dir) moveLinks(name, baseDigest string) error {
	if err := setLink(d.path, latestLink, name); err != nil {
		return err
	}
	entries, err := list(d.path)
	if err != nil {
		return err
	}
	best, err := lowest(d.path, entries, baseDigest)
	if err != nil {
		return err
	}
	if best != "" && best != linkTarget(d.path, lowestLink) {
		if err := setLink(d.path, lowestLink, best); err != nil {
			return err
		}
	}
	return syncDir(d.path)
}

// retain removes all but the last keep checkpoints. Each gets a hidden name first, so that no reader
// takes one that is half removed. Folders that are not whole are not ours to judge: they stay.
func (d *Dir) retain(keep int) error {
	if keep == 0 {
		return nil
	}
	entries, err := list(d.path)
	if err != nil {
		return err
	}
	latest, lowest := linkTarget(d.path, latestLink), linkTarget(d.path, lowestLink)
	var faults []error
	for i, e := range entries {
		if i < keep || e.err != nil || e.name == latest || e.name == lowest {
			continue
		}
		hidden := filepath.Join(d.path, tmpPrefix+"del-"+e.name)
		err := os.Rename(filepath.Join(d.path, e.name), hidden)
		if err == nil {
			err = os.RemoveAll(hidden)
		}
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}
