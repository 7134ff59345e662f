package data

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"os"
	"regexp"
	"strings"
	"time"

	"gorun/configs"
)

// name is a data set's name in the cache, "" if it is not for the cache: what is made up, or small, or depends on the
// hour. stamp tells whether its files have been changed since.
func (k Cache) name(ctx context.Context, a asked) (name string, stamp []byte, err error) {
	c := a.config
	if k.Dir == "" || c.Kind == "mock" || strings.HasPrefix(c.PathOrID, configs.DemoPrefix) {
		return "", nil, nil // for a mock set there may be no tokenizer
	}
	day, ok := dayOf(a.tok.ChatTemplate(), time.Now())
	if !ok {
		return "", nil, nil
	}
	h := sha256.New()
	program, err := os.Executable()
	if err != nil {
		return "", nil, err
	}
	info, err := os.Stat(program)
	if err != nil {
		return "", nil, err
	}
	c.NumWorkers, c.Revision = 0, ""
	settings, err := json.Marshal(c)
	if err != nil {
		return "", nil, err
	}
	write := func(text string) { fmt.Fprintf(h, "%d:%s", len(text), text) }
	write(fmt.Sprint(info.Size(), info.ModTime().UnixNano(), a.longest, a.vocab))
	write(string(settings))
	write(k.Tokenizer)
	write(a.tok.ChatTemplate() + day)
	for _, special := range []func() (int32, bool){a.tok.BOS, a.tok.EOS, a.tok.Pad} {
		id, ok := special()
		write(fmt.Sprint(id, ok))
	}
	if stamp, err = stamps(c); err != nil {
		return "", nil, err
	}
	files, err := resolve(c.PathOrID, c.Split)
	if err != nil {
		return "", nil, err
	}
	for _, f := range files {
		write(f)
		if err := hashFile(ctx, h, f); err != nil {
			return "", nil, err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), stamp, nil
}

// asksDate is how a template asks for the time: by a format.
var asksDate = regexp.MustCompile(`strftime_now\s*\(\s*("[^"]*"|'[^']*')\s*\)`)

// dayOf is the day if a chat template asks for the date, as Llama 3's does, and "" if it does not; ok is false if what it
// asks for may change within the day.
func dayOf(template string, now time.Time) (day string, ok bool) {
	asks := asksDate.FindAllStringSubmatch(template, -1)
	if len(asks) < strings.Count(strings.ReplaceAll(template, " ", ""), "strftime_now(") {
		return "", false // by a format that it computes
	}
	for _, ask := range asks {
		if strings.Contains(dateOnly.Replace(ask[1]), "%") {
			return "", false
		}
		day = now.Format(time.DateOnly)
	}
	return day, true
}

// dateOnly removes what formats have for parts of a date.
var dateOnly = strings.NewReplacer("%d", "", "%-d", "", "%e", "", "%m", "", "%-m", "", "%b", "", "%B", "", "%y", "", "%Y", "", "%a", "", "%A", "", "%j", "", "%F", "", "%D", "")

// stamps are sizes and times of a data set's files.
func stamps(c configs.Dataset) (out []byte, err error) {
	files, err := resolve(c.PathOrID, c.Split)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			return nil, err
		}
		out = fmt.Appendln(out, f, info.Size(), info.ModTime().UnixNano())
	}
	return out, nil
}

// hashFile adds a file's contents, with its length behind them.
func hashFile(ctx context.Context, h hash.Hash, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read from
	n, err := io.CopyBuffer(h, untilCancelled{ctx, f}, make([]byte, 1<<20))
	fmt.Fprintf(h, ":%d", n)
	return err
}

// untilCancelled reads until its context is cancelled; to hash large files takes a while.
type untilCancelled struct {
	ctx context.Context
	io.Reader
}

func (u untilCancelled) Read(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.Reader.Read(p)
}
