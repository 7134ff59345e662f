package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"gorun/configs"
	"gorun/model/hub"
	"gorun/rank"
)

// peersFromEnv is what the launcher tells a rank of nodes that give each other files; nil without any.
func peersFromEnv(getenv func(string) string) (*hub.Peers, error) {
	addrs := getenv("GORUN_PEERS")
	if addrs == "" {
		return nil, nil
	}
	p := &hub.Peers{Addrs: strings.Split(addrs, ",")}
	var err, errKey error
	p.Self, err = strconv.Atoi(getenv("GORUN_PEER"))
	p.Key, errKey = hex.DecodeString(getenv("GORUN_JOB_KEY"))
	if err != nil || errKey != nil || p.Self < 0 || p.Self >= len(p.Addrs) || len(p.Key) == 0 {
		return nil, errors.New("GORUN_PEERS, GORUN_PEER or GORUN_JOB_KEY are not what the launcher sets: unset GORUN_PEERS")
	}
	return p, nil
}

// files gives what is wanted of the Hub to the ranks of other nodes, until ctx ends.
func (a *app) files(ctx context.Context, wanted []hub.Request) func(addr string, key []byte) (port int, err error) {
	return func(addr string, key []byte) (int, error) {
		client, err := a.hub()
		if err != nil {
			return 0, err
		}
		s, err := hub.NewPeerServer(client, wanted)
		if err != nil {
			return 0, err
		}
		l, err := net.Listen("tcp", net.JoinHostPort(addr, "0"))
		if err != nil {
			return 0, fmt.Errorf("listen at %s to give files to other nodes: %w", addr, err)
		}
		go func() {
			defer client.Close()
			if err := s.Serve(ctx, l, key); err != nil {
				a.log.Warn().Msgf("%v: they must fetch them by themselves", err)
			}
		}()
		return l.Addr().(*net.TCPAddr).Port, nil
	}
}

// hubRequests are the models, adapters and datasets of the Hub that a recipe names. What is wrong with a name its ranks say.
func hubRequests(r *configs.Recipe) (out []hub.Request) {
	add := func(what rank.Resource, name, revision string) {
		if name == "" {
			return
		}
		if id, err := hubID(what, name); err == nil && id != nil {
			out = append(out, hub.Request{Repo: *id, Revision: revision})
		}
	}
	add(rank.ModelResource, r.Model.PretrainedModelNameOrPath, r.Model.Revision)
	add(rank.ModelResource, r.PEFT.InitFrom, "")
	add(rank.DatasetResource, r.Dataset.PathOrID, r.Dataset.Revision)
	for _, set := range r.ValidationDataset {
		add(rank.DatasetResource, set.PathOrID, set.Revision)
	}
	return out
}
