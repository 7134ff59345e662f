package metrics

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Names of further files in a run's folder.
const (
	EnvironmentFile = "environment.json"
	RecipeFile      = "recipe.toml"
	ReportFile      = "report.html"
)

// Environment says what ran where: environment.json. A run that resumes writes it anew.
type Environment struct {
	Gorun      string    `json:"gorun"` // version
	Go         string    `json:"go"`    // version
	OS         string    `json:"os"`    // and architecture, as linux/amd64
	Host       string    `json:"host"`
	CPUs       int       `json:"host_cpus"`      // logical ones that the process may use
	Plugin     string    `json:"plugin"`         // path of the XLA plugin
	XLA        string    `json:"plugin_version"` // as the plugin says
	Platform   string    `json:"platform"`       // cpu, cuda
	Device     string    `json:"device"`         // kind of device, as the plugin says
	Started    time.Time `json:"started"`
	ResumeStep int       `json:"resume_step"` // steps done before; 0 = a new run
	Command    []string  `json:"command"`
	Facts      []Fact    `json:"facts"` // what the run does
}

// Fact is a line of what a run does. One without a name goes on with the one before.
type Fact struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// Write puts environment.json into a run's folder.
func (e Environment) Write(dir string) error {
	b, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", EnvironmentFile, err)
	}
	return WriteFile(filepath.Join(dir, EnvironmentFile), append(b, '\n'))
}

// WriteFile puts data at path, whole or not at all.
func WriteFile(path string, data []byte) (err error) {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.tmp")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("write %s: %w", path, errors.Join(err, os.Remove(tmp.Name())))
		}
	}()
	_, err = tmp.Write(data)
	if err == nil {
		err = tmp.Chmod(0o644) // as the other records; CreateTemp's are for the owner alone
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
