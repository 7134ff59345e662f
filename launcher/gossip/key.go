package gossip

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"
)

// KeyBytes is the length of a run's key and of those derived from it: AES-256's.
const KeyBytes = 32

// ReadKey takes a run's key, 64 hexadecimal digits, from a file or, if path is "", from the value of GORUN_JOB_KEY. It is
// nil if there is neither.
func ReadKey(path, env string) ([]byte, error) {
	source, text := "GORUN_JOB_KEY", env
	if path != "" {
		source = "--key-file " + path
		var err error
		if text, err = readKeyFile(path); err != nil {
			return nil, fmt.Errorf("--key-file: %w", err)
		}
	}
	if text == "" && path == "" {
		return nil, nil
	}
	key, err := hex.DecodeString(strings.TrimSpace(text))
	if err != nil || len(key) != KeyBytes {
		return nil, fmt.Errorf("%s: want %d hexadecimal digits, as 'openssl rand -hex %d' prints them", source, 2*KeyBytes, KeyBytes)
	}
	return key, nil
}

func readKeyFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close() //nolint:errcheck // only read
	b, err := io.ReadAll(io.LimitReader(f, 4*KeyBytes))
	return string(b), err
}

// DeriveKey makes a key of its own for one use of a run's key: what ranks know does not open what agents say.
func DeriveKey(key []byte, run, use string) ([]byte, error) {
	out, err := hkdf.Key(sha256.New, key, []byte(run), "gorun "+use, KeyBytes)
	if err != nil {
		return nil, fmt.Errorf("a key for the %s of run %q: %w", use, run, err)
	}
	return out, nil
}
