package data

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestResolve(t *testing.T) {
	for _, c := range []struct{ name, files, split, want string }{
		{"plain", "train.jsonl test.jsonl", "train", "train.jsonl"},
		{"dev", "train-v1.1.json dev-v1.1.json", "validation", "dev-v1.1.json"},
		{"exact first", "val.json validation.json.gz", "validation", "validation.json.gz"},
		{"shards", "train-00001-of-00002.parquet train-00000-of-00002.parquet README.md", "train", "train-00000-of-00002.parquet train-00001-of-00002.parquet"},
		{"data", "data/train-00000-of-00001-abc.parquet", "train", "data/train-00000-of-00001-abc.parquet"},
		{"the Hub's squad", "plain_text/train-00000-of-00001.parquet plain_text/validation-00000-of-00001.parquet", "validation", "plain_text/validation-00000-of-00001.parquet"},
		{"folder of a split", "plain_text/train/0000.parquet plain_text/train/0001.parquet", "train", "plain_text/train/0000.parquet plain_text/train/0001.parquet"},
		{"numbered", "train_0.jsonl.zst train_1.jsonl.zst", "train", "train_0.jsonl.zst train_1.jsonl.zst"},
		{"another word", "training.jsonl", "train", `no file of split "train" (it has training.jsonl)`},
		{"missing", "test.jsonl dataset_info.json", "train", `no file of split "train" (it has test.jsonl)`},
		{"no data", "model.safetensors", "train", "it has no .json, .jsonl, .parquet or .txt file"},
		{"two versions", "train-v1.1.json train-v2.0.json", "train", "several files of split \"train\" that are not shards of one set (train-v1.1.json, train-v2.0.json)"},
		{"two formats", "train.json train.parquet", "train", "not shards of one set"},
		{"two packings", "train.json train.json.gz", "train", "not shards of one set"},
		{"shards and whole", "train-00000-of-00001.parquet train.parquet", "train", "not shards of one set"},
		{"shards of two sets", "train-00000-of-00002.parquet train-00001-of-00003.parquet", "train", "not shards of one set"},
		{"a shard twice", "train-00000-of-00002-a.parquet train-00000-of-00002-b.parquet", "train", "not shards of one set"},
		{"a missing shard", "train-00000-of-00003.parquet train-00002-of-00003.parquet", "train", "has 2 of the 3 shards"},
		{"one shard of two", "train-00001-of-00002.parquet", "train", "has 1 of the 2 shards"},
		{"shard beyond", "train-00002-of-00002.parquet", "train", "not a shard's number"},
		{"full name", "train.jsonl", "train.jsonl", `no file of split "train.jsonl"`},
	} {
		dir := t.TempDir()
		for _, name := range strings.Fields(c.files) {
			put(t, dir, name, "")
		}
		files, err := resolve(dir, c.split)
		if err != nil {
			wantError(t, c.name, err, c.want)
			continue
		}
		for i, f := range files {
			if files[i], err = filepath.Rel(dir, f); err != nil {
				t.Fatal(err)
			}
		}
		if got := strings.Join(files, " "); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}

// TestShards: examples of several files come in the order of the files, up to the limit.
func TestShards(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "train-00001-of-00002.jsonl", strings.ReplaceAll(lined, `"id":"`, `"id":"b`))
	put(t, dir, "train-00000-of-00002.jsonl", lined)
	for limit, want := range map[int]string{0: "1 2 b1 b2", 1: "1", 2: "1 2", 3: "1 2 b1", 9: "1 2 b1 b2"} {
		got, err := SQuAD(dir, "train", limit)
		var ids []string
		for _, e := range got {
			ids = append(ids, e.ID)
		}
		if s := strings.Join(ids, " "); err != nil || s != want {
			t.Errorf("limit %d: %s, %v, want %s", limit, s, err, want)
		}
	}
}
