package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"gorun/configs"
	"gorun/csrc/plugins"
	"gorun/model/hub"
	"gorun/rank"
)

// hub is a client of the Hub that the environment names.
func (a *app) hub() (*hub.Client, error) { return a.hubWith(nil) }

// hubWith is hub with other nodes that may have what is fetched; nil = none.
func (a *app) hubWith(peers *hub.Peers) (*hub.Client, error) {
	config, err := hub.ConfigFromEnv(os.Getenv)
	if err != nil {
		return nil, err
	}
	config.Peers = peers
	config.Agent, config.Log = "gorun/"+strings.ReplaceAll(gorunVersion(), " ", "+"), a.log
	return hub.New(config)
}

// progress shows a download or an upload on standard error.
func (a *app) progress() hub.Progress { return hub.NewProgress(a.stderr, isTerminal(a.stderr)) }

// resolve returns where models, adapters and datasets are: a path as it is, a demo where it is installed, and an id of
// the Hub in the cache, fetched if it is not there.
func (a *app) resolve(ctx context.Context) rank.Resolve {
	return func(what rank.Resource, name, revision string) (string, error) {
		id, err := hubID(what, name)
		switch {
		case err != nil:
			return "", err
		case id == nil && revision != "":
			return "", fmt.Errorf("a revision (%q) is of a Hub id, and %s is none: leave it out", revision, name)
		case id == nil && what == rank.ModelResource:
			return plugins.Resolve(name)
		case id == nil:
			return name, nil // rank/data has its own demos
		}
		peers, err := peersFromEnv(os.Getenv)
		if err != nil {
			return "", err
		}
		client, err := a.hubWith(peers)
		if err != nil {
			return "", err
		}
		defer client.Close()
		snapshot, err := client.Open(ctx, hub.Request{Repo: *id, Revision: revision, Progress: a.progress()})
		if err != nil {
			return "", fmt.Errorf("there is no file or folder %s here, so it is taken for an id of the Hub: %w", name, err)
		}
		return snapshot.Path, nil
	}
}

// hubID returns the repository that a name stands for, nil if it stands for a file, a folder or a demo. What there is
// on the disk comes first; what looks like a path is one although nothing is there, so that its reader says so.
func hubID(what rank.Resource, name string) (*hub.Repo, error) {
	if strings.HasPrefix(name, configs.DemoPrefix) || strings.HasPrefix(name, configs.MockPrefix) || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "~") || filepath.IsAbs(name) ||
		strings.HasSuffix(name, "/") || strings.Count(name, "/") > 1 || filepath.Ext(name) == ".gguf" || what == rank.DatasetResource && isDataFile(name) {
		return nil, nil
	}
	if _, err := os.Stat(name); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilerr // its reader will say what is wrong with it
	}
	kind := hub.Model
	if what == rank.DatasetResource {
		kind = hub.Dataset
	}
	repo, err := hub.ParseRepo(kind, name)
	if err != nil {
		return nil, fmt.Errorf("there is no file or folder %s, and %w", name, err)
	}
	return &repo, nil
}

// isDataFile tells whether a name is that of a file of samples.
func isDataFile(name string) bool {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".json", ".jsonl", ".ndjson", ".parquet", ".txt", ".gz", ".zst":
		return true
	}
	return false
}
