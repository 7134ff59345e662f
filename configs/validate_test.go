package configs

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// valid returns a recipe without faults.
func valid(t *testing.T) *Recipe {
	t.Helper()
	r := mustParse(t, small+"[validation_dataset]\npath_or_id = \"org/data\"\n")
	if err := r.Validate(); err != nil {
		t.Fatalf("the recipe to start from: %v", err)
	}
	return r
}

// TestValidate: one wrong key each; exactly the expected field is at fault.
func TestValidate(t *testing.T) {
	for _, c := range []struct {
		name, field, want string
		edit              func(r *Recipe)
	}{
		{"range", "peft.dim", "5000 is out of range; want at least 1 and at most 4096", func(r *Recipe) { r.PEFT.Dim = 5000 }},
		{"negative", "step_scheduler.max_steps", "-1 is out of range; want at least 0", func(r *Recipe) { r.StepScheduler.MaxSteps = -1 }},
		{"open range", "dist_env.timeout_minutes", "0 is out of range; want more than 0", func(r *Recipe) { r.DistEnv.TimeoutMinutes = 0 }},
		{"beta", "optimizer.betas", "1 is out of range; want at least 0 and less than 1", func(r *Recipe) { r.Optimizer.Betas[1] = 1 }},
		{"not a number", "optimizer.lr", "nan is no finite number", func(r *Recipe) { r.Optimizer.LR = math.NaN() }},
		{"infinite", "optimizer.eps", "+inf is no finite number", func(r *Recipe) { r.Optimizer.Eps = math.Inf(1) }},
		{"dp below none", "distributed.dp_size", "-3 is out of range", func(r *Recipe) { r.Distributed.DPSize = -3 }},
		{"word", "model.dtype", `"f64" is unknown; want one of bf16, f32`, func(r *Recipe) { r.Model.DType = "f64" }},
		{"near word", "optimizer.name", `"adamW" is unknown; did you mean "adamw"? (adam, adamw)`, func(r *Recipe) { r.Optimizer.Name = "adamW" }},
		{"word within a section", "logging.wandb.mode", "is unknown", func(r *Recipe) { r.Logging.Wandb.Mode = "x" }},
		{"word of a validation set", "validation_dataset.kind", `"squadd" is unknown; did you mean "squad"?`, func(r *Recipe) { edit(r, func(d *Dataset) { d.Kind = "squadd" }) }},

		{"no model", "model.pretrained_model_name_or_path", "missing; name a model", func(r *Recipe) { r.Model.PretrainedModelNameOrPath = "" }},
		{"model folder", "model.pretrained_model_name_or_path", `"./no/such" does not exist`, func(r *Recipe) { r.Model.PretrainedModelNameOrPath = "./no/such" }},
		{"model file", "model.pretrained_model_name_or_path", `"no.gguf" does not exist`, func(r *Recipe) { r.Model.PretrainedModelNameOrPath = "no.gguf" }},
		{"home", "model.pretrained_model_name_or_path", "does not expand ~", func(r *Recipe) { r.Model.PretrainedModelNameOrPath = "~/model" }},
		{"no id", "model.pretrained_model_name_or_path", "neither a path that exists nor a Hub id", func(r *Recipe) { r.Model.PretrainedModelNameOrPath = "a/b/c" }},
		{"no demo", "model.pretrained_model_name_or_path", "no name of a demo", func(r *Recipe) { r.Model.PretrainedModelNameOrPath = "demo:" }},
		{"cudnn f32", "model.attention", `"cudnn" has no f32 kernels`, func(r *Recipe) { r.Model.Attention, r.Model.DType = "cudnn", "f32" }},

		{"both ways to match", "peft.match_all_linear", `contradicts target_modules = ["*_proj"]`, func(r *Recipe) { r.PEFT.MatchAllLinear = true }},
		{"nothing to match", "peft.target_modules", "empty, so nothing would be trained", func(r *Recipe) { r.PEFT.TargetModules = nil }},
		{"empty pattern", "peft.target_modules", `pattern "" is empty`, func(r *Recipe) { r.PEFT.TargetModules = []string{"q_proj", ""} }},
		{"space in pattern", "peft.exclude_modules", "has spaces around it", func(r *Recipe) { r.PEFT.ExcludeModules = []string{" lm_head"} }},
		{"fp8 f32", "peft.base_precision", `"fp8" contradicts model.dtype = "f32"`, func(r *Recipe) { r.PEFT.BasePrecision, r.Model.DType = "fp8", "f32" }},
		{"fp8_all full", "peft.base_precision", `"fp8_all" is for a frozen base`, func(r *Recipe) { r.PEFT.BasePrecision, r.PEFT.Scheme = "fp8_all", "none" }},
		{"fp8 full", "peft.base_precision", `is for a frozen base`, func(r *Recipe) { r.PEFT.BasePrecision, r.PEFT.Scheme = "fp8", "none" }},
		{"no adapter", "peft.init_from", `"./adapter" does not exist`, func(r *Recipe) { r.PEFT.InitFrom = "./adapter" }},

		{"DoRA with dropout", "peft.use_dora", "contradicts dropout = 0.1", func(r *Recipe) { r.PEFT.UseDoRA, r.PEFT.Dropout = true, 0.1 }},
		{"patterns of an adapter that is there", "peft.dim_pattern", "has its sizes already", func(r *Recipe) {
			r.PEFT.InitFrom, r.PEFT.DimPattern = "org/adapter", ModuleValues{{"*.q_proj", 4}}
		}},
		{"LoRA+ without adapters", "optimizer.loraplus_lr_ratio", `16 is for adapters, and peft.scheme = "none"`, func(r *Recipe) { r.Optimizer.LoraPlusLRRatio, r.PEFT.Scheme = 16, "none" }},
		{"LoRA+ below one", "optimizer.loraplus_lr_ratio", "0.5 is out of range", func(r *Recipe) { r.Optimizer.LoraPlusLRRatio = 0.5 }},

		{"batch no multiple", "step_scheduler.global_batch_size", "30 is no multiple of dataloader.batch_size = 8 on each rank; use 24 or 32, or another batch_size", func(r *Recipe) { r.StepScheduler.GlobalBatchSize = 30 }},
		{"batch below one", "step_scheduler.global_batch_size", "use 8, or another", func(r *Recipe) { r.StepScheduler.GlobalBatchSize = 4 }},
		{"batch no multiple of dp", "step_scheduler.global_batch_size", "on each of 4 data-parallel ranks; use 32 or 64", func(r *Recipe) { r.StepScheduler.GlobalBatchSize, r.Distributed.DPSize = 40, 4 }},
		{"batch against steps", "step_scheduler.global_batch_size", "64 contradicts grad_acc_steps = 3", func(r *Recipe) { r.StepScheduler.GlobalBatchSize, r.StepScheduler.GradAccSteps = 64, 3 }},
		{"batch against steps and dp", "step_scheduler.grad_acc_steps", "4 contradicts global_batch_size = 64: with dataloader.batch_size = 8 on each of 4 data-parallel ranks it takes 2", func(r *Recipe) {
			r.StepScheduler.GlobalBatchSize, r.StepScheduler.GradAccSteps, r.Distributed.DPSize = 64, 4, 4
		}},
		{"long warm-up", "lr_scheduler.warmup_steps", "11 is more than step_scheduler.max_steps = 10", func(r *Recipe) { r.StepScheduler.MaxSteps, r.LRScheduler.WarmupSteps = 10, 11 }},
		{"long decay", "lr_scheduler.decay_steps", "8 does not fit", func(r *Recipe) {
			r.StepScheduler.MaxSteps = 10
			r.LRScheduler = LRScheduler{Name: "wsd", WarmupSteps: 3, DecaySteps: 8}
		}},
		{"constant decay", "lr_scheduler.decay_steps", "never falls", func(r *Recipe) { r.LRScheduler.DecaySteps = 1 }},
		{"min above peak", "lr_scheduler.min_lr", "0.1 is above optimizer.lr = 1e-05", func(r *Recipe) { r.LRScheduler = LRScheduler{Name: "cosine", MinLR: 0.1} }},

		{"shuffled validation", "validation_dataloader.shuffle", "in any order", func(r *Recipe) { r.ValidationDataloader.Shuffle = true }},
		{"ranks alike", "rng.ranked", "keyed by sample", func(r *Recipe) { r.RNG.Ranked = false }},
		{"replicas", "distributed.dp_replicate_size", "3 does not divide dp_size = 8", func(r *Recipe) { r.Distributed.DPReplicateSize, r.Distributed.DPSize = 3, 8 }},
		{"offload of what stays", "distributed.cpu_offload", "reshard_after_forward", func(r *Recipe) { r.Distributed.CPUOffload, r.Distributed.ReshardAfterForward = true, false }},
		{"offload of what is trained", "distributed.cpu_offload", "frozen base", func(r *Recipe) {
			r.Distributed.CPUOffload, r.PEFT.Scheme, r.PEFT.TargetModules = true, "none", nil
		}},
		{"sequence parallel alone", "distributed.sequence_parallel", "needs tp_size above 1", func(r *Recipe) { r.Distributed.SequenceParallel = true }},
		{"packed and cp", "packed_sequence.packed_sequence_size", "1022 does not divide into 2 x cp_size = 4 chunks; use 1024", func(r *Recipe) { r.PackedSequence.PackedSequenceSize, r.Distributed.CPSize = 1022, 2 }},
		{"packed too small", "dataset.seq_length", "512 is more than packed_sequence.packed_sequence_size = 256", func(r *Recipe) { r.PackedSequence.PackedSequenceSize, r.Dataset.SeqLength = 256, 512 }},

		{"no data", "dataset.path_or_id", "missing; name data", func(r *Recipe) { r.Dataset.PathOrID = "" }},
		{"data file", "dataset.path_or_id", `"train.jsonl" does not exist; paths are relative to the working directory`, func(r *Recipe) { r.Dataset.PathOrID = "train.jsonl" }},
		{"data file packed", "dataset.path_or_id", "does not exist", func(r *Recipe) { r.Dataset.PathOrID = "train.jsonl.GZ" }},
		{"validation data", "validation_dataset.path_or_id", "missing; name data", func(r *Recipe) { edit(r, func(d *Dataset) { d.PathOrID = "" }) }},
		{"mock key elsewhere", "dataset.vocab_size", `is for kind = "mock"`, func(r *Recipe) { r.Dataset.VocabSize = 9 }},
		{"mock count elsewhere", "dataset.num_samples", "use limit_dataset_samples", func(r *Recipe) { r.Dataset.NumSamples = 9 }},
		{"mock without count", "dataset.num_samples", "missing", func(r *Recipe) { r.Dataset = mock(0, 8) }},
		{"mock without length", "dataset.seq_length", "needs the samples' length", func(r *Recipe) { r.Dataset = mock(4, 0) }},
		{"mock with data", "dataset.path_or_id", "reads nothing", func(r *Recipe) { r.Dataset = mock(4, 8); r.Dataset.PathOrID = "x" }},
		{"mock lengths elsewhere", "dataset.min_length", `is for kind = "mock"`, func(r *Recipe) { r.Dataset.MinLength = 9 }},
		{"mock lengths turned round", "dataset.min_length", "more than seq_length", func(r *Recipe) { r.Dataset = mock(4, 8); r.Dataset.MinLength = 9 }},
		{"mock of one id", "dataset.vocab_size", "leaves nothing to learn", func(r *Recipe) { r.Dataset = mock(4, 8); r.Dataset.VocabSize = 1 }},
		{"compat of chat", "dataset.compat", `"automodel" is for kind = "squad", not "chat"`, func(r *Recipe) { r.Dataset.Kind, r.Dataset.Compat = "chat", "automodel" }},
		{"compat and template", "dataset.compat", "contradicts chat_template", func(r *Recipe) { r.Dataset.Compat, r.Dataset.ChatTemplate = "automodel", true }},
		{"template of text", "dataset.chat_template", `no meaning for kind "text"`, func(r *Recipe) { r.Dataset.Kind, r.Dataset.ChatTemplate = "text", true }},
		{"column not read", "dataset.columns.text", `"body" given, but kind "squad" does not read it (kind "text" does)`, func(r *Recipe) { r.Dataset.Columns.Text = "body" }},
		{"column missing", "dataset.columns.answer", `empty; kind "columns" reads it`, func(r *Recipe) { r.Dataset.Kind, r.Dataset.Columns.Answer = "columns", "" }},

		{"samples from nowhere", "generate_samples.num_samples", "there is no [validation_dataset]", func(r *Recipe) { r.ValidationDataset, r.GenerateSamples.NumSamples = nil, 3 }},
		{"no folder", "checkpoint.dir", "empty", func(r *Recipe) { r.Checkpoint.Dir = "" }},
		{"folder that is a file", "checkpoint.dir", `"validate_test.go" is a file; name a folder`, func(r *Recipe) { r.Checkpoint.Dir = "validate_test.go" }},
		{"folder below a file", "logging.dir", `"validate_test.go/x" lies below a file`, func(r *Recipe) { r.Logging.Dir = "validate_test.go/x" }},
		{"slice of a split", "dataset.split", `"train[:100]" is no split's name`, func(r *Recipe) { r.Dataset.Split = "train[:100]" }},
		{"no checkpoint", "checkpoint.resume", `"Auto" does not exist; want "auto", "never" or the path of a checkpoint`, func(r *Recipe) { r.Checkpoint.Resume = "Auto" }},
		{"W&B over HTTP", "logging.wandb.mode", `"online" is not supported; use "offline"`, func(r *Recipe) { r.Logging.Wandb.Mode = "online" }},
		{"address", "logging.prometheus", `"9400" is no address`, func(r *Recipe) { r.Logging.Prometheus = "9400" }},
		{"set's name", "validation_dataset", `set name "a.b"`, func(r *Recipe) { r.ValidationDataset = map[string]Dataset{"a.b": r.Dataset} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := valid(t)
			c.edit(r)
			err := r.Validate()
			var f *Fault
			if !errors.As(err, &f) {
				t.Fatalf("Validate = %v, want a *Fault", err)
			}
			if f.Field != c.field || !strings.Contains(f.Problem, c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got\n%v\nwant only %s: ...%s...", err, c.field, c.want)
			}
		})
	}
}

// edit changes the only validation set.
func edit(r *Recipe, f func(*Dataset)) {
	d := r.ValidationDataset[DefaultSet]
	f(&d)
	r.ValidationDataset[DefaultSet] = d
}

// mock returns a set without data.
func mock(samples, length int) Dataset {
	d := defaultDataset("train")
	d.Kind, d.NumSamples, d.SeqLength = "mock", samples, length
	return d
}

func TestValidateAccepts(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "train.jsonl")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(r *Recipe){
		"local paths":       func(r *Recipe) { r.Model.PretrainedModelNameOrPath, r.Dataset.PathOrID = dir, file },
		"an id without ORG": func(r *Recipe) { r.Model.PretrainedModelNameOrPath = "gpt2" },
		"demo": func(r *Recipe) {
			r.Model.PretrainedModelNameOrPath, r.Dataset.PathOrID = "demo:smollm2-135m", "demo:squad"
		},
		"mock":               func(r *Recipe) { r.Dataset = mock(4, 8) },
		"full fine-tuning":   func(r *Recipe) { r.PEFT.Scheme, r.PEFT.TargetModules = "none", nil },
		"f32":                func(r *Recipe) { r.Model.DType = "f32" },
		"both batch keys":    func(r *Recipe) { r.StepScheduler.GlobalBatchSize, r.StepScheduler.GradAccSteps = 64, 4 },
		"resume from a path": func(r *Recipe) { r.Checkpoint.Resume = dir },
		"lr of 0":            func(r *Recipe) { r.Optimizer.LR = 0 },
		"no clipping":        func(r *Recipe) { r.ClipGradNorm.MaxNorm = 0 },
		"packed":             func(r *Recipe) { r.PackedSequence.PackedSequenceSize, r.Dataset.SeqLength = 2048, 2048 },
		"validation longer": func(r *Recipe) {
			r.PackedSequence.PackedSequenceSize = 256
			set := r.Dataset
			set.SeqLength = 512
			r.ValidationDataset = map[string]Dataset{DefaultSet: set}
		},
	} {
		r := valid(t)
		change(r)
		if err := r.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestResolveAccumulation(t *testing.T) {
	for _, c := range []struct{ acc, global, batch, dp, want int }{
		{0, 0, 8, 1, 1},
		{4, 0, 8, 3, 4},
		{0, 64, 8, 1, 8},
		{0, 64, 8, 8, 1},
		{2, 64, 8, 4, 2},
		{3, 64, 8, 4, 0},
		{0, 64, 8, 16, 0},
		{0, 60, 8, 1, 0},
		{0, 8, 8, 0, 0},
		{0, 8, 0, 1, 0},
		{0, 8, math.MaxInt, 1, 0},
		{0, 8, 1 << 32, 1 << 32, 0},
		{0, math.MaxInt, 2, 1, 0},
	} {
		r := Default()
		r.StepScheduler.GradAccSteps, r.StepScheduler.GlobalBatchSize, r.Dataloader.BatchSize = c.acc, c.global, c.batch
		got, err := r.ResolveAccumulation(c.dp)
		if got != c.want || (err == nil) != (c.want > 0) {
			t.Errorf("acc %d, global %d, batch %d, dp %d: got %d, %v; want %d", c.acc, c.global, c.batch, c.dp, got, err, c.want)
		}
	}
}

func TestTimeouts(t *testing.T) {
	d := DistEnv{TimeoutMinutes: 0.5, StartupTimeoutMinutes: 2, CheckpointTimeoutMinutes: 1e300}
	if d.Timeout().Seconds() != 30 || d.StartupTimeout().Seconds() != 120 || d.CheckpointTimeout() <= 0 {
		t.Errorf("got %v, %v, %v", d.Timeout(), d.StartupTimeout(), d.CheckpointTimeout())
	}
}

func TestLogDir(t *testing.T) {
	r := Default()
	if r.LogDir() != "checkpoints" {
		t.Errorf("LogDir = %q, want checkpoint.dir", r.LogDir())
	}
	r.Logging.Dir = "logs"
	if r.LogDir() != "logs" {
		t.Errorf("LogDir = %q, want logging.dir", r.LogDir())
	}
}
