package metrics

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// logFile is a file that records are appended to. A record is written by one call of the system and is whole or, after
// an error, taken back.
type logFile struct {
	file    *os.File
	size    int64 // of the whole records
	regular bool  // not a device or a pipe, which cannot be cut
}

// openLog opens or creates path and cuts it where end says, given its content, that the records to keep end.
func openLog(path string, end func(io.Reader) (int64, error)) (*logFile, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	l := &logFile{file: file}
	if err := l.cut(end); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return l, nil
}

// setAside renames an older folder, or an older regular file that has something in it, to the first free path.N.
func setAside(path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at the older log: %w", err)
	}
	if !info.IsDir() && (!info.Mode().IsRegular() || info.Size() == 0) {
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

// cut removes what is behind the records to keep.
func (l *logFile) cut(end func(io.Reader) (int64, error)) error {
	info, err := l.file.Stat()
	if err != nil {
		return fmt.Errorf("look at the log: %w", err)
	}
	l.regular = info.Mode().IsRegular()
	if !l.regular {
		return nil
	}
	if l.size, err = end(l.file); err != nil {
		return fmt.Errorf("%s: %w; set the file aside", l.file.Name(), err)
	}
	if err := l.file.Truncate(l.size); err != nil {
		return fmt.Errorf("cut the log: %w", err)
	}
	if _, err := l.file.Seek(l.size, io.SeekStart); err != nil {
		return fmt.Errorf("go to the end of the log: %w", err)
	}
	return nil
}

// append writes one record.
func (l *logFile) append(record []byte) error {
	n, err := l.file.Write(record)
	if err == nil {
		l.size += int64(n)
		return nil
	}
	err = fmt.Errorf("write %s: %w; free some space or set logging.dir elsewhere", l.file.Name(), err)
	if !l.regular || n == 0 {
		return err
	}
	if cut := l.file.Truncate(l.size); cut != nil {
		return errors.Join(err, fmt.Errorf("take back half a record: %w", cut))
	}
	if _, seek := l.file.Seek(l.size, io.SeekStart); seek != nil {
		return errors.Join(err, fmt.Errorf("take back half a record: %w", seek))
	}
	return err
}

// close makes the file durable and closes it.
func (l *logFile) close() error {
	var err error
	if l.regular {
		err = l.file.Sync()
	}
	if err = errors.Join(err, l.file.Close()); err != nil {
		return fmt.Errorf("close log: %w", err)
	}
	return nil
}
