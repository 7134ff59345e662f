package hub

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Names of a model's files.
const (
	indexFile   = "model.safetensors.index.json"
	weightsFile = "model.safetensors"
	adapterFile = "adapter_model.safetensors"
)

// modelFiles are the small files at a model's root that training, export or publishing reads. README.md names the
// licence, which a card hands on.
var modelFiles = []string{
	"config.json", "generation_config.json", indexFile,
	"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
	"tokenizer.model", "vocab.json", "merges.txt", "chat_template.jinja", "chat_template.json",
	"adapter_config.json", "README.md",
}

// notices are the starts of names of licence texts, which belong with the weights.
var notices = []string{"LICENSE", "LICENCE", "NOTICE", "USE_POLICY"}

var (
	sharded  = regexp.MustCompile(`^.+-\d{5}-of-\d{5}\.safetensors$`)
	dataFile = regexp.MustCompile(`(?i)\.(json|jsonl|ndjson|parquet|txt)(\.gz|\.zst)?$`)
	anyDir   = regexp.MustCompile(`(^|/)\.`)
)

// choice is which files of a listing are fetched. Which shards a model has is said by its index: where indexed is set,
// shards() must add them once the index is there.
type choice struct {
	entries []Entry
	indexed bool
}

// choose picks what training needs, or what the globs in include say.
func choose(r Repo, all []Entry, include []string) (choice, error) {
	if len(include) > 0 {
		return chooseGlobs(r, all, include)
	}
	if r.Kind == Dataset {
		var c choice
		for _, e := range all {
			if base := path.Base(e.Path); base == "README.md" || dataFile.MatchString(base) && !anyDir.MatchString(e.Path) {
				c.entries = append(c.entries, e)
			}
		}
		if !slices.ContainsFunc(c.entries, func(e Entry) bool { return dataFile.MatchString(e.Path) }) {
			return c, fmt.Errorf("it has no file that gorun reads (.json, .jsonl, .parquet or .txt, also .gz and .zst) but %s: "+
				"--revision refs/convert/parquet has many datasets as parquet", namesOf(all))
		}
		return c, nil
	}
	return chooseModel(all)
}

func chooseModel(all []Entry) (c choice, err error) {
	var weights []Entry
	names := map[string]bool{}
	for _, e := range all {
		names[e.Path] = true
	}
	for _, e := range all {
		switch {
		case IsModelFile(e.Path):
			c.entries = append(c.entries, e)
		case strings.Contains(e.Path, "/"), path.Ext(e.Path) != ".safetensors":
		case e.Path == adapterFile, e.Path == weightsFile && !names[indexFile]:
			weights = append(weights, e)
		case !names[indexFile] && !names[weightsFile] && !names[adapterFile] && !strings.HasPrefix(e.Path, "consolidated") && !sharded.MatchString(e.Path):
			weights = append(weights, e) // one file under a name of its own
		}
	}
	c.indexed = names[indexFile]
	c.entries = append(c.entries, weights...)
	if len(weights) == 0 && !c.indexed {
		return c, noWeights(all)
	}
	return c, nil
}

// noWeights says what a model without weights in safetensors has instead.
func noWeights(all []Entry) error {
	has := func(ext ...string) (found []string) {
		for _, e := range all {
			if slices.Contains(ext, path.Ext(e.Path)) {
				found = append(found, e.Path)
			}
		}
		return found
	}
	if gguf := has(".gguf"); gguf != nil {
		return fmt.Errorf("it has GGUF files (%s): choose one by --include, and give the path of the file to other commands", someOf(gguf))
	}
	if old := has(".bin", ".pth", ".pt"); old != nil {
		return fmt.Errorf("its weights are pickled PyTorch files only (%s), which can run code when loaded and are not read: "+
			"look for a conversion to safetensors, often at --revision refs/pr/N", someOf(old))
	}
	return fmt.Errorf("it has no weights in safetensors but %s: is it a model? (of a dataset say --dataset)", namesOf(all))
}

// IsModelFile tells whether a name at a model's root is one of those that programs load a model by: configuration,
// tokenizer, licence, but not weights.
func IsModelFile(name string) bool { return slices.Contains(modelFiles, name) || isNotice(name) }

func isNotice(name string) bool {
	return !strings.Contains(name, "/") && slices.ContainsFunc(notices, func(start string) bool { return strings.HasPrefix(strings.ToUpper(name), start) })
}

// shards adds the files that the index names.
func (c choice) shards(all []Entry, index []byte) (choice, error) {
	var m struct {
		WeightMap map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(index, &m); err != nil {
		return c, fmt.Errorf("%s: %w", indexFile, err)
	}
	want := map[string]bool{}
	for _, file := range m.WeightMap {
		want[file] = true
	}
	if len(want) == 0 {
		return c, fmt.Errorf("%s names no files", indexFile)
	}
	out := choice{entries: slices.Clone(c.entries)}
	for _, e := range all {
		if want[e.Path] && !slices.Contains(out.entries, e) {
			out.entries = append(out.entries, e)
		}
		delete(want, e.Path)
	}
	for missing := range want {
		return c, fmt.Errorf("%s names %s, which the repository does not have: the upload was cut, or this is not its last commit", indexFile, clip(missing))
	}
	return out, nil
}

func chooseGlobs(r Repo, all []Entry, globs []string) (c choice, err error) {
	var faults []error
	picked := map[string]bool{}
	for _, g := range globs {
		match, err := glob(g)
		if err != nil {
			return c, err
		}
		found := false
		for _, e := range all {
			if match.MatchString(e.Path) {
				found = true
				if !picked[e.Path] {
					c.entries = append(c.entries, e)
				}
				picked[e.Path] = true
			}
		}
		if !found {
			faults = append(faults, fmt.Errorf("%q matches no file of the %s, which has %s", g, r.Kind, namesOf(all)))
		}
	}
	return c, errors.Join(faults...)
}

// glob turns a pattern into an expression, by the rules of huggingface_hub's allow_patterns (Python's fnmatch): * and ?
// match a slash too, and a pattern that ends with a slash is all of a folder.
func glob(pattern string) (*regexp.Regexp, error) {
	if strings.HasSuffix(pattern, "/") {
		pattern += "*"
	}
	var b strings.Builder
	b.WriteString(`^(?s:`)
	for i := 0; i < len(pattern); i++ {
		switch ch := pattern[i]; ch {
		case '*':
			b.WriteString(".*")
		case '?':
			b.WriteByte('.')
		case '[':
			end := strings.IndexByte(pattern[i:], ']')
			if end < 2 {
				return nil, fmt.Errorf("--include %q: [ without what it stands for and ]", pattern)
			}
			set := pattern[i+1 : i+end]
			if set[0] == '!' {
				set = "^" + set[1:]
			}
			b.WriteString("[" + strings.ReplaceAll(set, `\`, `\\`) + "]")
			i += end
		default:
			b.WriteString(regexp.QuoteMeta(string(ch)))
		}
	}
	b.WriteString(`)$`)
	re, err := regexp.Compile(b.String())
	if err != nil {
		return nil, fmt.Errorf("--include %q: %w", pattern, err)
	}
	return re, nil
}

func namesOf(all []Entry) string {
	names := make([]string, len(all))
	for i, e := range all {
		names[i] = e.Path
	}
	return someOf(names)
}

func someOf(names []string) string {
	if len(names) == 0 {
		return "nothing"
	}
	if len(names) > 8 {
		return strings.Join(names[:8], ", ") + fmt.Sprintf(" and %d more", len(names)-8)
	}
	return strings.Join(names, ", ")
}
