package data

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/parquet-go/parquet-go"
	pq "github.com/parquet-go/parquet-go/format"
)

// visitParquet visits the rows of a parquet file. Columns are found in the file's own schema, since writers differ in
// the names of a list's inner levels ("list.element", "list.item", "bag.array_element").
func visitParquet(path string, read func(bytes int64), fn visit) error {
	if low := strings.ToLower(path); !strings.HasSuffix(low, ".parquet") {
		return fmt.Errorf("data: %s: parquet packs its pages itself: unpack the file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("data: %w", err)
	}
	defer f.Close() //nolint:errcheck // read only: a failed close loses nothing
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("data: %w", err)
	}
	err = visitRows(path, counted{f, read}, info.Size(), fn)
	if err != nil && !errors.Is(err, errEnough) {
		return fmt.Errorf("data: %s: not a whole parquet file (is the download complete?): %w", path, err)
	}
	return err
}

func visitRows(name string, r io.ReaderAt, size int64, fn visit) (err error) {
	// The parquet library panics on some damaged files; a data file must not take the process down.
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("damaged: %v", r)
		}
	}()
	if err := checkFooter(r, size); err != nil {
		return err
	}
	file, err := parquet.OpenFile(r, size)
	if err != nil {
		return err
	}
	for _, group := range file.Metadata().RowGroups {
		for _, c := range group.Columns {
			// The library unpacks a damaged LZ4 page into ever larger buffers.
			if m := c.MetaData; m.Codec == pq.Lz4Raw || m.Codec == pq.Lz4 {
				return fmt.Errorf("columns packed with %s are not read: write it with zstd or snappy", m.Codec)
			}
		}
	}
	columns := map[string]column{}
	var names []string
	for _, c := range file.Root().Columns() {
		names = append(names, c.Name())
		columns[c.Name()] = columnOf(c)
	}
	row := 0
	for _, group := range file.RowGroups() {
		if row, err = visitGroup(name, group, &schema{names, columns}, row, fn); err != nil {
			return err
		}
	}
	return nil
}

// checkFooter tells whether the footer can be as long as the file's end says: the library allocates it unseen.
func checkFooter(r io.ReaderAt, size int64) error {
	const magic = "PAR1"
	end := make([]byte, 8) // the footer's length, the magic
	if size < int64(len(magic)+len(end)) {
		return fmt.Errorf("%d bytes are too few", size)
	}
	if _, err := r.ReadAt(end, size-int64(len(end))); err != nil {
		return err
	}
	if string(end[4:]) != magic {
		return fmt.Errorf("it does not end in %s", magic)
	}
	if footer := int64(binary.LittleEndian.Uint32(end)); footer > size-int64(len(magic)+len(end)) {
		return fmt.Errorf("its footer of %d bytes is longer than the file of %d", footer, size)
	}
	return nil
}

func visitGroup(name string, group parquet.RowGroup, s *schema, row int, fn visit) (int, error) {
	rows := group.Rows()
	defer rows.Close() //nolint:errcheck // read only: a failed close loses nothing
	var some [64]parquet.Row
	for {
		n, err := rows.ReadRows(some[:])
		for _, values := range some[:n] {
			if err := fn(fmt.Sprintf("%s: row %d", name, row), parquetRecord{s, values}, nil); err != nil {
				return row, err
			}
			row++
		}
		if errors.Is(err, io.EOF) {
			return row, nil
		} else if err != nil {
			return row, fmt.Errorf("row %d: %w", row, err)
		} else if n == 0 {
			return row, fmt.Errorf("row %d: no rows where some should be", row)
		}
	}
}

// schema is what the records of a file share.
type schema struct {
	names   []string
	columns map[string]column
}

// column is a top-level column: which leaf holds its text, or its texts; -1 = none does.
type column struct {
	text, texts int
	bytes       bool // the leaf holds bytes, not numbers
	node        *parquet.Column
}

// columnOf looks for the leaf that holds a column's text: the column itself, the one leaf of a list, or the "text" of
// a list of structs or a struct of lists.
func columnOf(c *parquet.Column) column {
	out := column{text: -1, texts: -1, node: c}
	if c.Leaf() {
		out.text, out.bytes = c.Index(), isText(c)
		if out.bytes && c.MaxRepetitionLevel() <= 1 {
			out.texts = c.Index()
		}
		if c.MaxRepetitionLevel() > 0 {
			out.text = -1
		}
		return out
	}
	var all, named []*parquet.Column
	var walk func(c *parquet.Column, depth int)
	walk = func(c *parquet.Column, depth int) {
		if c.Leaf() && isText(c) && c.MaxRepetitionLevel() <= 1 {
			all = append(all, c)
			for _, p := range c.Path()[1:] {
				if p == "text" {
					named = append(named, c)
					break
				}
			}
		}
		for _, child := range c.Columns() {
			if depth < 8 {
				walk(child, depth+1)
			}
		}
	}
	walk(c, 0)
	switch {
	case len(named) == 1:
		out.texts = named[0].Index()
	case len(all) == 1 && named == nil:
		out.texts = all[0].Index()
	}
	out.bytes = true
	return out
}

func isText(c *parquet.Column) bool { return c.Type().Kind() == parquet.ByteArray }

// parquetRecord is one row: its leaf values in the order of the columns.
type parquetRecord struct {
	*schema
	values parquet.Row
}

func (r parquetRecord) fields() []string { return r.names }

func (r parquetRecord) text(field string) (string, bool, error) {
	c, ok := r.columns[field]
	if !ok {
		return "", false, nil
	}
	if c.text < 0 {
		return "", false, fmt.Errorf("column %q is not text", field)
	}
	for _, v := range r.values {
		if v.Column() == c.text && !v.IsNull() {
			if c.bytes {
				return string(v.ByteArray()), true, nil
			}
			return v.String(), true, nil
		}
	}
	return "", false, nil
}

func (r parquetRecord) texts(field string) ([]string, bool, error) {
	c, ok := r.columns[field]
	if !ok {
		return nil, false, nil
	}
	if c.texts < 0 {
		return nil, false, fmt.Errorf("column %q holds no texts: it should be a struct with a list \"text\", a list of texts or a text", field)
	}
	out := []string{}
	for _, v := range r.values {
		if v.Column() == c.texts && !v.IsNull() {
			out = append(out, string(v.ByteArray()))
		}
	}
	return out, true, nil
}
