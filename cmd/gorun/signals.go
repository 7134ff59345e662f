package main

import (
	"os"
	"os/signal"
	"syscall"
)

// asks are the signals that ask this process to end.
func asks() []os.Signal {
	return append(hangup(), os.Interrupt, syscall.SIGTERM, syscall.SIGUSR1)
}

// hangup is the signal of a terminal that is closed, unless this process is to outlive it, as nohup wants.
func hangup() []os.Signal {
	if signal.Ignored(syscall.SIGHUP) {
		return nil
	}
	return []os.Signal{syscall.SIGHUP}
}

// outlive keeps signals, and a terminal that is closed, from ending this process. The function that it returns ends that.
func outlive(signals ...os.Signal) (end func()) {
	unread := make(chan os.Signal, 1)
	signal.Notify(unread, append(hangup(), signals...)...)
	return func() { signal.Stop(unread) }
}
