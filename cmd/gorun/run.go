package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"

	"gorun/launcher"
	"gorun/rank"
)

// Exit codes of gorun.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2
	exitInterrupted = 130
)

// cli is the whole command line.
type cli struct {
	globals

	Train    trainCmd    `cmd:"" default:"withargs" help:"Fine-tune as the recipe says. This is the default command: 'gorun RECIPE.toml'."`
	Rank     rankCmd     `cmd:"" help:"Train as one rank of several, told by torchrun's environment variables. The launcher runs this."`
	Plan     planCmd     `cmd:"" help:"Show what a recipe would do, without a device: modules, parameters, memory, tokens."`
	Generate generateCmd `cmd:"" help:"Write text with a model and, if given, an adapter."`
	Eval     evalCmd     `cmd:"" help:"Score a model and, if given, an adapter."`
	Merge    mergeCmd    `cmd:"" help:"Write a model with an adapter merged into it, as a Hugging Face folder."`
	Export   exportCmd   `cmd:"" help:"Write an adapter, or a model with it, for another program: PEFT, transformers, llama.cpp, vLLM."`
	Tokenize tokenizeCmd `cmd:"" help:"Turn JSON lines of text into token ids, or back."`
	Report   reportCmd   `cmd:"" help:"Write report.html over a run's records, as the end of a run does."`
	Bench    benchCmds   `cmd:"" help:"Measure how fast this machine trains, writes text, or moves data between ranks."`
	Why      whyCmd      `cmd:"" help:"Tell why a run of several ranks ended."`
	Fetch    fetchCmd    `cmd:"" help:"Download a model or a dataset from the Hugging Face Hub."`
	Publish  publishCmd  `cmd:"" help:"Upload an adapter or a model to the Hugging Face Hub, with a card."`
	Setup    setupCmd    `cmd:"" help:"Fetch the XLA plugin, and on demand the NVIDIA libraries and the demo model, into the cache."`
	Sbatch   sbatchCmd   `cmd:"" help:"Write a Slurm batch script that trains, checkpoints before its time is over, and goes on in the next turn."`
	Doctor   doctorCmd   `cmd:"" help:"Examine this machine, or all machines of a run: plugin, GPUs, network, limits, disks."`
	Version  versionCmd  `cmd:"" help:"Print versions: gorun, Go, XLA plugins."`
}

// globals are the flags that every command takes.
type globals struct {
	Plugin   string `group:"Flags of every command" placeholder:"PATH" help:"XLA plugin to load. Default: the first one found (see 'gorun version')."`
	Device   string `group:"Flags of every command" enum:"auto,cpu,cuda" default:"auto" help:"Device to run on: auto, cpu or cuda. auto is cuda where there is an NVIDIA GPU and the CUDA plugin."`
	LogLevel string `group:"Flags of every command" enum:"debug,info,warn,error" default:"info" help:"Least level of messages on standard error: debug, info, warn or error."`
}

// errUsage is wrapped by errors of commands that are about the command line rather than the work.
var errUsage = errors.New("usage")

// exitPanic carries the exit code out of kong, which expects its exit function not to return.
type exitPanic int

// run is the process without the process: it returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) (code int) {
	defer func() {
		if r := recover(); r != nil {
			exit, ok := r.(exitPanic)
			if !ok {
				panic(r)
			}
			code = int(exit)
		}
	}()
	var c cli
	parser, err := kong.New(&c,
		kong.Name("gorun"),
		kong.Description("Fine-tune Hugging Face language models, with LoRA or fully.\n\n    gorun setup\n    gorun RECIPE.toml [--set section.key=value]..."),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { panic(exitPanic(code)) }),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true}),
		kong.ValueFormatter(helpOf),
	)
	if err != nil {
		fmt.Fprintln(stderr, "gorun:", err)
		return exitFailure
	}
	args = hyphens(customary(args))
	parsed, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(stderr, "gorun: %v\n%s", err, guidance(parser.Model, args))
		return exitUsage
	}
	err = parsed.Run(newApp(c.globals, stdin, stdout, stderr))
	return report(ctx, parsed.Selected().FullPath(), err, stderr)
}

// report prints the error of a command and returns its exit code. A command that ends without an error although it was
// interrupted was interrupted nonetheless, but for training that has left as it was asked to.
func report(ctx context.Context, command string, err error, stderr io.Writer) int {
	switch {
	case errors.Is(err, errLeft), errors.Is(err, rank.ErrStopped):
		return exitOK
	case ctx.Err() != nil:
		if err != nil && !errors.Is(err, context.Canceled) && !told(err) {
			fmt.Fprintln(stderr, "gorun:", err)
		}
		fmt.Fprintln(stderr, "gorun: interrupted")
		return exitInterrupted
	case told(err):
		if errors.Is(err, errUsage) {
			return exitUsage
		}
		return exitFailure
	case errors.Is(err, errUsage):
		fmt.Fprintf(stderr, "gorun: %v\n%s", err, see(command))
		return exitUsage
	case err != nil:
		fmt.Fprintln(stderr, "gorun:", err)
		return exitFailure
	}
	return exitOK
}

// told tells whether the launcher has printed the error, as its verdict, or will: a rank's agent does.
func told(err error) bool {
	var ended *launcher.Ended
	var left leftToAgent
	return errors.As(err, &ended) || errors.As(err, &left)
}

// hyphens spells flags with hyphens: --max_tokens is --max-tokens, as torchrun has it. Values, and what follows "--",
// stay as they are.
func hyphens(args []string) []string {
	out := make([]string, len(args))
	for i, arg := range args {
		if arg == "--" {
			copy(out[i:], args[i:])
			break
		}
		if strings.HasPrefix(arg, "--") {
			name, value, has := strings.Cut(arg, "=")
			arg = strings.ReplaceAll(name, "_", "-")
			if has {
				arg += "=" + value
			}
		}
		out[i] = arg
	}
	return out
}
