package configs

import (
	"maps"
	"net"
	"slices"
	"strings"
)

// schedule checks steps, batch sizes and the learning rate against each other.
func (c *checker) schedule(r *Recipe) {
	if c.good("step_scheduler.grad_acc_steps", "step_scheduler.global_batch_size", "dataloader.batch_size", "distributed.dp_size") {
		c.accumulation(r)
	}
	s, lr := r.StepScheduler, r.LRScheduler
	if s.MaxSteps > 0 && lr.WarmupSteps > s.MaxSteps {
		c.fault("lr_scheduler.warmup_steps", "%d is more than step_scheduler.max_steps = %d; lower it", lr.WarmupSteps, s.MaxSteps)
	} else if s.MaxSteps > 0 && lr.DecaySteps > s.MaxSteps-lr.WarmupSteps {
		c.fault("lr_scheduler.decay_steps", "%d does not fit: of step_scheduler.max_steps = %d, %d are warm-up; lower it", lr.DecaySteps, s.MaxSteps, lr.WarmupSteps)
	}
	if lr.Name == "constant" && lr.DecaySteps > 0 {
		c.fault("lr_scheduler.decay_steps", `%d given, but lr_scheduler.name = "constant" never falls; use linear, cosine or wsd, or drop it`, lr.DecaySteps)
	}
	if c.good("lr_scheduler.min_lr", "optimizer.lr") && lr.MinLR > r.Optimizer.LR {
		c.fault("lr_scheduler.min_lr", "%v is above optimizer.lr = %v; lower it", lr.MinLR, r.Optimizer.LR)
	}
}

// accumulation checks the batch sizes, for all data-parallel sizes that dp_size leaves open.
func (c *checker) accumulation(r *Recipe) {
	s, batch := r.StepScheduler, r.Dataloader.BatchSize
	if r.Distributed.DPSize != DPNone {
		if _, err := r.ResolveAccumulation(int(r.Distributed.DPSize)); err != nil {
			c.faults = append(c.faults, asFault(err))
		}
		return
	}
	if s.GlobalBatchSize == 0 {
		return
	}
	if s.GlobalBatchSize%batch != 0 {
		c.faults = append(c.faults, notMultiple(s.GlobalBatchSize, batch, 1))
		return
	}
	if s.GradAccSteps > 0 && (s.GlobalBatchSize/batch)%s.GradAccSteps != 0 {
		c.fault("step_scheduler.global_batch_size", "%d contradicts grad_acc_steps = %d: with dataloader.batch_size = %d it is no multiple of %d x %d for any number of ranks; drop one of the two",
			s.GlobalBatchSize, s.GradAccSteps, batch, s.GradAccSteps, batch)
	}
}

// model checks [model].
func (c *checker) model(r *Recipe) {
	const field = "model.pretrained_model_name_or_path"
	if name := r.Model.PretrainedModelNameOrPath; !strings.HasPrefix(name, MockPrefix) { // of mocks, rank knows the names
		c.source(field, name, "a model", ".gguf")
	}
	if r.Model.Attention == "cudnn" && r.Model.DType == "f32" {
		c.fault("model.attention", `"cudnn" has no f32 kernels; set model.dtype = "bf16" or attention = "blockwise"`)
	}
}

// peft checks [peft].
func (c *checker) peft(r *Recipe) {
	p := r.PEFT
	for _, list := range []struct {
		field    string
		patterns []string
	}{{"peft.target_modules", p.TargetModules}, {"peft.exclude_modules", p.ExcludeModules}} {
		for _, pattern := range list.patterns {
			if strings.TrimSpace(pattern) != pattern || pattern == "" {
				c.fault(list.field, "pattern %q is empty or has spaces around it; a pattern is like %q", pattern, "*_proj")
			}
		}
	}
	if p.Float8() && p.Scheme == "none" {
		c.fault("peft.base_precision", `%q is for a frozen base, and peft.scheme = "none" trains it; use scheme = "lora" or base_precision = "auto"`, p.BasePrecision)
	}
	if p.BasePrecision != "auto" && c.good("peft.base_precision") && r.Model.DType == "f32" {
		c.fault("peft.base_precision", `%q contradicts model.dtype = "f32"; set model.dtype = "bf16" or base_precision = "auto"`, p.BasePrecision)
	}
	if r.Optimizer.LoraPlusLRRatio != 1 && p.Scheme != "lora" && c.good("optimizer.loraplus_lr_ratio") {
		c.fault("optimizer.loraplus_lr_ratio", `%v is for adapters, and peft.scheme = "none" trains the base; drop it`, r.Optimizer.LoraPlusLRRatio)
	}
	if p.Scheme != "lora" {
		return
	}
	switch {
	case p.MatchAllLinear && len(p.TargetModules) > 0:
		c.fault("peft.match_all_linear", "true contradicts target_modules = %s; drop one of them (--set peft.target_modules=[])", quoteList(p.TargetModules))
	case !p.MatchAllLinear && len(p.TargetModules) == 0:
		c.fault("peft.target_modules", `empty, so nothing would be trained; give patterns such as ["*_proj"], or match_all_linear = true`)
	}
	if p.UseDoRA && p.Dropout > 0 {
		c.fault("peft.use_dora", "true contradicts dropout = %v: set dropout = 0", p.Dropout)
	}
	if p.InitFrom != "" {
		c.source("peft.init_from", p.InitFrom, "an adapter")
		for field, given := range map[string]ModuleValues{"peft.dim_pattern": p.DimPattern, "peft.alpha_pattern": p.AlphaPattern} {
			if len(given) > 0 {
				c.fault(field, "given, but the adapter of peft.init_from has its sizes already; drop one of them")
			}
		}
	}
}

// mesh checks [distributed] and what must divide by it.
func (c *checker) mesh(r *Recipe) {
	d := r.Distributed
	if dp := int(d.DPSize); dp > 0 && c.good("distributed.dp_replicate_size") && dp%d.DPReplicateSize != 0 {
		c.fault("distributed.dp_replicate_size", "%d does not divide dp_size = %d", d.DPReplicateSize, dp)
	}
	if d.SequenceParallel && d.TPSize <= 1 {
		c.fault("distributed.sequence_parallel", "true needs tp_size above 1; set tp_size or drop it")
	}
	if d.CPUOffload && !d.ReshardAfterForward {
		c.fault("distributed.cpu_offload", "true contradicts reshard_after_forward = false, which keeps all blocks on the device; drop one of the two")
	}
	if d.CPUOffload && r.PEFT.Scheme == "none" {
		c.fault("distributed.cpu_offload", `true is for a frozen base, and peft.scheme = "none" trains it; drop it`)
	}
	if size := r.PackedSequence.PackedSequenceSize; size > 0 && d.CPSize > 1 && c.good("distributed.cp_size", "packed_sequence.packed_sequence_size") && size%(2*d.CPSize) != 0 {
		c.fault("packed_sequence.packed_sequence_size", "%d does not divide into 2 x cp_size = %d chunks; use %d", size, 2*d.CPSize, (size/(2*d.CPSize)+1)*2*d.CPSize)
	}
}

// order refuses what the order of samples and random numbers do not depend on.
func (c *checker) order(r *Recipe) {
	if r.ValidationDataloader.Shuffle {
		c.fault("validation_dataloader.shuffle", "true has no meaning: a validation loss is the mean of a whole set, in any order; drop it")
	}
	if !r.RNG.Ranked {
		c.fault("rng.ranked", "false asks that ranks draw the same numbers, but numbers are keyed by sample, and ranks have different ones; drop it")
	}
}

// datasets checks [dataset] and every validation set.
func (c *checker) datasets(r *Recipe) {
	c.dataset("dataset", r.Dataset)
	if packed := r.PackedSequence.PackedSequenceSize; packed > 0 && r.Dataset.SeqLength > packed { // validation sets are not packed
		c.fault("dataset.seq_length", "%d is more than packed_sequence.packed_sequence_size = %d, and a sample must fit a packed row; lower it or raise that", r.Dataset.SeqLength, packed)
	}
	for _, name := range slices.Sorted(maps.Keys(r.ValidationDataset)) {
		c.dataset(setPath(r, name), r.ValidationDataset[name])
	}
	if len(r.ValidationDataset) == 0 && r.GenerateSamples.NumSamples > 0 {
		c.fault("generate_samples.num_samples", "%d given, but there is no [validation_dataset] to take them from; add one, or use generate_samples.prompts", r.GenerateSamples.NumSamples)
	}
}

// dataset checks one set of samples.
func (c *checker) dataset(at string, d Dataset) {
	if !c.good(at + ".kind") {
		return
	}
	if d.Kind == "mock" {
		c.mock(at, d)
	} else {
		c.source(at+".path_or_id", d.PathOrID, "data", ".json", ".jsonl", ".parquet", ".gz", ".zst", ".txt")
		if strings.ContainsAny(d.Split, "[+") {
			c.fault(at+".split", "%q is no split's name, and slices and sums are not read; name one split, and take its first samples by limit_dataset_samples", clip(d.Split))
		}
		if d.VocabSize > 0 {
			c.fault(at+".vocab_size", `%d is for kind = "mock"; kind %q has the tokenizer's vocabulary; drop it`, d.VocabSize, d.Kind)
		}
		if d.MinLength > 0 {
			c.fault(at+".min_length", `%d is for kind = "mock"; kind %q has the lengths of its samples; drop it`, d.MinLength, d.Kind)
		}
		if d.NumSamples > 0 {
			c.fault(at+".num_samples", `%d is for kind = "mock"; use limit_dataset_samples for kind %q`, d.NumSamples, d.Kind)
		}
	}
	if d.Compat == "automodel" && d.Kind != "squad" {
		c.fault(at+".compat", `"automodel" is for kind = "squad", not %q`, d.Kind)
	}
	if d.Compat == "automodel" && d.ChatTemplate {
		c.fault(at+".compat", `"automodel" contradicts chat_template = true; drop one of them`)
	}
	if d.ChatTemplate && (d.Kind == "text" || d.Kind == "hellaswag") {
		c.fault(at+".chat_template", "true has no meaning for kind %q, which has no turns; drop it", d.Kind)
	}
	c.columns(at+".columns", d)
}

// mock checks a set without data.
func (c *checker) mock(at string, d Dataset) {
	if d.PathOrID != "" {
		c.fault(at+".path_or_id", `%q given, but kind = "mock" reads nothing; drop it`, clip(d.PathOrID))
	}
	if d.NumSamples == 0 {
		c.fault(at+".num_samples", `missing; kind = "mock" needs to know how many`)
	}
	if d.SeqLength < 2 {
		c.fault(at+".seq_length", `%d given; kind = "mock" needs the samples' length, at least 2`, d.SeqLength)
	}
	if d.MinLength > d.SeqLength && d.SeqLength > 0 {
		c.fault(at+".min_length", "%d is more than seq_length, %d", d.MinLength, d.SeqLength)
	}
	if d.VocabSize == 1 {
		c.fault(at+".vocab_size", "1 leaves nothing to learn; want at least 2, or 0 for the model's")
	}
	if d.ChatTemplate {
		c.fault(at+".chat_template", `true has no meaning for kind = "mock", which has no text; drop it`)
	}
}

// columns checks that names are there for what the kind reads, and changed only where they are read.
func (c *checker) columns(at string, d Dataset) {
	usual := defaultDataset("").Columns
	for _, column := range []struct {
		key, given, usual, kind string
		required                bool
	}{
		{"context", d.Columns.Context, usual.Context, "columns", false},
		{"question", d.Columns.Question, usual.Question, "columns", true},
		{"answer", d.Columns.Answer, usual.Answer, "columns", true},
		{"text", d.Columns.Text, usual.Text, "text", true},
		{"messages", d.Columns.Messages, usual.Messages, "chat", true},
		{"tools", d.Columns.Tools, usual.Tools, "chat", false},
	} {
		switch {
		case column.kind != d.Kind && column.given != column.usual:
			c.fault(at+"."+column.key, "%q given, but kind %q does not read it (kind %q does); drop it", clip(column.given), d.Kind, column.kind)
		case column.kind == d.Kind && column.required && column.given == "":
			c.fault(at+"."+column.key, "empty; kind %q reads it", d.Kind)
		}
	}
}

// output checks [checkpoint] and [logging].
func (c *checker) output(r *Recipe) {
	k := r.Checkpoint
	if k.Dir == "" && (k.Enabled || r.Logging.Dir == "") {
		c.fault("checkpoint.dir", "empty; name a folder")
	}
	c.folder("checkpoint.dir", k.Dir)
	c.folder("logging.dir", r.Logging.Dir)
	switch k.Resume {
	case "auto", "never":
	case "":
		c.fault("checkpoint.resume", `empty; want "auto", "never" or the path of a checkpoint`)
	default:
		c.exists("checkpoint.resume", k.Resume, `want "auto", "never" or the path of a checkpoint`)
	}
	if r.Logging.Wandb.Mode == "online" {
		c.fault("logging.wandb.mode", `"online" is not supported; use "offline" and upload the run with 'wandb sync', or "disabled"`)
	}
	if a := r.Logging.Prometheus; a != "" {
		if _, port, err := net.SplitHostPort(a); err != nil || port == "" {
			c.fault("logging.prometheus", "%q is no address; want HOST:PORT, such as 127.0.0.1:9400", clip(a))
		}
	}
}

// quoteList spells a list of strings as TOML.
func quoteList(list []string) string {
	quoted := make([]string, len(list))
	for i, s := range list {
		quoted[i] = tomlString(s)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}
