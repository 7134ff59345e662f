package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"gorun/rank"
	"gorun/tools/golden"
)

func TestReport(t *testing.T) {
	interrupted, cancel := context.WithCancel(t.Context())
	cancel()
	tests := []struct {
		name string
		ctx  context.Context
		err  error
		code int
		says string
	}{
		{"done", t.Context(), nil, exitOK, ""},
		{"failure", t.Context(), errors.New("disk full"), exitFailure, "gorun: disk full\n"},
		{"usage", t.Context(), fmt.Errorf("%w: no", errUsage), exitUsage, "See 'gorun plan --help'"},
		{"cancelled by itself", t.Context(), context.Canceled, exitFailure, "canceled"},
		{"interrupted", interrupted, fmt.Errorf("step 3: %w", context.Canceled), exitInterrupted, "gorun: interrupted\n"},
		{"a rank that was asked to stop", interrupted, errLeft, exitOK, ""},
		{"training that was asked to stop", interrupted, errors.Join(rank.ErrStopped, context.Canceled), exitOK, ""},
		{"interrupted and saved", interrupted, nil, exitInterrupted, "gorun: interrupted\n"},
		{"interrupted, and failed to save", interrupted, errors.New("disk full"), exitInterrupted, "gorun: disk full\ngorun: interrupted\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			if code := report(tt.ctx, "gorun plan", tt.err, &out); code != tt.code || !strings.Contains(out.String(), tt.says) {
				t.Errorf("exit code %d after %q, want %d after %q", code, out.String(), tt.code, tt.says)
			}
		})
	}
}

// TestHelpOf: a flag's help tells its default once.
func TestHelpOf(t *testing.T) {
	for _, tt := range []struct{ help, value, want string }{
		{"Most tokens.", "128", "Most tokens (128)."},
		{"Nodes (1). Or some.", "1", "Nodes (1). Or some."},
		{"The data. Default: the demo's.", "demo:squad", "The data. Default: the demo's."},
		{"Restarts.", "0", "Restarts."},
	} {
		if got := helpOf(&kong.Value{Help: tt.help, HasDefault: true, Default: tt.value, Tag: &kong.Tag{}}); got != tt.want {
			t.Errorf("%q with the default %s: %q, want %q", tt.help, tt.value, got, tt.want)
		}
	}
}

func TestHyphens(t *testing.T) {
	got := hyphens([]string{"--max_tokens", "a_b", "--set=model.a_b=c_d", "--no_stream=x", "-x_y", "--", "--a_b"})
	want := []string{"--max-tokens", "a_b", "--set=model.a_b=c_d", "--no-stream=x", "-x_y", "--", "--a_b"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A recipe without a command is a recipe to train, wherever the flags stand.
func TestTrainIsDefault(t *testing.T) {
	for _, args := range [][]string{
		{"r.toml", "--set", "a.b=1", "--set=c.d=[1,2]"},
		{"train", "r.toml", "--set", "a.b=1", "--set", "c.d=[1,2]"},
		{"--set", "a.b=1", "--device", "cpu", "r.toml", "--set", "c.d=[1,2]"},
	} {
		var c cli
		parser, err := kong.New(&c)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := parser.Parse(args)
		if err != nil {
			t.Errorf("%q: %v", args, err)
			continue
		}
		if parsed.Selected().Name != "train" || c.Train.Recipe != "r.toml" || !slices.Equal(c.Train.Set, []string{"a.b=1", "c.d=[1,2]"}) {
			t.Errorf("%q: %s with %+v", args, parsed.Selected().Name, c.Train)
		}
	}
}

// TestFlags freezes the commands, their flags and defaults: a change shows in testdata/flags.txt (make rewrite).
func TestFlags(t *testing.T) {
	var c cli
	parser, err := kong.New(&c, kong.Name("gorun"))
	if err != nil {
		t.Fatal(err)
	}
	var list strings.Builder
	write := func(n *kong.Node, name string) {
		for _, p := range n.Positional {
			name += " " + p.Summary()
		}
		fmt.Fprintln(&list, name)
		for _, f := range n.Flags {
			fmt.Fprintf(&list, "    --%s %s", f.Name, f.Value.Target.Type())
			if f.HasDefault {
				fmt.Fprintf(&list, " = %s", f.Default)
			}
			if f.Required {
				list.WriteString(" required")
			}
			list.WriteString("\n")
		}
	}
	write(parser.Model.Node, "gorun")
	for _, n := range parser.Model.Leaves(false) {
		write(n, n.FullPath())
	}
	golden.File(t, "testdata/flags.txt", list.String())
}
