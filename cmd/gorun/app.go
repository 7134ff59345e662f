package main

import (
	"io"
	"os"
	"sync"

	"github.com/rs/zerolog"
	"golang.org/x/term"
)

// app is what every command gets beside its own flags.
type app struct {
	globals
	stdin          io.Reader
	stdout, stderr io.Writer
	log            zerolog.Logger            // to stderr
	gpus           func() ([]nearGPU, error) // asks once
}

func newApp(g globals, stdin io.Reader, stdout, stderr io.Writer) *app {
	level, err := zerolog.ParseLevel(g.LogLevel)
	if err != nil {
		level = zerolog.InfoLevel // the flag's values are checked by kong
	}
	console := zerolog.ConsoleWriter{Out: stderr, NoColor: !isTerminal(stderr), PartsExclude: []string{zerolog.TimestampFieldName}}
	return &app{g, stdin, stdout, stderr, zerolog.New(console).Level(level), sync.OnceValues(visibleGPUs)}
}

// isTerminal tells whether w is a terminal, for colours and progress bars.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
