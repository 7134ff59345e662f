package main

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"gorun/model/hub"
	"gorun/rank/card"
)

type publishCmd struct {
	Checkpoint string `arg:"" name:"CHECKPOINT" help:"A checkpoint, or the folder of an adapter or of an exported model."`
	Repo       string `required:"" placeholder:"ORG/NAME" help:"Where to: it is made unless it is there."`
	Private    bool   `help:"The repository must be private."`
	Message    string `placeholder:"TEXT" help:"Message of the commit. Default: what is uploaded."`
	Card       string `placeholder:"FILE" help:"Use this model card instead of one made from the run."`
	DryRun     bool   `help:"Show the files and the card, and upload nothing."`
}

// Run uploads what others need to use the result, with a card, and prints the page.
func (c *publishCmd) Run(ctx context.Context, a *app) error {
	repo, err := hub.ParseRepo(hub.Model, c.Repo)
	if err != nil {
		return fmt.Errorf("%w: --repo: %w", errUsage, err)
	}
	if !strings.Contains(c.Repo, "/") {
		return fmt.Errorf("%w: --repo %s: want ORG/NAME, as YOUR_NAME/%s", errUsage, c.Repo, c.Repo)
	}
	run, err := card.Open(c.Checkpoint)
	if err != nil {
		return err
	}
	files, err := run.Files()
	if err != nil {
		return err
	}
	client, err := a.hub()
	if err != nil {
		return err
	}
	defer client.Close()
	text, err := c.card(ctx, a, client, run)
	if err != nil {
		return err
	}
	files = append([]hub.Upload{{Path: "README.md", Data: text}}, files...)
	if c.DryRun {
		return c.show(a, files, text)
	}
	message := c.Message
	if message == "" {
		message = "Upload " + filepath.Base(run.Dir) + " with gorun"
	}
	done, err := client.Publish(ctx, hub.Publication{Repo: repo, Private: c.Private, Message: message, Files: files, Progress: a.progress()})
	if err != nil {
		return err
	}
	fmt.Fprintf(a.stdout, "%s\n", done.URL)
	return nil
}

// card is the user's own, or one made from the run.
func (c *publishCmd) card(ctx context.Context, a *app, client *hub.Client, run *card.Run) ([]byte, error) {
	if c.Card != "" {
		text, err := os.ReadFile(c.Card)
		if err != nil {
			return nil, fmt.Errorf("--card: %w", err)
		}
		return text, nil
	}
	facts := card.Facts{Repo: c.Repo, Endpoint: client.Endpoint(), Version: gorunVersion()}
	if base, ok := run.BaseOnHub(); ok {
		// The base's licence holds for what is made of it. Where its card cannot be had, the new one names none.
		snapshot, err := client.Open(ctx, hub.Request{Repo: base, Include: []string{"README.md"}})
		if err != nil {
			a.log.Warn().Msgf("the card will name no licence, for the base's card cannot be had: %v", err)
		} else if text, err := os.ReadFile(filepath.Join(snapshot.Path, "README.md")); err == nil {
			facts.License = card.LicenseOf(text)
		}
	} else if run.Adapter != nil {
		a.log.Warn().Msgf("the adapter names its base %q, which is no id of the Hub: others will have to say where their copy is", run.Adapter.Base)
	}
	return run.Card(facts)
}

// show is what would be done.
func (c *publishCmd) show(a *app, files []hub.Upload, text []byte) error {
	t := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	var sum int64
	for _, f := range files {
		size := int64(len(f.Data))
		if f.From != "" {
			info, err := os.Stat(f.From)
			if err != nil {
				return err
			}
			size = info.Size()
		}
		sum += size
		fmt.Fprintf(t, "%d\t  %s\n", size, path.Join(c.Repo, f.Path))
	}
	fmt.Fprintf(t, "%d\t  bytes in %d files\n", sum, len(files))
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(a.stdout, "\nREADME.md:\n\n%s", text)
	return err
}
