package doctor

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"
)

// Report is what a doctor hands out.
type Report struct {
	Status   Status    `json:"status"`
	Findings []Finding `json:"findings"`
	Nodes    []*Facts  `json:"nodes"`
}

// NewReport takes the worst finding for the result.
func NewReport(nodes []*Facts, findings []Finding) *Report {
	r := &Report{OK, findings, nodes}
	for _, f := range findings {
		if f.Status == Fail || f.Status == Warn && r.Status == OK {
			r.Status = f.Status
		}
	}
	return r
}

// JSON writes all of it.
func (r *Report) JSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// Text writes a line for each finding, and what to do about it below.
func (r *Report) Text(w io.Writer) error {
	for _, f := range r.Findings {
		where := ""
		if f.Node != "" && len(r.Nodes) > 1 {
			where = f.Node + ": "
		}
		lines := printable(fmt.Sprintf("%-4s  %s%s: %s", f.Status, where, f.Check, f.Found)) + "\n"
		if f.Fix != "" {
			lines += "      " + printable(f.Fix) + "\n"
		}
		if _, err := io.WriteString(w, lines); err != nil {
			return err
		}
	}
	return nil
}

// printable keeps what came from other programs and nodes on its line.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}
