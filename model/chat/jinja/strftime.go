package jinja

import (
	"fmt"
	"strings"
	"time"
)

// strftime is C's, in the C locale, for the directives that name a date or a time.
func strftime(t time.Time, format string) string {
	layouts := map[byte]string{
		'Y': "2006", 'y': "06", 'm': "01", 'd': "02", 'B': "January", 'b': "Jan", 'h': "Jan", 'A': "Monday", 'a': "Mon",
		'H': "15", 'I': "03", 'M': "04", 'S': "05", 'p': "PM", 'Z': "MST", 'z': "-0700", 'e': "_2", 'j': "002",
		'F': "2006-01-02", 'T': "15:04:05", 'D': "01/02/06", 'R': "15:04", 'c': "Mon Jan _2 15:04:05 2006", 'x': "01/02/06", 'X': "15:04:05",
	}
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			b.WriteByte(format[i])
			continue
		}
		i++
		c := format[i]
		bare := c == '-' && i+1 < len(format) // glibc's: without leading zeros
		if bare {
			i++
			c = format[i]
		}
		layout, ok := layouts[c]
		switch {
		case c == '%':
			b.WriteByte('%')
		case c == 'f':
			fmt.Fprintf(&b, "%06d", t.Nanosecond()/1000)
		case !ok:
			fail("strftime_now: %%%c is not known", c)
		case bare:
			v := strings.TrimLeft(t.Format(layout), "0 ")
			if v == "" {
				v = "0"
			}
			b.WriteString(v)
		default:
			b.WriteString(t.Format(layout))
		}
	}
	return b.String()
}
