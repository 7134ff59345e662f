package report

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"gorun/rank/metrics"
)

// page is what the template shows.
type page struct {
	Title       string
	Subtitle    string
	Tiles       []tile
	Charts      []chart
	Samples     []sample
	MoreSamples int // that are not shown
	Facts       []metrics.Fact
	Recipe      string
}

// tile is a number that sums the run up.
type tile struct{ Name, Value, Note string }

// sample is a prompt with the answers before and after; an absent one is nil.
type sample struct {
	Prompt, Gold  string
	Before, After *string
}

// maxSamples is how many samples a page shows.
const maxSamples = 100

// newPage arranges records.
func newPage(r *records) page {
	p := page{Title: "gorun report", Recipe: strings.TrimSpace(r.recipe), Tiles: tiles(r), Charts: charts(r), Samples: pair(r.samples)}
	p.MoreSamples = max(0, len(p.Samples)-maxSamples)
	p.Samples = p.Samples[:len(p.Samples)-p.MoreSamples]
	e := r.environment
	p.Facts = append(slices.Clone(e.Facts), environmentFacts(e)...)
	if len(e.Facts) > 0 {
		p.Title = e.Facts[0].Text
	}
	if !e.Started.IsZero() {
		p.Subtitle = e.Started.Format("2 January 2006, 15:04 MST") + " on " + e.Device
	}
	return p
}

// environmentFacts say what ran where.
func environmentFacts(e metrics.Environment) []metrics.Fact {
	if e.Gorun == "" && e.Platform == "" {
		return nil
	}
	resumed := ""
	if e.ResumeStep > 0 {
		resumed = fmt.Sprintf(", resumed after step %d", e.ResumeStep)
	}
	return []metrics.Fact{
		{Name: "device", Text: fmt.Sprintf("%s (%s)", e.Device, e.Platform)},
		{Name: "plugin", Text: e.Plugin},
		{Name: "", Text: e.XLA},
		{Name: "host", Text: fmt.Sprintf("%s, %s, %d CPUs", e.Host, e.OS, e.CPUs)},
		{Name: "gorun", Text: fmt.Sprintf("%s, built with %s", e.Gorun, e.Go)},
		{Name: "started", Text: e.Started.Format(time.RFC3339) + resumed},
		{Name: "command", Text: strings.Join(e.Command, " ")},
	}
}

// charts are the run's curves.
func charts(r *records) []chart {
	curve := func(title, unit, name string, zero bool, of func(step) number) chart {
		points := make([]point, len(r.steps))
		for i, s := range r.steps {
			points[i] = point{float64(s.Step), float64(of(s))}
		}
		if soft := smooth(points); soft != nil && title != "Learning rate" && title != "Peak memory" {
			return newChart(title, unit, zero, series{name, "raw", points, false}, series{"smoothed", "s0", soft, false})
		}
		return newChart(title, unit, zero, series{name, "s0", points, len(points) <= 30})
	}
	memory := curve("Peak memory", "GiB on the device", "memory", true, func(s step) number { return s.MemGiB })
	if !slices.ContainsFunc(r.steps, func(s step) bool { return s.MemGiB > 0 }) {
		memory = chart{Title: memory.Title, Unit: memory.Unit, Empty: "this device does not tell"}
	}
	return []chart{
		curve("Training loss", "nats per label token", "loss", false, func(s step) number { return s.Loss }),
		validationChart(r.validations),
		curve("Learning rate", "per step", "learning rate", true, func(s step) number { return s.LR }),
		curve("Gradient norm", "before clipping", "norm", true, func(s step) number { return s.GradNorm }),
		curve("Speed", "tok/s per device", "tok/s", true, func(s step) number { return s.TokS }),
		memory,
	}
}

// colours is how many styles the page has for lines; sets beyond that share them.
const colours = 6

// validationChart has a line for each set, in order of first appearance.
func validationChart(list []validation) chart {
	var sets []series
	for _, v := range list {
		i := slices.IndexFunc(sets, func(s series) bool { return s.name == v.Set })
		if i < 0 {
			i = len(sets)
			sets = append(sets, series{name: v.Set, class: fmt.Sprintf("s%d", i%colours), dots: true})
		}
		sets[i].points = append(sets[i].points, point{float64(v.Step), float64(v.Loss)})
	}
	if len(sets) == 0 {
		return chart{Title: "Validation loss", Unit: "nats per label token", Empty: "no validation was recorded"}
	}
	return newChart("Validation loss", "nats per label token", false, sets...)
}

// tiles sum the run up. Where only every n-th step was recorded, sums are estimates.
func tiles(r *records) []tile {
	if len(r.steps) == 0 {
		return nil
	}
	first, last := r.steps[0], r.steps[len(r.steps)-1]
	seconds, tokens, peak, before := 0.0, 0.0, 0.0, first.Step-1
	speeds := make([]float64, 0, len(r.steps))
	for _, s := range r.steps {
		steps := float64(max(1, s.Step-before))
		before = s.Step
		if v := float64(s.Seconds); finite(v) {
			seconds += v * steps
		}
		tokens += float64(s.Tokens) * steps
		peak = math.Max(peak, float64(s.MemGiB))
		if v := float64(s.TokS); finite(v) {
			speeds = append(speeds, v)
		}
	}
	about := ""
	if last.Step-first.Step+1 > len(r.steps) {
		about = "about "
	}
	out := []tile{
		{"Steps", fmt.Sprint(last.Step), fmt.Sprintf("in epoch %d", last.Epoch+1)},
		{"Training loss", value(float64(last.Loss)), "from " + value(float64(first.Loss))},
	}
	if best, ok := lowest(r.validations); ok {
		out = append(out, tile{"Lowest validation", value(float64(best.Loss)), fmt.Sprintf("step %d, %s", best.Step, best.Set)})
	}
	out = append(out, tile{"Label tokens", about + label(tokens), "trained on"}, tile{"Time", about + duration(seconds), "in steps"})
	if len(speeds) > 0 {
		slices.Sort(speeds)
		out = append(out, tile{"Speed", value(speeds[len(speeds)/2]), "tok/s per device, median"})
	}
	if peak > 0 {
		out = append(out, tile{"Peak memory", value(peak), "GiB on the device"})
	}
	return out
}

// lowest is the validation of least loss.
func lowest(list []validation) (best validation, ok bool) {
	for _, v := range list {
		if finite(float64(v.Loss)) && (!ok || v.Loss < best.Loss) {
			best, ok = v, true
		}
	}
	return best, ok
}

// duration writes seconds as people do.
func duration(seconds float64) string {
	switch {
	case seconds < 60:
		return fmt.Sprintf("%.1f s", seconds)
	case seconds < 3600:
		return fmt.Sprintf("%.0f min", seconds/60)
	}
	return fmt.Sprintf("%.1f h", seconds/3600)
}

// pair puts answers to the same prompt together: the first before training, the newest after.
func pair(list []metrics.SampleRecord) []sample {
	var out []sample
	at := map[string]int{}
	for _, s := range list {
		gold := strings.Join(s.Gold, " / ")
		key := s.Prompt + "\x00" + gold
		i, ok := at[key]
		if !ok {
			i = len(out)
			at[key] = i
			out = append(out, sample{Prompt: s.Prompt, Gold: gold})
		}
		answer := strings.TrimSpace(s.Answer)
		if s.When == metrics.Before && out[i].Before == nil {
			out[i].Before = &answer
		} else if s.When == metrics.After {
			out[i].After = &answer
		}
	}
	return out
}
