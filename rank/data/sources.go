package data

import (
	"os"

	"gorun/configs"
)

// sources are the files of a data set, and how their records are visited.
type sources struct {
	config configs.Dataset
	files  []string
	read   func(bytes int64) // is told of what has been read of the files; nil = nobody
}

// newSources finds the files that a recipe's data set names.
func newSources(c configs.Dataset) (*sources, error) {
	if c.Kind == "squad" && c.PathOrID == DemoSQuAD {
		return &sources{config: c}, nil
	}
	files, err := resolve(c.PathOrID, c.Split)
	return &sources{config: c, files: files}, err
}

// bytes is the size of the files.
func (s *sources) bytes() (sum int64) {
	for _, f := range s.files {
		if info, err := os.Stat(f); err == nil { // else reading it says why
			sum += info.Size()
		}
	}
	return sum
}

// visit visits all records, one file after the other, until fn has enough.
func (s *sources) visit(fn visit) error {
	if s.files == nil {
		return visitDemo(s.config.Split, fn)
	}
	for _, f := range s.files {
		read := visitFile
		if s.config.Kind == "text" && format(f) == "text" {
			read = visitPlain
		}
		if err := read(f, s.read, fn); err != nil {
			return err
		}
	}
	return nil
}

// counted is a file that tells how much has been read of it.
type counted struct {
	file *os.File
	read func(bytes int64) // nil = nobody is told
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.file.Read(p)
	c.tell(n)
	return n, err
}

// ReadAt reads at a place of the file.
func (c counted) ReadAt(p []byte, at int64) (int, error) {
	n, err := c.file.ReadAt(p, at)
	c.tell(n)
	return n, err
}

// Close closes the file.
func (c counted) Close() error { return c.file.Close() }

func (c counted) tell(n int) {
	if c.read != nil {
		c.read(int64(n))
	}
}
