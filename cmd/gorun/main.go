package main

import (
	"context"
	"os"
	"os/signal"
)

func main() {
	// The first signal asks every command to end; a second one ends the process, whatever it is doing.
	ctx, stop := signal.NotifyContext(context.Background(), asks()...)
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
