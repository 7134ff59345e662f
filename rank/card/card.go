package card

import (
	_ "embed"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"text/template"

	"gorun/configs"
	"gorun/model/export"
	"gorun/model/hub"
)

//go:embed card.md.tmpl
var cardText string

var cardTemplate = template.Must(template.New("card").Parse(cardText))

// Facts are what a card says beside what is in the folder.
type Facts struct {
	Repo     string // ORG/NAME that is published
	Endpoint string // of the Hub, for links
	Version  string // of gorun
	License  License
}

// view is what the template sees. Strings from a recipe are made plain before they get here.
type view struct {
	Front, Repo, Name, Version, Endpoint string

	Base      string // name of the base, "" if it is not known
	BaseOnHub bool
	Revision  string
	Rank      int // PEFT's r, the largest; 0 for a whole model
	VLLMRank  int // the least --max-lora-rank that vLLM has for it
	Rows      []row
	Results   []Result
	HasRecipe bool
}

// row is a line of the table of training.
type row struct{ Name, Value string }

// Card writes the model card: front matter for the Hub, and for people what it is, how it was made, how well it does,
// and how to use it.
func (r *Run) Card(f Facts) ([]byte, error) {
	v := view{Repo: f.Repo, Name: path.Base(f.Repo), Version: f.Version, Endpoint: f.Endpoint, Results: slices.Clone(r.Results), HasRecipe: r.Recipe != nil}
	v.Base, v.Revision = r.base()
	v.BaseOnHub = onHub(hub.Model, v.Base)
	head := front{Library: "transformers", Relation: "finetune", Pipeline: "text-generation", License: f.License, Tags: []string{"gorun"}}
	if r.Adapter != nil {
		head.Library, head.Relation, head.Tags = "peft", "adapter", []string{"lora", "peft", "gorun"}
		for i := range r.Adapter.Modules {
			v.Rank = max(v.Rank, r.Adapter.DimOf(&r.Adapter.Modules[i]))
		}
		v.VLLMRank = vllmRank(v.Rank)
	}
	if v.BaseOnHub {
		head.BaseModel = v.Base
	} else {
		head.Relation = "" // the Hub wants both or none
		v.Base = nameOnly(v.Base)
	}
	if r.Recipe != nil {
		v.Rows = r.rows()
		head.Datasets = r.datasets()
	}
	for i := range v.Results {
		v.Results[i].Set = plain(v.Results[i].Set)
	}
	var err error
	if v.Front, err = head.text(); err != nil {
		return nil, err
	}
	var out strings.Builder
	if err := cardTemplate.Execute(&out, v); err != nil {
		return nil, fmt.Errorf("the card: %w", err)
	}
	return []byte(out.String()), nil
}

// base is the name of the base model, and the revision if one was pinned.
func (r *Run) base() (name, revision string) {
	if r.Recipe != nil {
		return r.Recipe.Model.PretrainedModelNameOrPath, r.Recipe.Model.Revision
	}
	if r.Adapter != nil {
		return r.Adapter.Base, r.Adapter.Revision
	}
	return r.From, ""
}

// datasets are those of the Hub that the run trained on.
func (r *Run) datasets() []string {
	var out []string
	if id := r.Recipe.Dataset.PathOrID; onHub(hub.Dataset, id) {
		out = append(out, id)
	}
	return out
}

// onHub tells whether a name is an id of the Hub, by its form: where the card is written, the base may be anywhere.
func onHub(kind hub.Kind, name string) bool {
	_, err := hub.ParseRepo(kind, name)
	return err == nil && strings.Contains(name, "/") && filepath.Ext(name) != ".gguf"
}

// nameOnly leaves the folders of this machine out of what is published.
func nameOnly(name string) string {
	if strings.HasPrefix(name, configs.DemoPrefix) || name == "" {
		return plain(name)
	}
	return plain(filepath.Base(name))
}

// plain makes a string harmless within a table and within backticks.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '`' || r == '|' || r == '<' || r == '>':
			return '_'
		case r < ' ':
			return ' '
		}
		return r
	}, s)
}

// vllmRank is the least value that vLLM's --max-lora-rank may have for adapters of the rank (LoRAConfig in
// vllm/config/lora.py).
func vllmRank(rank int) int {
	for _, n := range []int{1, 8, 16, 32, 64, 128, 256, 320, 512} {
		if rank <= n {
			return n
		}
	}
	return rank
}

// rows are the table of training.
func (r *Run) rows() []row {
	c, s := r.Recipe, r.State
	var out []row
	add := func(name, format string, args ...any) {
		out = append(out, row{name, plain(fmt.Sprintf(format, args...))})
	}
	data := c.Dataset.PathOrID
	if !onHub(hub.Dataset, data) {
		data = nameOnly(data)
	}
	add("data", "%s, split %s, as %s", data, c.Dataset.Split, c.Dataset.Kind)
	add("steps", "%d (%d samples, %d tokens trained on)", s.Step, s.Samples, s.Tokens)
	add("batch", "%s", batch(c))
	if a := r.Adapter; a != nil {
		add("LoRA", "%s", lora(a, c))
	}
	o := c.Optimizer
	add("optimizer", "%s, learning rate %g, betas %g and %g, weight decay %g", o.Name, o.LR, o.Betas[0], o.Betas[1], o.WeightDecay)
	add("schedule", "%s, %d steps of warm-up", c.LRScheduler.Name, c.LRScheduler.WarmupSteps)
	add("compute dtype", "%s", c.Model.DType)
	if c.PEFT.Float8() {
		add("base stored in", "%s", c.PEFT.BasePrecision)
	}
	add("seed", "%d", c.RNG.Seed)
	loss := fmt.Sprintf("%.4f at step %d", s.Loss, s.Step)
	if r.FirstLoss != nil {
		loss = fmt.Sprintf("%.4f at first, %s", *r.FirstLoss, loss)
	}
	add("training loss", "%s", loss)
	return out
}

// lora says what is trained of an adapter, and how.
func lora(a *export.Adapter, c *configs.Recipe) string {
	var names []string
	for _, m := range a.Modules {
		names = append(names, m.Name[strings.LastIndexByte(m.Name, '.')+1:])
	}
	slices.Sort(names)
	text := fmt.Sprintf("dim %d, alpha %g, ", a.Dim, a.Alpha)
	if a.RSLoRA {
		text += "scaled by alpha over the root of dim, "
	}
	if a.DoRA() {
		text += "DoRA, "
	}
	if ratio := c.Optimizer.LoraPlusLRRatio; ratio != 1 {
		text += fmt.Sprintf("learning rate of B %g times that of A, ", ratio)
	}
	text += fmt.Sprintf("dropout %g", a.Dropout)
	switch {
	case a.Dropout > 0 && c.PEFT.DropoutPosition == "post":
		text += " of the output of B"
	case a.Dropout > 0:
		text += " of the input of A"
	}
	return fmt.Sprintf("%s, on %s (%d modules)", text, strings.Join(slices.Compact(names), ", "), len(a.Modules))
}

// batch says of how much a step is. A recipe that leaves it to the number of ranks does not say how many there were.
func batch(c *configs.Recipe) string {
	unit := "samples"
	if c.PackedSequence.PackedSequenceSize > 0 {
		unit = fmt.Sprintf("rows of %d tokens", c.PackedSequence.PackedSequenceSize)
	}
	if n := c.StepScheduler.GlobalBatchSize; n > 0 {
		return fmt.Sprintf("%d %s", n, unit)
	}
	text := fmt.Sprintf("%d %s", c.Dataloader.BatchSize, unit)
	if n := c.StepScheduler.GradAccSteps; n > 1 {
		text += fmt.Sprintf(" x %d micro-batches", n)
	}
	return text + " on each rank"
}

// BaseOnHub returns the repository of the base, if the run names one.
func (r *Run) BaseOnHub() (hub.Repo, bool) {
	name, _ := r.base()
	if !onHub(hub.Model, name) {
		return hub.Repo{}, false
	}
	return hub.Repo{Kind: hub.Model, ID: name}, true
}
