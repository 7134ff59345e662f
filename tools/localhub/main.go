// Command localhub is a Hugging Face Hub on this machine: gorun's tests' one, for other programs to talk to. What is in
// it is gone when it ends.
//
//	localhub [-token TOKEN] NAME=FOLDER[,gated|,private]...
//
// NAME is models/ORG/NAME or datasets/ORG/NAME, and has the files of FOLDER. Who has the token may read everything and
// write. It prints its URL, for HF_ENDPOINT, and serves until it is interrupted.
package main

import (
	"context"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"gorun/model/hub/hubtest"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address of the Hub")
	cdn := flag.String("cdn", "127.0.0.1:0", "address of the content network beside it")
	token := flag.String("token", "hf_local", "token that may do everything")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := serve(ctx, *listen, *cdn, *token, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "localhub:", err)
		os.Exit(1)
	}
}

func serve(ctx context.Context, listen, cdn, token string, repos []string) error {
	s, err := hubtest.New(listen, cdn)
	if err != nil {
		return err
	}
	defer s.Close()
	account := hubtest.Account{Write: true}
	for _, arg := range repos {
		name, rest, ok := strings.Cut(arg, "=")
		if !ok || strings.Count(name, "/") != 2 {
			return fmt.Errorf("%q is not NAME=FOLDER, with NAME like models/ORG/NAME", arg)
		}
		dir, kind, _ := strings.Cut(rest, ",")
		files, err := read(dir)
		if err != nil {
			return err
		}
		var options []hubtest.Option
		switch kind {
		case "":
		case "gated":
			options = append(options, hubtest.Gated)
		case "private":
			options = append(options, hubtest.Private)
		default:
			return fmt.Errorf("%q: a repository is gated, private or neither", kind)
		}
		account.Granted = append(account.Granted, name)
		s.Put(name, files, options...)
	}
	s.Accounts[token] = account
	fmt.Println(s.URL)
	<-ctx.Done()
	return nil
}

// read takes in the files of a folder.
func read(dir string) (map[string][]byte, error) {
	files := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		files[filepath.ToSlash(name)], err = os.ReadFile(path)
		return err
	})
	return files, err
}
