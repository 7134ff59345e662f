package rank

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"gorun/collective"
	"gorun/configs"
	"gorun/model"
	"gorun/model/export"
	"gorun/model/spec"
	"gorun/rank/data"
)

// Job is a run made ready without a device: the recipe checked, the base opened, the modules matched, the data
// tokenised.
type Job struct {
	Recipe   *configs.Recipe
	Base     *Base
	From     *export.Adapter // adapter that training starts from; nil = a fresh one
	Adapter  *export.Adapter // what is trained, without its values; nil with full fine-tuning
	Config   model.Config
	Place    Place
	Mesh     collective.Mesh
	Accum    int // micro-batches per step and rank
	Train    *data.Dataset
	Val      map[string]*data.Dataset
	valNames []string
	located  located
}

// Prepare reads everything that a recipe names, for one rank alone. It reports all faults that it can find at once,
// before any device is touched; when ctx is cancelled, ctx's error. Close the job.
func Prepare(ctx context.Context, r *configs.Recipe, resolve Resolve) (*Job, error) {
	return PrepareAt(ctx, Place{}, r, resolve)
}

// PrepareAt is Prepare for one of several ranks.
func PrepareAt(ctx context.Context, p Place, r *configs.Recipe, resolve Resolve) (j *Job, err error) {
	j = &Job{Recipe: r, Place: p, Val: map[string]*data.Dataset{}, valNames: slices.Sorted(maps.Keys(r.ValidationDataset))}
	if j.Mesh, err = meshOf(r.Distributed, p); err != nil {
		return nil, err
	}
	if j.Accum, err = r.ResolveAccumulation(j.Mesh.Size(collective.Replicate, collective.Shard)); err != nil {
		return nil, err
	}
	if j.located, err = locate(r, j.valNames, resolve); err != nil {
		return nil, err
	}
	if j.Base, err = openTrained(r, j.located.base); err != nil {
		return nil, err
	}
	if err := errors.Join(j.configure(), j.read(ctx)); err != nil {
		return nil, errors.Join(err, j.Close())
	}
	return j, nil
}

// Close releases the files of the base and the data.
func (j *Job) Close() error {
	errs := []error{j.Base.Close(), j.Train.Close()}
	for _, set := range j.Val {
		errs = append(errs, set.Close())
	}
	return errors.Join(errs...)
}

// configure matches modules and settles what is trained.
func (j *Job) configure() error {
	r := j.Recipe
	j.Config = model.Config{Decoder: j.Base.Decoder, Compute: computeDType(r.Model.DType), Full: r.PEFT.Scheme == "none"}
	j.Config.Split = splitOf(j.Mesh, r.Distributed.SequenceParallel)
	if err := j.Config.Split.Check(j.Base.Decoder); err != nil {
		return fmt.Errorf("distributed.tp_size = %d, cp_size = %d: %w", r.Distributed.TPSize, r.Distributed.CPSize, err)
	}
	switch r.Distributed.ActivationCheckpointing {
	case "selective":
		j.Config.Remat = model.RematSelective
	case "full":
		j.Config.Remat = model.RematFull
	}
	if j.Config.Full {
		return nil
	}
	j.Config.Dropout, j.Config.DropPost = r.PEFT.Dropout, r.PEFT.DropoutPosition == "post"
	var err error
	if r.PEFT.InitFrom != "" {
		if j.From, err = export.ReadPEFT(j.located.adapter); err != nil {
			return fmt.Errorf("peft.init_from: %w", err)
		}
		if j.Adapter, err = resumedAdapter(j.From, j.Base.Decoder, r); err != nil {
			return fmt.Errorf("peft.init_from: %w", err)
		}
	} else if j.Adapter, err = describeAdapter(j.Base.Decoder, r); err != nil {
		return fmt.Errorf("peft: %w", err)
	}
	j.Config.Adapters, j.Config.RateB = adapters(j.Adapter), r.Optimizer.LoraPlusLRRatio
	j.Config.Embed, j.Config.Head = j.Adapter.Table(spec.EmbedTensor) != nil, j.Adapter.Table(spec.HeadTensor) != nil
	if r.PEFT.Float8() {
		return j.float8()
	}
	return nil
}

// read tokenises the data sets.
func (j *Job) read(ctx context.Context) error {
	longest, vocab := j.Base.Decoder.MaxPositions, j.Base.Decoder.Vocab
	cache := data.Cache{Dir: j.Place.Cache, Progress: j.Place.Progress}
	if cache.Dir != "" {
		var err error
		if cache.Tokenizer, err = j.Base.tokenizerDigest(); err != nil {
			return err
		}
	}
	var errs []error
	build := func(field string, c configs.Dataset) *data.Dataset {
		if c.SeqLength > longest {
			errs = append(errs, fmt.Errorf("%s.seq_length: %d is beyond the model's %d positions: lower it", field, c.SeqLength, longest))
			return nil
		}
		d, err := cache.Build(ctx, j.located.local(c), j.Base.Tokenizer, longest, vocab)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", field, err))
		}
		return d
	}
	train := j.Recipe.Dataset
	if size := j.Recipe.PackedSequence.PackedSequenceSize; size > 0 && train.SeqLength == 0 {
		train.SeqLength = min(size, longest) // what does not fit a row is too long
	}
	j.Train = build("dataset", train)
	for _, name := range j.valNames {
		j.Val[name] = build(setField(name), j.Recipe.ValidationDataset[name])
	}
	if j.Train != nil {
		steps, err := j.Train.Steps(j.loaderOptions())
		if err == nil {
			err = checkSchedule(j.Recipe.LRScheduler, steps)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// loaderOptions deal the training set out.
func (j *Job) loaderOptions() data.LoaderOptions {
	r := j.Recipe
	return data.LoaderOptions{
		Seed: r.RNG.Seed, Shuffle: r.Dataloader.Shuffle, Epochs: r.StepScheduler.NumEpochs, MaxSteps: r.StepScheduler.MaxSteps,
		MicroBatch: r.Dataloader.BatchSize, GradAcc: j.Accum, DPRank: j.Mesh.Coordinate(collective.Replicate, collective.Shard),
		DPSize: j.Mesh.Size(collective.Replicate, collective.Shard), Pack: r.PackedSequence.PackedSequenceSize, Pad: j.Base.pad(),
	}
}

// optimizer is the recipe's optimizer.
func (j *Job) optimizer() model.Optimizer {
	o := j.Recipe.Optimizer
	return model.Optimizer{Decoupled: o.Name == "adamw", Beta1: o.Betas[0], Beta2: o.Betas[1], Eps: o.Eps, WeightDecay: o.WeightDecay}
}

// recipeText is the effective recipe as TOML.
func (j *Job) recipeText() (string, error) {
	var b strings.Builder
	err := j.Recipe.Write(&b)
	return b.String(), err
}

// parameters is what a session of the job loads, on the ranks of w.
func (j *Job) parameters(w *world) parameters {
	return parameters{Config: j.Config, opt: j.optimizer(), from: j.From, init: j.Recipe.PEFT.LoraAInit, seed: j.Recipe.RNG.Seed,
		world: w, reshard: j.Recipe.Distributed.ReshardAfterForward, offload: j.Recipe.Distributed.CPUOffload}
}
