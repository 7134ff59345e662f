package data

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// resolve lists the files of path in order: itself, or, of a folder, those of a split. A folder is laid out as on the
// Hub: train.jsonl, train-00000-of-00002.parquet, data/train-*.parquet, plain_text/train/0000.parquet ...
func resolve(path, split string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("data: %w: name a file or a folder in dataset.path_or_id", err)
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	var seen []string
	for _, name := range spellings(split) {
		for _, sub := range []string{"", "data", "plain_text"} {
			dir := filepath.Join(path, sub)
			files, others, err := filesOf(dir, name)
			if err != nil {
				return nil, err
			}
			if files == nil {
				if files, _, err = filesOf(filepath.Join(dir, name), ""); err != nil {
					return nil, err
				}
			}
			if files != nil {
				return files, whole(dir, split, files)
			}
			seen = append(seen, others...)
		}
	}
	return nil, fmt.Errorf("data: folder %s has no file of split %q (it has %s): name one of its splits in dataset.split, or the file itself", path, split, listed(seen))
}

// spellings are the names that files of a split go by, as on the Hub; the split's own is the first.
func spellings(split string) []string {
	if split == "validation" {
		return []string{split, "valid", "val", "dev"}
	}
	return []string{split}
}

// descriptions are JSON files that the datasets library leaves beside the data.
var descriptions = []string{"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"}

// filesOf lists the data files of one folder whose name is a split's (all of them if split is ""), sorted, and the
// names of the others. A folder that is not there has none.
func filesOf(dir, split string) (files, others []string, err error) {
	if info, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) || err == nil && !info.IsDir() {
		return nil, nil, nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("data: %w", err)
	}
	for _, e := range entries {
		name := e.Name()
		if e.IsDir() || format(name) == "" || slices.Contains(descriptions, name) {
			continue
		}
		rest, ok := strings.CutPrefix(name, split)
		if split == "" || ok && rest != "" && strings.ContainsAny(rest[:1], ".-_") {
			files = append(files, filepath.Join(dir, name))
		} else {
			others = append(others, name)
		}
	}
	return files, others, nil
}

var (
	shard    = regexp.MustCompile(`-(\d+)-of-(\d+)`)
	numbered = regexp.MustCompile(`^[A-Za-z]*[-_.]?(part|shard)?[-_.]?\d+(\.[A-Za-z]+)+$`)
)

// whole tells whether files are one file, or all the shards of one set: two files that may be versions of each other,
// or a set with a hole in it, are not read as if they were the split.
func whole(dir, split string, files []string) error {
	if len(files) == 1 && shard.FindString(filepath.Base(files[0])) == "" {
		return nil
	}
	var names []string
	count, got := 0, map[int]bool{}
	for i, f := range files {
		name := filepath.Base(f)
		names = append(names, name)
		n := 0
		if m := shard.FindStringSubmatch(name); m != nil {
			index, err := strconv.Atoi(m[1])
			total, err2 := strconv.Atoi(m[2])
			if err != nil || err2 != nil || index >= total {
				return fmt.Errorf("data: %s: not a shard's number: shards are numbered 00000-of-00002, 00001-of-00002", f)
			}
			got[index], n = true, total
		} else if !numbered.MatchString(name) {
			n = -1
		}
		if i > 0 && n != count || n < 0 || format(name) != format(files[0]) || n > 0 && len(got) != i+1 {
			return fmt.Errorf("data: folder %s has several files of split %q that are not shards of one set (%s): name the one to read in dataset.path_or_id", dir, split, listed(append(names, basenames(files[i+1:])...)))
		}
		count = n
	}
	if count > 0 && len(got) != count {
		return fmt.Errorf("data: folder %s has %d of the %d shards of split %q (%s): fetch the others", dir, len(got), count, split, listed(names))
	}
	return nil
}

func basenames(files []string) []string {
	var out []string
	for _, f := range files {
		out = append(out, filepath.Base(f))
	}
	return out
}

func listed(names []string) string {
	if len(names) == 0 {
		return "no .json, .jsonl, .parquet or .txt file"
	}
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	if len(names) > 8 {
		names = append(names[:8:8], "...")
	}
	return strings.Join(names, ", ")
}
