package rank

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"gorun/model"
	"gorun/rank/data"
	"gorun/rank/metrics"
)

const gib = 1 << 30

// Describe prints what the run will do. It needs no device.
func (j *Job) Describe(w io.Writer) error {
	facts, err := j.facts()
	if err != nil {
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range facts {
		fmt.Fprintf(t, "%s\t%s\n", f.Name, f.Text)
	}
	return t.Flush()
}

// sheet collects facts. One without a name goes on with the one before.
type sheet struct{ facts []metrics.Fact }

func (s *sheet) row(name, format string, args ...any) {
	s.facts = append(s.facts, metrics.Fact{Name: name, Text: fmt.Sprintf(format, args...)})
}

// facts are what the run will do: model, modules, parameters, data, memory, where things go.
func (j *Job) facts() ([]metrics.Fact, error) {
	var s sheet
	j.tellModel(&s)
	if err := errors.Join(j.tellSteps(&s), j.tellDevice(&s)); err != nil {
		return nil, err
	}
	if !j.Config.Full {
		j.tellServing(&s)
	}
	if j.Recipe.Checkpoint.Enabled {
		s.row("output", "%s", j.Recipe.Checkpoint.Dir)
	}
	for _, reason := range j.Train.Reasons {
		s.row("left out", "%s", reason)
	}
	return s.facts, nil
}

// tellModel tells what is trained, and of what.
func (j *Job) tellModel(s *sheet) {
	d := j.Base.Decoder
	params := d.Params()
	s.row("model", "%s (%s, %d layers, hidden %d, %s parameters), computed in %s", j.Recipe.Model.PretrainedModelNameOrPath, d.Family, d.Layers, d.Hidden, count(params.Total), j.Recipe.Model.DType)
	if m := d.Mixture; m != nil {
		s.row("", "%d experts in a layer, of which each token goes through %d: %s parameters at work for it", m.Experts, m.PerToken, count(params.Active))
	}
	s.row("training", "%s", j.training())
	if !j.Config.Full {
		trained := j.trainedParams()
		if from := j.Recipe.PEFT.InitFrom; from != "" {
			s.row("", "from %s, whose modules, dims and scaling hold", from)
		}
		for _, t := range j.Adapter.Tables {
			s.row("", "and %s in full", strings.TrimSuffix(t.Name, ".weight"))
		}
		s.row("", "%s of %s parameters (%.2f %%)", count(trained), count(params.Total+trained), 100*float64(trained)/float64(params.Total+trained))
	}
	if text, ok := j.base(); ok {
		s.row("base", "%s", text)
	}
	if j.Mesh.World() > 1 {
		s.row("mesh", "%s", j.mesh())
	}
}

// tellSteps tells how many steps there are of how many samples, and of which data.
func (j *Job) tellSteps(s *sheet) error {
	o := j.loaderOptions()
	steps, err := j.Train.Steps(o)
	if err != nil {
		return err
	}
	packing, err := j.Train.Packing(o)
	if err != nil {
		return err
	}
	spread, unit, length := "", "sample", plural(o.Epochs, "epoch")
	if j.Mesh.World() > 1 {
		spread = fmt.Sprintf(" x %d data-parallel ranks", o.DPSize)
	}
	if o.Pack > 0 {
		unit = "packed row"
	}
	if o.MaxSteps > 0 && steps == o.MaxSteps {
		length = "limited by step_scheduler.max_steps"
	}
	s.row("steps", "%d of %s (%s x %s%s), %s", steps, plural(o.MicroBatch*o.GradAcc*o.DPSize, unit), plural(o.MicroBatch, "row"), plural(o.GradAcc, "micro-batch"), spread, length)
	if o.Pack > 0 {
		s.row("packing", "%d samples in %d rows of %d tokens, %.1f %% full", j.Train.Len(), packing.Rows, o.Pack, 100*packing.Full())
	}
	c := j.Recipe.Dataset
	s.row("data", "%s", describe(cmp.Or(c.PathOrID, c.Kind), c.Split, j.Train))
	for _, name := range j.valNames {
		c := j.Recipe.ValidationDataset[name]
		set := describe(c.PathOrID, c.Split, j.Val[name])
		if len(j.valNames) > 1 {
			set = name + ": " + set
		}
		s.row("validation", "%s", set)
	}
	return nil
}

// tellServing tells what will serve the adapter, while another recipe can still be chosen.
func (j *Job) tellServing(s *sheet) {
	rank, noVLLM := j.Adapter.VLLMRank()
	noGGUF := j.Adapter.GGUFAdapterRefused(j.Base.Decoder)
	why := strings.NewReplacer("\n", "; ").Replace
	switch {
	case noVLLM == nil && noGGUF == nil:
		s.row("serving", "by vLLM with --max-lora-rank %d, by llama.cpp as a GGUF adapter (gorun export)", rank)
	case noVLLM == nil:
		s.row("serving", "by vLLM with --max-lora-rank %d (gorun export)", rank)
		s.row("", "not by llama.cpp as an adapter: %s", why(noGGUF.Error()))
	case noGGUF == nil:
		s.row("serving", "by llama.cpp as a GGUF adapter (gorun export)")
		s.row("", "not by vLLM as an adapter: %s", why(noVLLM.Error()))
	default:
		s.row("serving", "merged into the base (gorun merge), not as an adapter: %s", why(noVLLM.Error()))
	}
}

// tellDevice tells what computes, and the memory that it takes.
func (j *Job) tellDevice(s *sheet) error {
	largest, peak, err := j.fullest()
	if err != nil {
		return err
	}
	s.row("attention", "%s", j.attention())
	s.row("kernels", "%s", j.kernels(largest))
	s.row("memory", "%.2f GiB on the device%s: %s (at the fullest moment, with the longest micro-batch)", float64(peak.total())/gib, j.each(), peak)
	if !j.Recipe.Distributed.CPUOffload {
		return nil
	}
	groups, _, err := j.held()
	if err != nil {
		return err
	}
	var bytes int64
	for _, g := range groups {
		bytes += g.frozen
	}
	s.row("", "and %.2f GiB of the base in host memory%s (page-locked)", float64(bytes)/gib, j.each())
	return nil
}

// training says what is trained.
func (j *Job) training() string {
	switch {
	case j.Config.Full:
		return "all parameters: " + count(j.trainedParams())
	case j.Adapter.DoRA():
		return "DoRA on " + j.modules()
	}
	return "LoRA on " + j.modules()
}

// mesh says how many ranks there are and what they divide.
func (j *Job) mesh() string {
	text := fmt.Sprintf("%d ranks: %s", j.Mesh.World(), j.Mesh)
	if j.Config.Split.Sequence {
		text += ", tokens between products too"
	}
	return text
}

// each is "of each rank" where there are several.
func (j *Job) each() string {
	if j.Mesh.World() == 1 {
		return ""
	}
	return " of each rank"
}

// attention says which kernels compute it, and why not cuDNN's if a GPU goes without.
func (j *Job) attention() string {
	switch refused := j.Config.FlashRefused(); {
	case j.Config.Flash:
		return "cuDNN"
	case j.Config.Target == model.CUDA && refused != nil:
		return fmt.Sprintf("blockwise (%v)", refused)
	}
	return "blockwise"
}

func describe(path, split string, d *data.Dataset) string {
	s := d.Stats()
	text := fmt.Sprintf("%s (%s): %d samples, %d tokens per epoch, %d trained on, longest %d", path, split, s.Samples, s.Tokens, s.Trained, s.Longest)
	if d.Skipped > 0 {
		text += fmt.Sprintf(", %d left out", d.Skipped)
	}
	if d.Truncated > 0 {
		text += fmt.Sprintf(", %d cut", d.Truncated)
	}
	if d.Cached {
		text += " (tokenised before)"
	}
	return text
}

// count writes a number of parameters as people do: 134.5M.
func count(n int64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.2fB", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.1fM", float64(n)/1e6)
	case n >= 1e3:
		return fmt.Sprintf("%.1fK", float64(n)/1e3)
	}
	return fmt.Sprint(n)
}

// modules lists the adapted linears by their last name, with how many there are and their dim.
func (j *Job) modules() string {
	var order []string
	number, least, most := map[string]int{}, 0, 0
	for l := range j.Base.Decoder.Layers {
		for _, lin := range j.Base.Decoder.Linears(l) {
			a, ok := j.Config.Adapters[lin.Name]
			if !ok {
				continue
			}
			name := lin.Name[strings.LastIndexByte(lin.Name, '.')+1:]
			if number[name] == 0 {
				order = append(order, name)
			}
			number[name]++
			least, most = min(a.Dim, cmp.Or(least, a.Dim)), max(most, a.Dim)
		}
	}
	for i, name := range order {
		order[i] = fmt.Sprintf("%d %s", number[name], name)
	}
	dims := fmt.Sprint("dim ", most)
	if least < most {
		dims = fmt.Sprintf("dim %d to %d", least, most)
	}
	return fmt.Sprintf("%s (%s), %s", plural(len(j.Config.Adapters), "linear"), strings.Join(order, ", "), dims)
}

func (j *Job) trainedParams() int64 {
	if j.Config.Full {
		return j.Base.Decoder.Params().Total
	}
	var n int64
	for i := range j.Adapter.Modules {
		m := &j.Adapter.Modules[i]
		n += int64(m.Dim) * int64(m.In+m.Out)
		if j.Adapter.DoRA() {
			n += int64(m.Out)
		}
	}
	for _, t := range j.Adapter.Tables {
		n += int64(t.Rows) * int64(t.Cols)
	}
	return n
}

// ShowSamples prints the first n training samples with what is trained on between [[ and ]].
func (j *Job) ShowSamples(w io.Writer, n int) error {
	for s, err := range j.Train.First(n) {
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "\n%s\n", data.Show(s, func(ids []int32) string { return j.Base.Tokenizer.Decode(ids, false) }))
	}
	return nil
}

// plural is a count of things, in words.
func plural(n int, thing string) string {
	switch {
	case n != 1 && strings.HasSuffix(thing, "tch"):
		thing += "es"
	case n != 1:
		thing += "s"
	}
	return fmt.Sprintf("%d %s", n, thing)
}
