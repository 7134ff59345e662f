package main

import (
	"fmt"
	"path/filepath"

	"gorun/rank/metrics"
	runreport "gorun/rank/report"
)

type reportCmd struct {
	Dir string `arg:"" name:"RUN_DIR" help:"The run's folder: the one with training.jsonl."`
}

// Run writes the report and says where it is.
func (c *reportCmd) Run(a *app) error {
	if err := runreport.Write(c.Dir); err != nil {
		return err
	}
	fmt.Fprintln(a.stdout, filepath.Join(c.Dir, metrics.ReportFile))
	return nil
}
