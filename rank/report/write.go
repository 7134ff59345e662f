package report

import (
	"bytes"
	_ "embed" // the template
	"fmt"
	"html/template"
	"path/filepath"

	"gorun/rank/metrics"
)

//go:embed page.tmpl
var pageText string

var pageTemplate = template.Must(template.New("report").Parse(pageText))

// Write reads the records in a run's folder and puts report.html beside them. Errors name the file.
func Write(dir string) error {
	r, err := read(dir)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, newPage(r)); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if err := metrics.WriteFile(filepath.Join(dir, metrics.ReportFile), b.Bytes()); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}
