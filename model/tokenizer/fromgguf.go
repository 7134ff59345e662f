package tokenizer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// Files is the tokenizer that a GGUF file's metadata describes as the files of a Hugging Face folder, by name:
// tokenizer.json and tokenizer_config.json, and chat_template.jinja if there is a template.
func Files(meta map[string]any) (map[string][]byte, error) {
	files, err := filesOf(meta)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: as files of a Hugging Face folder: %w", err)
	}
	return files, nil
}

// object is a JSON object of tokenizer.json.
type object map[string]any

func filesOf(meta map[string]any) (map[string][]byte, error) {
	t, err := fromGGUF(meta)
	if err != nil {
		return nil, err
	}
	types, _ := meta["tokenizer.ggml.token_type"].([]int32)
	f := object{"version": "1.0", "truncation": nil, "padding": nil, "added_tokens": t.addedTo(types), "post_processor": t.postProcessor()}
	vocab := map[string]int32{}
	for id, token := range t.tokens {
		if _, twice := vocab[token]; twice {
			return nil, fmt.Errorf("token %q has two ids: tokenizer.json has no room for that", token)
		}
		vocab[token] = int32(id)
	}
	model := object{"type": "BPE", "dropout": nil, "continuing_subword_prefix": nil, "end_of_word_suffix": nil, "vocab": vocab}
	f["model"] = model
	if t.model.byteLevel {
		byteLevelFile(meta, f, model)
	} else if err := t.sentencePieceFile(meta, f, model); err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	config := object{"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": false, "model_max_length": 1 << 30}
	for key, id := range map[string]int32{"bos_token": t.bos, "eos_token": t.eos, "pad_token": t.pad, "unk_token": t.model.unk} {
		if id >= 0 {
			config[key] = t.tokens[id]
		}
	}
	if t.chat != "" {
		files["chat_template.jinja"] = []byte(t.chat)
	}
	for name, content := range map[string]object{"tokenizer.json": f, "tokenizer_config.json": config} {
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if err := enc.Encode(content); err != nil {
			return nil, err
		}
		files[name] = b.Bytes()
	}
	return files, nil
}

// addedTo lists the tokens that are found in a text before the model sees it.
func (t *Tokenizer) addedTo(types []int32) []addedToken {
	list := []addedToken{}
	for id, kind := range types {
		if kind == ggufControl || kind == ggufUserDefined || kind == ggufUnknown {
			list = append(list, addedToken{ID: int32(id), Content: t.tokens[id], Special: kind != ggufUserDefined})
		}
	}
	return list
}

// postProcessor is what is put around a text.
func (t *Tokenizer) postProcessor() any {
	if len(t.before)+len(t.after) == 0 {
		return nil
	}
	special := object{}
	template := func(sequences ...string) []object {
		var out []object
		put := func(ids []int32, kind int) {
			for _, id := range ids {
				token := t.tokens[id]
				special[token] = object{"id": token, "ids": []int32{id}, "tokens": []string{token}}
				out = append(out, object{"SpecialToken": object{"id": token, "type_id": kind}})
			}
		}
		for kind, s := range sequences {
			put(t.before, kind)
			out = append(out, object{"Sequence": object{"id": s, "type_id": kind}})
			put(t.after, kind)
		}
		return out
	}
	return object{"type": "TemplateProcessing", "single": template("A"), "pair": template("A", "B"), "special_tokens": special}
}

// byteLevelFile fills in a byte-level BPE.
func byteLevelFile(meta map[string]any, f, model object) {
	name, _ := meta["tokenizer.ggml.pre"].(string)
	pre := ggufPre[name]
	if name == "" {
		pre = ggufPre["default"]
	}
	var cuts []object
	for _, p := range pre.patterns {
		cuts = append(cuts, object{"type": "Split", "pattern": object{"Regex": p}, "behavior": "Isolated", "invert": false})
	}
	cuts = append(cuts, object{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false})
	f["pre_tokenizer"] = object{"type": "Sequence", "pretokenizers": cuts}
	f["normalizer"] = nil
	if pre.nfc {
		f["normalizer"] = object{"type": "NFC"}
	}
	f["decoder"] = object{"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true}
	merges, _ := meta["tokenizer.ggml.merges"].([]string)
	model["merges"], model["unk_token"], model["fuse_unk"] = merges, nil, false
	model["byte_fallback"], model["ignore_merges"] = false, pre.ignoreMerges
}

// sentencePieceFile fills in a BPE whose merges are all pairs of tokens that make a token, the best scores first.
func (t *Tokenizer) sentencePieceFile(meta map[string]any, f, model object) error {
	scores, _ := meta["tokenizer.ggml.scores"].([]float32)
	vocab := model["vocab"].(map[string]int32)
	byScore := ordered(vocab)
	slices.SortStableFunc(byScore, func(a, b string) int {
		switch sa, sb := scores[vocab[a]], scores[vocab[b]]; {
		case sa > sb:
			return -1
		case sa < sb:
			return 1
		}
		return 0
	})
	types, _ := meta["tokenizer.ggml.token_type"].([]int32)
	merges := []merge{}
	for _, token := range byScore {
		if id := vocab[token]; int(id) < len(types) && types[id] != ggufNormal {
			continue
		}
		merges = append(merges, halves(token, vocab)...)
	}
	if t.model.unk < 0 {
		return errors.New("a SentencePiece vocabulary without an unknown token")
	}
	model["merges"], model["unk_token"], model["fuse_unk"] = merges, t.tokens[t.model.unk], true
	model["byte_fallback"], model["ignore_merges"] = true, false
	mark := object{"type": "Replace", "pattern": object{"String": " "}, "content": spmSpace}
	plain := []object{{"type": "Replace", "pattern": object{"String": spmSpace}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}}
	f["pre_tokenizer"] = nil
	f["normalizer"], f["decoder"] = mark, object{"type": "Sequence", "decoders": plain}
	if space, ok := meta["tokenizer.ggml.add_space_prefix"].(bool); !ok || space {
		f["normalizer"] = object{"type": "Sequence", "normalizers": []object{{"type": "Prepend", "prepend": spmSpace}, mark}}
		f["decoder"] = object{"type": "Sequence", "decoders": append(plain, object{"type": "Strip", "content": " ", "start": 1, "stop": 0})}
	}
	return nil
}
