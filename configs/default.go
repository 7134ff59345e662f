package configs

import "time"

// DefaultSet is the name of the only validation set of a recipe with one unnamed [validation_dataset].
const DefaultSet = "default"

// Default returns a recipe with every default. Three things are missing to make it valid: the model, the
// data, and (unless all weights shall be trained) PEFT.Scheme = "lora", which Load sets when a recipe has
// a [peft] section.
func Default() *Recipe {
	return &Recipe{
		StepScheduler: StepScheduler{CkptEverySteps: 1000, ValEverySteps: 10, NumEpochs: 1},
		DistEnv: DistEnv{
			Backend:                  "auto",
			TimeoutMinutes:           1,
			StartupTimeoutMinutes:    10,
			CheckpointTimeoutMinutes: 10,
		},
		RNG:   RNG{Seed: 1111, Ranked: true},
		Model: Model{DType: "bf16", Attention: "auto", Kernels: "auto"},
		PEFT: PEFT{
			Scheme:          "none",
			TargetModules:   []string{"*_proj"},
			Dim:             16,
			Alpha:           32,
			DropoutPosition: "pre",
			LoraAInit:       "xavier",
			LoraBInit:       "zero",
			BasePrecision:   "auto",
		},
		Distributed: Distributed{
			DPReplicateSize:         1,
			TPSize:                  1,
			CPSize:                  1,
			ActivationCheckpointing: "none",
			ReshardAfterForward:     true,
		},
		LossFn:               LossFn{Name: "masked_cross_entropy"},
		Dataset:              defaultDataset("train"),
		Dataloader:           Dataloader{BatchSize: 8},
		ValidationDataloader: Dataloader{BatchSize: 8},
		Optimizer:            Optimizer{Name: "adam", LR: 1e-5, Betas: [2]float64{0.9, 0.999}, Eps: 1e-8, LoraPlusLRRatio: 1},
		LRScheduler:          LRScheduler{Name: "constant"},
		ClipGradNorm:         ClipGradNorm{MaxNorm: 1},
		Checkpoint:           Checkpoint{Enabled: true, Dir: "checkpoints", Resume: "auto", SaveOptimizer: true},
		Logging:              Logging{EverySteps: 1, JSONL: true, Wandb: Wandb{Mode: "offline"}},
		GenerateSamples:      GenerateSamples{MaxNewTokens: 32},
	}
}

// defaultDataset is an empty [dataset], or validation set, with its defaults.
func defaultDataset(split string) Dataset {
	return Dataset{
		Kind:    "squad",
		Split:   split,
		OnLong:  "error",
		OnBad:   "error",
		Compat:  "none",
		Columns: Columns{Question: "question", Answer: "answer", Text: "text", Messages: "messages", Tools: "tools"},
	}
}

// validationDefaults is a validation set before its own keys are read: how long samples may be and what
// happens to unusable ones is as in [dataset], and so is the format if the kind is the same. Where the
// data is, which split and how much of it are never taken over.
func validationDefaults(train Dataset, kind string) Dataset {
	d := defaultDataset("validation")
	if kind == "" || kind == train.Kind {
		d.Kind = train.Kind
		d.Compat = train.Compat
		d.ChatTemplate = train.ChatTemplate
		d.Columns = train.Columns
		d.VocabSize = train.VocabSize
		d.NumSamples, d.MinLength = train.NumSamples, train.MinLength
	}
	d.SeqLength = train.SeqLength
	d.OnLong = train.OnLong
	d.OnBad = train.OnBad
	d.NumWorkers = train.NumWorkers
	return d
}

// LogDir returns the folder of the logs: logging.dir, or the checkpoints' folder.
func (r *Recipe) LogDir() string {
	if r.Logging.Dir != "" {
		return r.Logging.Dir
	}
	return r.Checkpoint.Dir
}

// Timeout returns how long a collective may take.
func (d DistEnv) Timeout() time.Duration { return minutes(d.TimeoutMinutes) }

// StartupTimeout returns how long ranks wait for each other at the start.
func (d DistEnv) StartupTimeout() time.Duration { return minutes(d.StartupTimeoutMinutes) }

// CheckpointTimeout returns how long ranks wait while a checkpoint is written.
func (d DistEnv) CheckpointTimeout() time.Duration { return minutes(d.CheckpointTimeoutMinutes) }

// minutes converts, capped at what a Duration holds.
func minutes(m float64) time.Duration {
	const most = float64(1<<62) / float64(time.Minute)
	return time.Duration(min(m, most) * float64(time.Minute))
}
