package metrics

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// maxLine bounds a line that is read back; ours have about 200 bytes.
const maxLine = 1 << 20

// jsonl is a file of records, one a line. A line is written by one call of the system and is whole or,
// after an error, taken back.
type jsonl struct {
	file    *os.File
	size    int64 // of the whole lines
	regular bool  // not a device or a pipe, which cannot be cut
}

// openJSONL opens or creates path. A run that resumes after step resume > 0 goes on behind the last
// record up to it; later ones, and a last line that a crash tore, are cut. A new run (resume 0) sets an
// older file aside as path.1, path.2 and so on.
func openJSONL(path string, resume int) (*jsonl, error) {
	if resume == 0 {
		if err := setAside(path); err != nil {
			return nil, err
		}
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	log := &jsonl{file: file}
	if err := log.cut(resume); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return log, nil
}

// setAside renames an older regular file that has something in it to the first free path.N.
func setAside(path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at the older log: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() == 0 {
		return nil
	}
	for n := 1; ; n++ {
		aside := fmt.Sprintf("%s.%d", path, n)
		if _, err := os.Lstat(aside); err == nil {
			continue
		}
		if err := os.Rename(path, aside); err != nil {
			return fmt.Errorf("set the older log aside: %w", err)
		}
		return nil
	}
}

// cut finds the end of the records up to step resume and removes what is behind it.
func (l *jsonl) cut(resume int) error {
	info, err := l.file.Stat()
	if err != nil {
		return fmt.Errorf("look at the log: %w", err)
	}
	l.regular = info.Mode().IsRegular()
	if !l.regular {
		return nil
	}
	if l.size, err = endOf(l.file, resume); err != nil {
		return fmt.Errorf("%s: %w; set the file aside", l.file.Name(), err)
	}
	if err := l.file.Truncate(l.size); err != nil {
		return fmt.Errorf("cut the log at step %d: %w", resume, err)
	}
	if _, err := l.file.Seek(l.size, io.SeekStart); err != nil {
		return fmt.Errorf("go to the end of the log: %w", err)
	}
	return nil
}

// endOf returns the offset behind the last record up to step resume. A last line without its end is torn
// and not counted. Lines that are no records, or steps out of order, are errors: then the file is not
// ours to cut.
func endOf(r io.Reader, resume int) (int64, error) {
	lines := bufio.NewReaderSize(r, maxLine)
	var offset, end int64
	for n, late := 1, false; ; n++ {
		line, err := lines.ReadSlice('\n')
		switch {
		case errors.Is(err, io.EOF):
			return end, nil
		case err != nil:
			return 0, fmt.Errorf("line %d: %w", n, err)
		}
		var record struct{ Step *int }
		if err := json.Unmarshal(line, &record); err != nil || record.Step == nil {
			return 0, fmt.Errorf("line %d is no record of a step", n)
		}
		offset += int64(len(line))
		switch {
		case *record.Step > resume:
			late = true
		case late:
			return 0, fmt.Errorf("line %d: step %d comes after later ones", n, *record.Step)
		default:
			end = offset
		}
	}
}

// write appends one record.
func (l *jsonl) write(record any) error {
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(record); err != nil {
		return fmt.Errorf("write %s: %w", l.file.Name(), err)
	}
	n, err := l.file.Write(b.Bytes())
	if err == nil {
		l.size += int64(n)
		return nil
	}
	err = fmt.Errorf("write %s: %w; free some space or set logging.dir elsewhere", l.file.Name(), err)
	if !l.regular || n == 0 {
		return err
	}
	if cut := l.file.Truncate(l.size); cut != nil {
		return errors.Join(err, fmt.Errorf("take back half a line: %w", cut))
	}
	if _, seek := l.file.Seek(l.size, io.SeekStart); seek != nil {
		return errors.Join(err, fmt.Errorf("take back half a line: %w", seek))
	}
	return err
}

// close makes the file durable and closes it.
func (l *jsonl) close() error {
	var err error
	if l.regular {
		err = l.file.Sync()
	}
	if err = errors.Join(err, l.file.Close()); err != nil {
		return fmt.Errorf("close log: %w", err)
	}
	return nil
}
