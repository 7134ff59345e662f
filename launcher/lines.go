package launcher

import "bytes"

// Lines is a writer that hands on whole lines, however they come. It is for one goroutine.
type Lines struct {
	Take func(line []byte) error // gets a line with its end, for as long as the call; its error is Write's
	part []byte                  // a line that has not ended yet
}

// maxLine is how much of a line waits for its end.
const maxLine = 64 << 10

func (l *Lines) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		end := bytes.IndexByte(b, '\n') + 1
		whole := end > 0
		if !whole {
			end = len(b)
		}
		l.part, b = append(l.part, b[:end]...), b[end:]
		if whole || len(l.part) > maxLine {
			if err := l.Flush(); err != nil {
				return 0, err
			}
		}
	}
	return n, nil
}

// Flush hands on what there is of a line, with an end.
func (l *Lines) Flush() error {
	if len(l.part) == 0 {
		return nil
	}
	line := l.part
	if line[len(line)-1] != '\n' {
		line = append(line, '\n')
	}
	l.part = line[:0]
	return l.Take(line)
}
