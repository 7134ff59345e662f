package configs

import (
	"fmt"
	"reflect"
	"strings"
)

// elsewhere maps names that users of AutoModel, PEFT and the Hugging Face Trainer know to ours. A key is
// looked up as section.key first, then by its own name.
var elsewhere = map[string]string{
	"_target_":                        "classes are not named here; use the section's name or kind",
	"recipe":                          "not needed; a recipe is always fine-tuning for next-token prediction",
	"step_scheduler.local_batch_size": "use dataloader.batch_size",
	"local_batch_size":                "use dataloader.batch_size",
	"per_device_train_batch_size":     "use dataloader.batch_size",
	"micro_batch_size":                "use dataloader.batch_size",
	"gradient_accumulation_steps":     "use step_scheduler.grad_acc_steps",
	"num_train_epochs":                "use step_scheduler.num_epochs",
	"save_steps":                      "use step_scheduler.ckpt_every_steps",
	"eval_steps":                      "use step_scheduler.val_every_steps",
	"torch_dtype":                     "use model.dtype",
	"attn_implementation":             "use model.attention",
	"trust_remote_code":               "drop it; no code from a model is ever run",
	"dataset_name":                    "use path_or_id",
	"path_or_dataset_id":              "use path_or_id",
	"path_or_dataset":                 "use path_or_id",
	"column_mapping":                  "use columns",
	"max_seq_length":                  "use dataset.seq_length",
	"max_length":                      "use dataset.seq_length",
	"tokenizer":                       "drop it; the tokenizer is the model's",
	"collate_fn":                      "drop it; batches are padded to the longest row",
	"dataloader.num_workers":          "use dataset.num_workers",
	"lr_decay_style":                  "use lr_scheduler.name",
	"lr_scheduler_type":               "use lr_scheduler.name",
	"lr_warmup_steps":                 "use lr_scheduler.warmup_steps",
	"lr_decay_steps":                  "use lr_scheduler.decay_steps",
	"learning_rate":                   "use optimizer.lr",
	"max_grad_norm":                   "use clip_grad_norm.max_norm",
	"checkpoint_dir":                  "use checkpoint.dir",
	"output_dir":                      "use checkpoint.dir",
	"restore_from":                    "use checkpoint.resume",
	"save_total_limit":                "use checkpoint.keep",
	"model_save_format":               "drop it; checkpoints are safetensors",
	"save_consolidated":               "drop it; checkpoints load in Hugging Face as they are",
	"peft_fn":                         "use peft.scheme",
	"r":                               "use peft.dim",
	"rank":                            "use peft.dim",
	"lora_r":                          "use peft.dim",
	"lora_alpha":                      "use peft.alpha",
	"rank_pattern":                    "use peft.dim_pattern",
	"loraplus_lr_ratio":               "use optimizer.loraplus_lr_ratio",
	"lora_dropout":                    "use peft.dropout",
	"use_triton":                      "drop it; XLA compiles the adapter",
	"lora_dtype":                      "drop it; adapters are f32",
	"wandb":                           "use [logging.wandb]",
	"tensorboard":                     "use logging.tensorboard",
	"distributed_config":              "use [distributed]",
	"strategy":                        "drop it; sharding is always FSDP2's",
	"compile":                         "drop it; XLA always compiles",
	"quantization":                    "use peft.base_precision",
}

// suggest says what an unknown key at path, in a section of type t, may have meant.
func suggest(t reflect.Type, path []string) string {
	name := path[len(path)-1]
	dotted := strings.Join(path, ".")
	if hint, ok := elsewhere[dotted]; ok {
		return hint
	}
	own := names(keysOf(t))
	if n, distance := nearest(name, own); distance <= 1+len(n)/4 {
		return "did you mean " + n + "?"
	}
	if hint, ok := elsewhere[name]; ok {
		return hint
	}
	if section := sectionWith(name); section != "" && t != recipeType {
		return fmt.Sprintf("%s belongs to [%s]", name, section)
	}
	if section := sectionWith(name); section != "" {
		return fmt.Sprintf("write it under [%s]", section)
	}
	if t == recipeType {
		return "sections are " + strings.Join(own, ", ")
	}
	return "keys here are " + strings.Join(own, ", ")
}

// sectionWith finds the first section that has a key of this name.
func sectionWith(name string) string {
	for _, section := range keysOf(recipeType) {
		if section.typ.Kind() != reflect.Struct {
			continue
		}
		if _, ok := findKey(section.typ, name); ok {
			return section.name
		}
	}
	return ""
}

// nearest gives the candidate closest to name, ignoring case, and its distance.
func nearest(name string, candidates []string) (string, int) {
	best, least := "", 1<<30
	for _, c := range candidates {
		if d := editDistance(strings.ToLower(name), strings.ToLower(c)); d < least {
			best, least = c, d
		}
	}
	return best, least
}

// editDistance is Levenshtein's, over bytes; names longer than a line are far from everything.
func editDistance(a, b string) int {
	const longest = 100
	if len(a) > longest {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal, row[j+1] = row[j+1], min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
