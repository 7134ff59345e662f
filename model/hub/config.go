package hub

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/rs/zerolog"
)

// DefaultEndpoint is the public Hub.
const DefaultEndpoint = "https://huggingface.co"

// Config says which Hub is talked to, as whom, and where its files are kept.
type Config struct {
	Endpoint  string // URL of the Hub, without a slash at its end
	Cache     string // folder of the cache; it need not exist
	Token     string // "" = nobody
	TokenFrom string // where the token comes from, for messages: HF_TOKEN or the path of a file
	Offline   bool   // never use the network
	Peers     *Peers // other nodes that may have what is fetched; nil = none
	Agent     string // program and version, for the User-Agent header
	Log       zerolog.Logger
}

// ConfigFromEnv reads the variables that Hugging Face's own libraries read: HF_ENDPOINT, HF_HOME, HF_HUB_CACHE,
// HF_TOKEN, HF_TOKEN_PATH, HF_HUB_OFFLINE, and the older names of some of them. getenv is os.Getenv but in tests.
func ConfigFromEnv(getenv func(string) string) (Config, error) {
	home, err := huggingFaceHome(getenv)
	if err != nil {
		return Config{}, err
	}
	c := Config{Endpoint: strings.TrimRight(first(getenv, "HF_ENDPOINT"), "/")}
	if c.Endpoint == "" {
		c.Endpoint = DefaultEndpoint
	}
	if c.Cache, err = folderFrom(getenv, filepath.Join(home, "hub"), "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"); err != nil {
		return Config{}, err
	}
	switch strings.ToUpper(first(getenv, "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")) {
	case "1", "ON", "YES", "TRUE":
		c.Offline = true
	}
	c.Token, c.TokenFrom, err = token(getenv, home)
	return c, err
}

// first returns the first variable that is set to something.
func first(getenv func(string) string, names ...string) string {
	for _, name := range names {
		if v := strings.TrimSpace(getenv(name)); v != "" {
			return v
		}
	}
	return ""
}

func huggingFaceHome(getenv func(string) string) (string, error) {
	base := getenv("XDG_CACHE_HOME")
	if base == "" {
		base = "~/.cache"
	}
	return folderFrom(getenv, filepath.Join(base, "huggingface"), "HF_HOME")
}

// folderFrom is the folder that one of the variables names, else otherwise; ~ and variables in it are expanded.
func folderFrom(getenv func(string) string, otherwise string, names ...string) (string, error) {
	dir := first(getenv, names...)
	if dir == "" {
		dir = otherwise
	}
	dir = os.Expand(dir, getenv)
	if rest, ok := strings.CutPrefix(dir, "~"); ok && (rest == "" || rest[0] == '/') {
		home := getenv("HOME")
		if home == "" {
			return "", fmt.Errorf("hub: %s: HOME is not set: set %s to the folder of the cache", dir, names[0])
		}
		dir = home + rest
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("hub: %s: %w", names[0], err)
	}
	return abs, nil
}

// maxToken bounds the file of a token; the Hub's have some 40 bytes.
const maxToken = 4096

var tokenPattern = regexp.MustCompile(`^[!-~]+$`)

// token finds the user's token and where it is from: HF_TOKEN, else the file that `hf auth login` writes.
func token(getenv func(string) string, home string) (value, from string, err error) {
	value, from = first(getenv, "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"), "HF_TOKEN"
	if value == "" {
		if from, err = folderFrom(getenv, filepath.Join(home, "token"), "HF_TOKEN_PATH"); err != nil {
			return "", "", err
		}
		text, err := os.ReadFile(from)
		if errors.Is(err, fs.ErrNotExist) {
			return "", "", nil
		}
		if err != nil {
			return "", "", fmt.Errorf("hub: read the token: %w: mend the file, or set HF_TOKEN", err)
		}
		value = strings.TrimSpace(string(text))
	}
	if value == "" {
		return "", "", nil
	}
	if len(value) > maxToken || !tokenPattern.MatchString(value) {
		return "", "", fmt.Errorf("hub: what %s holds is no token (a token is one word, such as hf_...): set HF_TOKEN", from)
	}
	return value, from, nil
}

// parseEndpoint checks the Hub's URL.
func parseEndpoint(endpoint string) (*url.URL, error) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return nil, fmt.Errorf("hub: HF_ENDPOINT: %q is not the URL of a Hub: it is like %s", clip(endpoint), DefaultEndpoint)
	}
	return u, nil
}
