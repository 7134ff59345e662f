package configs

// Recipe is one run. Make one with Default, Load or Parse; the zero value is not valid.
type Recipe struct {
	StepScheduler        StepScheduler      `toml:"step_scheduler" doc:"How long to train, and how often to validate and save."`
	DistEnv              DistEnv            `toml:"dist_env" doc:"How ranks talk, and how long they wait for each other."`
	RNG                  RNG                `toml:"rng" doc:"Random numbers: data order, dropout, the initial adapter."`
	Model                Model              `toml:"model" doc:"The base model."`
	PEFT                 PEFT               `toml:"peft" doc:"The adapter. A recipe without this section trains all weights; with it, scheme is \"lora\" unless said otherwise."`
	Distributed          Distributed        `toml:"distributed" doc:"How the model and the batch lie over the ranks."`
	LossFn               LossFn             `toml:"loss_fn" doc:"The loss."`
	Dataset              Dataset            `toml:"dataset" doc:"What to train on."`
	PackedSequence       PackedSequence     `toml:"packed_sequence" doc:"Several samples in one row."`
	Dataloader           Dataloader         `toml:"dataloader" doc:"How samples become micro-batches."`
	ValidationDataset    map[string]Dataset `toml:"validation_dataset" doc:"What to validate on, by name of the set."`
	ValidationDataloader Dataloader         `toml:"validation_dataloader" doc:"How many validation samples are scored together: as many as in [dataloader], unless given. In which order has no meaning."`
	Optimizer            Optimizer          `toml:"optimizer" doc:"The optimizer."`
	LRScheduler          LRScheduler        `toml:"lr_scheduler" doc:"The learning rate over the steps."`
	ClipGradNorm         ClipGradNorm       `toml:"clip_grad_norm" doc:"Clipping of the gradient's global norm."`
	Checkpoint           Checkpoint         `toml:"checkpoint" doc:"Where checkpoints go, and what to start from."`
	Logging              Logging            `toml:"logging" doc:"What is printed and written while training."`
	GenerateSamples      GenerateSamples    `toml:"generate_samples" doc:"Answers shown before and after training."`
}

// StepScheduler says how many samples make a step and how many steps make the run.
type StepScheduler struct {
	GradAccSteps    int `toml:"grad_acc_steps" range:">=0" default:"from global_batch_size, or 1" doc:"Micro-batches per step on each rank (gradient accumulation)."`
	GlobalBatchSize int `toml:"global_batch_size" range:">=0" default:"from grad_acc_steps" doc:"Samples per step over all ranks: batch_size x data-parallel ranks x grad_acc_steps. Give this or grad_acc_steps."`
	CkptEverySteps  int `toml:"ckpt_every_steps" range:">=0" doc:"Save a checkpoint every so many steps, and at the end; 0 = only at the end."`
	ValEverySteps   int `toml:"val_every_steps" range:">=0" doc:"Validate every so many steps, and at the end; 0 = only at the end."`
	NumEpochs       int `toml:"num_epochs" range:">=1" doc:"Passes over the data."`
	MaxSteps        int `toml:"max_steps" range:">=0" doc:"Stop after so many steps even within an epoch; 0 = no limit."`
}

// DistEnv is about the ranks' communication.
type DistEnv struct {
	Backend                  string  `toml:"backend" values:"auto|nccl|host" doc:"What carries the collectives: NCCL on CUDA, host TCP on CPU."`
	TimeoutMinutes           float64 `toml:"timeout_minutes" range:">0" doc:"A collective that takes longer than this has failed."`
	StartupTimeoutMinutes    float64 `toml:"startup_timeout_minutes" range:">0" doc:"How long ranks wait for each other at the start."`
	CheckpointTimeoutMinutes float64 `toml:"checkpoint_timeout_minutes" range:">0" doc:"How long ranks wait while a checkpoint is written."`
}

// RNG seeds everything random in a run.
type RNG struct {
	Seed   int64 `toml:"seed" range:">=0" doc:"The same seed gives the same run."`
	Ranked bool  `toml:"ranked" doc:"Ranks draw different numbers for different samples. Streams are keyed by sample, so the world size does not change them."`
}

// Model names the base model and how to compute with it.
type Model struct {
	PretrainedModelNameOrPath string `toml:"pretrained_model_name_or_path" default:"required" doc:"Hub id (ORG/NAME), folder with config.json and safetensors, .gguf file, or demo:NAME."`
	Revision                  string `toml:"revision" default:"main" doc:"Branch, tag or commit of a Hub id."`
	DType                     string `toml:"dtype" values:"bf16|f32" doc:"Compute dtype, and that of frozen weights. Adapters, gradients and optimizer state are f32."`
	Attention                 string `toml:"attention" values:"auto|blockwise|cudnn" doc:"Attention kernel. auto: cudnn on CUDA where it applies, blockwise elsewhere."`
	Kernels                   string `toml:"kernels" values:"auto|none" doc:"gorun's own GPU kernels. auto: on CUDA where they apply (gorun plan says where); none: XLA's alone."`
}

// PEFT describes the adapter.
type PEFT struct {
	Scheme          string       `toml:"scheme" values:"lora|none" default:"\"lora\" if the section is there, else \"none\"" doc:"none = full fine-tuning."`
	TargetModules   []string     `toml:"target_modules" default:"[\"*_proj\"], or [] with match_all_linear" doc:"Patterns of linears that get an adapter; * within a segment, a leading * matches any prefix. Each must match."`
	ExcludeModules  []string     `toml:"exclude_modules" doc:"Patterns of linears that get none."`
	MatchAllLinear  bool         `toml:"match_all_linear" doc:"Every linear but the head gets an adapter."`
	Dim             int          `toml:"dim" range:"[1,4096]" doc:"Inner size of A and B (r in PEFT files)."`
	Alpha           int          `toml:"alpha" range:">=1" doc:"The adapter's output is scaled by alpha/dim."`
	DimPattern      ModuleValues `toml:"dim_pattern" doc:"Dim of the linears that a pattern matches, where it is not dim (PEFT's rank_pattern). Each must match; no linear may get two values."`
	AlphaPattern    ModuleValues `toml:"alpha_pattern" doc:"The same for alpha (PEFT's alpha_pattern)."`
	Dropout         float64      `toml:"dropout" range:"[0,1)" doc:"Dropout in the adapter."`
	DropoutPosition string       `toml:"dropout_position" values:"pre|post" doc:"pre: on the input of A, as PEFT does; post: on the output of B."`
	UseDoRA         bool         `toml:"use_dora" doc:"DoRA: learn the length of each row of a weight apart from its direction. Not with dropout."`
	ModulesToSave   []string     `toml:"modules_to_save" doc:"Modules trained in full beside the adapter, as in PEFT: embed_tokens, lm_head. vLLM and llama.cpp serve such an adapter only merged."`
	LoraAInit       string       `toml:"lora_A_init" values:"xavier|kaiming" doc:"xavier as AutoModel; kaiming-uniform as PEFT."`
	LoraBInit       string       `toml:"lora_B_init" values:"zero" doc:"B starts at zero, so that training starts at the base."`
	InitFrom        string       `toml:"init_from" default:"none" doc:"Start from this adapter: a folder with adapter_config.json, or a Hub id. Its modules, dims, scaling and kind hold, instead of those here."`
	UseRSLora       bool         `toml:"use_rslora" doc:"Scale by alpha/sqrt(dim) instead."`
	BasePrecision   string       `toml:"base_precision" values:"auto|bf16|fp8|fp8_all" doc:"How the frozen base is stored. auto: as model.dtype; fp8: the weights of all blocks but the first and the last fifteenth in 8-bit floats, faster on GPUs since Ada, at some loss; fp8_all: those of all blocks, and the head's in training, faster still, at more (docs/float8.md)."`
}

// Float8 tells whether the frozen base is in 8-bit floats.
func (p PEFT) Float8() bool { return p.BasePrecision == "fp8" || p.BasePrecision == "fp8_all" }

// Distributed is the mesh.
type Distributed struct {
	DPSize                  DPSize `toml:"dp_size" range:"[0,65536]" doc:"Data-parallel ranks; \"none\" = world size / (tp_size x cp_size)."`
	DPReplicateSize         int    `toml:"dp_replicate_size" range:"[1,65536]" doc:"Replicas among the data-parallel ranks (HSDP); must divide them."`
	TPSize                  int    `toml:"tp_size" range:"[1,65536]" doc:"Tensor-parallel ranks."`
	CPSize                  int    `toml:"cp_size" range:"[1,65536]" doc:"Context-parallel ranks."`
	SequenceParallel        bool   `toml:"sequence_parallel" doc:"Shard activations between tensor-parallel linears along the sequence."`
	ActivationCheckpointing string `toml:"activation_checkpointing" values:"none|selective|full" doc:"What the backward pass computes again instead of keeping."`
	ReshardAfterForward     bool   `toml:"reshard_after_forward" doc:"Free a block's gathered weights after its forward."`
	CPUOffload              bool   `toml:"cpu_offload" doc:"Keep the frozen base, or this rank's shards of it, in host memory, and copy each block to the device when it is needed. Needs reshard_after_forward."`
}

// LossFn names the loss.
type LossFn struct {
	Name string `toml:"name" values:"masked_cross_entropy|fused_linear_cross_entropy" doc:"Both are the sum over valid tokens divided once by their global count; fused never holds full logits."`
}

// Dataset is one set of samples.
type Dataset struct {
	Kind                string  `toml:"kind" values:"squad|hellaswag|columns|chat|text|mock" doc:"The format of a sample and of its prompt."`
	PathOrID            string  `toml:"path_or_id" default:"required, but for mock" doc:"File (.json .jsonl .parquet, also .gz .zst), folder, Hub dataset id, or demo:NAME."`
	Revision            string  `toml:"revision" default:"main" doc:"Branch, tag or commit of a Hub id."`
	Split               string  `toml:"split" default:"\"train\"; of a validation set \"validation\"" doc:"Which split of a Hub dataset or folder; slices like train[:100] are refused: use limit_dataset_samples."`
	LimitDatasetSamples int     `toml:"limit_dataset_samples" range:">=0" doc:"Take only the first so many samples; 0 = all."`
	SeqLength           int     `toml:"seq_length" range:">=0" doc:"Longest sample in tokens; 0 = what the model allows."`
	OnLong              string  `toml:"on_long" values:"error|truncate|skip" doc:"What to do with a sample longer than seq_length; skipped and truncated ones are counted."`
	OnBad               string  `toml:"on_bad" values:"error|skip" doc:"What to do with a sample that cannot be read or has nothing to train on; skipped ones are counted."`
	Compat              string  `toml:"compat" values:"none|automodel" doc:"automodel: tokens and mask of squad exactly as AutoModel 0.7 makes them."`
	ChatTemplate        bool    `toml:"chat_template" doc:"Render the prompt with the tokenizer's chat template."`
	NumWorkers          int     `toml:"num_workers" range:"[0,1024]" doc:"Goroutines that tokenise; 0 = one per core."`
	VocabSize           int     `toml:"vocab_size" range:">=0" doc:"mock only: ids are below this; 0 = the model's vocabulary."`
	NumSamples          int     `toml:"num_samples" range:">=0" doc:"mock only: how many samples of seq_length tokens."`
	MinLength           int     `toml:"min_length" range:">=0" doc:"mock only: lengths are spread evenly from so many tokens to seq_length; 0 = all are seq_length."`
	Columns             Columns `toml:"columns" doc:"Names of the columns or JSON fields to read."`
}

// Columns maps what a sample needs to the names it has in the data.
type Columns struct {
	Context  string `toml:"context" default:"none" doc:"kind columns: text put before the question."`
	Question string `toml:"question" doc:"kind columns: the prompt."`
	Answer   string `toml:"answer" doc:"kind columns: what is trained on."`
	Text     string `toml:"text" doc:"kind text: the text, all of it trained on."`
	Messages string `toml:"messages" doc:"kind chat: the list of messages (OpenAI's or ShareGPT's)."`
	Tools    string `toml:"tools" doc:"kind chat: the list of tools, where a sample has one."`
}

// PackedSequence turns packing on.
type PackedSequence struct {
	PackedSequenceSize int `toml:"packed_sequence_size" range:">=0" doc:"Tokens per packed row; no attention or loss crosses samples; 0 = one sample per row."`
}

// Dataloader makes micro-batches of a Dataset.
type Dataloader struct {
	BatchSize int  `toml:"batch_size" range:"[1,1048576]" doc:"Rows per micro-batch on each rank."`
	Shuffle   bool `toml:"shuffle" doc:"A new order each epoch, from rng.seed."`
}

// Optimizer holds Adam's numbers.
type Optimizer struct {
	Name            string     `toml:"name" values:"adam|adamw" doc:"adam adds weight_decay to the gradient, adamw decouples it."`
	LR              float64    `toml:"lr" range:">=0" doc:"Peak learning rate."`
	Betas           [2]float64 `toml:"betas" range:"[0,1)" doc:"Decay of the first and second moment."`
	Eps             float64    `toml:"eps" range:">0" doc:"Added to the root of the second moment."`
	WeightDecay     float64    `toml:"weight_decay" range:">=0" doc:"Weight decay."`
	LoraPlusLRRatio float64    `toml:"loraplus_lr_ratio" range:"[1,1e6]" doc:"LoRA+: the learning rate of every B is so many times lr (PEFT's loraplus_lr_ratio); 1 = the same."`
}

// LRScheduler shapes the learning rate.
type LRScheduler struct {
	Name        string  `toml:"name" values:"constant|linear|cosine|wsd" doc:"After warm-up: stay, fall linearly, fall by a cosine, or stay and fall at the end."`
	WarmupSteps int     `toml:"warmup_steps" range:">=0" doc:"Steps of linear rise from 0."`
	DecaySteps  int     `toml:"decay_steps" range:">=0" doc:"Length of the fall; 0 = all steps after warm-up (linear, cosine), the last tenth (wsd)."`
	MinLR       float64 `toml:"min_lr" range:">=0" doc:"Where the fall ends."`
}

// ClipGradNorm bounds the gradient.
type ClipGradNorm struct {
	MaxNorm float64 `toml:"max_norm" range:">=0" doc:"Largest global norm; 0 = no clipping."`
}

// Checkpoint says where state is kept.
type Checkpoint struct {
	Enabled       bool   `toml:"enabled" doc:"Save checkpoints, the final one included."`
	Dir           string `toml:"dir" doc:"Folder of the run: epoch_E_step_S folders, LATEST, LOWEST_VAL, logs and the effective recipe."`
	Keep          int    `toml:"keep" range:">=0" doc:"How many of the newest to keep besides the one of lowest validation loss; 0 = all."`
	Resume        string `toml:"resume" doc:"auto: go on from LATEST in dir if there is one; never: begin afresh; or the path of a checkpoint to go on from. Checkpoints in dir that the run does not build on are moved to a folder earlier.N there."`
	SaveOptimizer bool   `toml:"save_optimizer" doc:"Save optimizer state too; without it a checkpoint cannot be resumed."`
}

// GoesOn tells whether a run that is started again goes on from its last checkpoint.
func (c Checkpoint) GoesOn() bool { return c.Enabled && c.Resume == "auto" }

// Logging says what is printed and written.
type Logging struct {
	EverySteps  int    `toml:"every_steps" range:">=1" doc:"Print and log every so many steps."`
	Dir         string `toml:"dir" default:"checkpoint.dir" doc:"Folder of the logs."`
	JSONL       bool   `toml:"jsonl" doc:"Write training.jsonl and validation.jsonl."`
	Tensorboard bool   `toml:"tensorboard" doc:"Write TensorBoard events."`
	Prometheus  string `toml:"prometheus" default:"off" doc:"Serve metrics on this address, such as 127.0.0.1:9400; without a host on 127.0.0.1 only."`
	Wandb       Wandb  `toml:"wandb" doc:"Weights & Biases; used if project is given."`
}

// Wandb is Weights & Biases.
type Wandb struct {
	Project string `toml:"project" default:"off" doc:"Project; empty = no W&B."`
	Entity  string `toml:"entity" default:"the account's own" doc:"Team or user."`
	Name    string `toml:"name" default:"chosen by W&B" doc:"Name of the run."`
	Mode    string `toml:"mode" values:"online|offline|disabled" doc:"offline: a run's folder to upload with wandb sync; disabled: none. online is refused."`
}

// GenerateSamples asks for answers to look at.
type GenerateSamples struct {
	NumSamples   int      `toml:"num_samples" range:"[0,1000]" doc:"Answer so many validation samples before and after training."`
	Prompts      []string `toml:"prompts" doc:"Answer these too."`
	MaxNewTokens int      `toml:"max_new_tokens" range:"[1,1048576]" doc:"Longest answer in tokens."`
}
