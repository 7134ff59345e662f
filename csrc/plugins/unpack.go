package plugins

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Limits of what a wheel may unpack to: ten times what the largest of ours needs.
const (
	maxWheelBytes = 16 << 30
	maxWheelFiles = 100_000
)

// unpack extracts the wheel's files that match a pattern of keep, and its licences, into dir. Paths that leave dir,
// links and other special files are refused, as are archives beyond the limits. Returns the files it wrote, which are
// on the disk when it returns.
func unpack(wheel, dir string, keep []string) (files []manifestFile, err error) {
	r, err := zip.OpenReader(wheel)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if len(r.File) > maxWheelFiles {
		return nil, fmt.Errorf("%d files are more than %d", len(r.File), maxWheelFiles)
	}
	left := uint64(maxWheelBytes)
	for _, f := range r.File {
		if !wanted(f.Name, keep) {
			continue
		}
		if f.UncompressedSize64 > left {
			return nil, fmt.Errorf("%q: the wheel unpacks to more than %d GiB", f.Name, maxWheelBytes>>30)
		}
		left -= f.UncompressedSize64
		if err := unpackFile(f, dir); err != nil {
			return nil, fmt.Errorf("%q: %w", f.Name, err)
		}
		files = append(files, manifestFile{Path: f.Name, Size: int64(f.UncompressedSize64)})
	}
	return files, nil
}

// wanted tells whether name matches a pattern or is a licence in the wheel's dist-info folder.
func wanted(name string, keep []string) bool {
	if strings.HasSuffix(name, "/") {
		return false
	}
	for _, pattern := range keep {
		if ok, _ := path.Match(pattern, name); ok {
			return true
		}
	}
	top, rest, _ := strings.Cut(name, "/")
	if !strings.HasSuffix(top, ".dist-info") {
		return false
	}
	upper := strings.ToUpper(rest)
	return strings.HasPrefix(upper, "LICENSE") || strings.HasPrefix(upper, "NOTICE")
}

func unpackFile(f *zip.File, dir string) (err error) {
	if !f.Mode().IsRegular() {
		return fmt.Errorf("not a plain file (%v)", f.Mode().Type())
	}
	local, err := filepath.Localize(f.Name) // refuses "..", absolute and odd names
	if err != nil {
		return fmt.Errorf("the path would leave its folder: %w", err)
	}
	target := filepath.Join(dir, local)
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	in, err := f.Open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	mode := os.FileMode(0o644) | f.Mode().Perm()&0o111
	out, err := os.OpenFile(target, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	// zip checks the size and the checksum when it reaches the end.
	if _, err = io.Copy(out, in); err == nil {
		err = out.Sync()
	}
	return errors.Join(err, out.Close())
}
