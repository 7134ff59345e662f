package metrics

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// stepLine is a step as one line of text; total and eta are left out where they are not known.
func stepLine(r Record, total int, device string, eta time.Duration) string {
	step := fmt.Sprintf("step %d", r.Step)
	if total > 0 {
		step += fmt.Sprintf("/%d", total)
	}
	parts := []string{step, "loss " + fixed(r.Loss, 4), "grad_norm " + fixed(r.GradNorm, 2), fmt.Sprintf("lr %.3g", r.LR)}
	speed := "tok/s "
	if device != "" {
		speed = "tok/s/" + device + " "
	}
	parts = append(parts, speed+rate(r.TokS))
	if r.MFU > 0 {
		parts = append(parts, fmt.Sprintf("mfu %.0f%%", 100*r.MFU))
	}
	if r.MemGiB > 0 {
		parts = append(parts, fmt.Sprintf("mem %.1f GiB", r.MemGiB))
	}
	if eta >= 0 {
		parts = append(parts, "eta "+short(eta))
	}
	return strings.Join(parts, " | ")
}

// barText is what a progress bar has room for.
func barText(r Record, device string, eta time.Duration) string {
	parts := []string{"loss " + fixed(r.Loss, 4), rate(r.TokS) + " tok/s"}
	if device != "" {
		parts[1] += "/" + device
	}
	if eta >= 0 {
		parts = append(parts, "eta "+short(eta))
	}
	return strings.Join(parts, " | ")
}

// validationText is a validation as one line of text; the only set of a recipe goes without its name.
func validationText(v ValidationRecord, defaultSet string) string {
	tag := "[val]"
	if v.Set != "" && v.Set != defaultSet {
		tag = "[val " + v.Set + "]"
	}
	return fmt.Sprintf("%s step %d | epoch %d | loss %s | %d label tokens | %s", tag, v.Step, v.Epoch, fixed(v.ValLoss, 4), v.NumLabelTokens, seconds(v.TimeS))
}

// sampleText is an answer as one line of text.
func sampleText(s SampleRecord) string {
	if len(s.Gold) == 0 {
		return fmt.Sprintf("%s | %s | %s", s.When, s.Prompt, s.Answer)
	}
	return fmt.Sprintf("%s | Q: %s | gold: %s | answer: %s", s.When, s.Prompt, strings.Join(s.Gold, " / "), s.Answer)
}

// fixed gives v with so many decimals, or with two digits where those would hide it.
func fixed(v float64, decimals int) string {
	if v != 0 && math.Abs(v) < math.Pow(10, -float64(decimals)) {
		return fmt.Sprintf("%.2g", v)
	}
	return fmt.Sprintf("%.*f", decimals, v)
}

// rate gives a speed without decimals, unless it is slow.
func rate(v float64) string {
	if v < 10 {
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

// seconds gives a time that has passed.
func seconds(s float64) string {
	if s < 60 {
		return fmt.Sprintf("%.1fs", s)
	}
	return short(time.Duration(min(s, 1e9) * float64(time.Second)))
}

// short gives a duration in one or two units: 45s, 12m, 3h05m, 2d04h.
func short(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < day:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	default:
		return fmt.Sprintf("%dd%02dh", d/day, d%day/time.Hour)
	}
}

// pace keeps the time that a step takes lately, to tell when the run will end.
type pace struct {
	lastStep int
	steps    int     // how many have been seen
	perStep  float64 // seconds, an average that forgets
}

// add takes in a step's seconds. The first step compiles and says little: the second replaces it.
func (p *pace) add(step int, s float64) {
	const keep = 0.9
	p.lastStep = step
	if math.IsNaN(s) || s < 0 {
		return
	}
	p.steps++
	switch {
	case p.steps <= 2:
		p.perStep = s
	default:
		p.perStep = keep*p.perStep + (1-keep)*s
	}
}

// eta is the time to the end, or -1 if it cannot be told.
func (p *pace) eta(total int) time.Duration {
	if total <= 0 || p.steps == 0 {
		return -1
	}
	left := p.perStep * float64(max(total-p.lastStep, 0))
	return time.Duration(min(left, 1e9) * float64(time.Second))
}
