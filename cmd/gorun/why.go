package main

import "gorun/launcher"

type whyCmd struct {
	Dir string `arg:"" name:"RUN_DIR" help:"Folder of a run, or of one launch in it."`
}

// Run tells how the run of several ranks ended.
func (c *whyCmd) Run(a *app) error { return launcher.Why(a.stdout, c.Dir) }
