package report

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gorun/rank/metrics"
)

// folder makes a run's folder of the given files.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// written makes the report of a folder and returns its text.
func written(t *testing.T, dir string) string {
	t.Helper()
	if err := Write(dir); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, metrics.ReportFile))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

const training = `{"step":1,"epoch":0,"loss":2.5,"grad_norm":1.25,"lr":1e-05,"num_label_tokens":10,"tok_s":100,"step_time_s":4,"mem_gib":1.5}
{"step":2,"epoch":0,"loss":null,"grad_norm":0.5,"lr":2e-05,"num_label_tokens":30,"tok_s":300,"step_time_s":2,"mem_gib":2.5}
{"step":3,"epoch":1,"loss":1.5,"grad_norm":0.75,"lr":1e-05,"num_label_tokens":20,"tok_s":200,"step_time_s":2,"mem_gib":2.5}
{"step":4,"epo`

// TestPage: all of a run's records are shown, escaped, in a page that needs nothing else.
func TestPage(t *testing.T) {
	page := written(t, folder(t, map[string]string{
		metrics.TrainingFile:   training,
		metrics.ValidationFile: `{"step":2,"set":"a","val_loss":2.25}` + "\n" + `{"step":2,"set":"<b>","val_loss":1.75}` + "\n" + `{"step":3,"set":"a","val_loss":1.25}` + "\n",
		metrics.SamplesFile: `{"step":0,"when":"before","prompt":"Who & why?","gold":["x","y"],"answer":" <script>alert(1)</script> "}` + "\n" +
			`{"step":2,"when":"after","prompt":"Who & why?","gold":["x","y"],"answer":"older"}` + "\n" + `{"step":3,"when":"after","prompt":"Who & why?","gold":["x","y"],"answer":"newest"}` + "\n",
		metrics.EnvironmentFile: `{"gorun":"v9","device":"abacus","platform":"cpu","resume_step":2,"started":"2026-11-25T05:00:00Z","command":["gorun","r.toml"],"facts":[{"name":"model","text":"the \"model\""}]}`,
		metrics.RecipeFile:      "[model]\nname = \"</pre>\"\n",
	}))
	for _, want := range []string{
		"<title>the &#34;model&#34;</title>", "25 November 2026", "abacus", "resumed after step 2", "gorun r.toml",
		"Who &amp; why?", "x / y", "&lt;script&gt;alert(1)&lt;/script&gt;", "newest", "&lt;/pre&gt;",
		`<div class="value">1.5</div><div class="note">from 2.5</div>`,   // training loss
		`<div class="value">1.25</div><div class="note">step 3, a</div>`, // lowest validation
		`<div class="value">3</div><div class="note">in epoch 2</div>`,   // steps
		`<div class="value">60</div>`, `<div class="value">8.0 s</div>`,  // tokens, time
		`<div class="value">200</div><div class="note">tok/s per device, median</`, // speed
		"<title>step 2\nloss not finite</title>", "<title>step 2\na 2.25\n&lt;b&gt; 1.75</title>",
		`<path class="s0" d="M0 0M1000 1000"></path>`, // the loss, a gap in its middle
	} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is not in the page", want)
		}
	}
	for _, bad := range []string{"older", "<script", "http:", "https:", "url(", "@import", "src=", "NaN", "Inf", "ZgotmplZ", "<b>"} {
		if strings.Contains(page, bad) {
			t.Errorf("%q is in the page", bad)
		}
	}
}

// TestBarePage: a run with nothing but its first records has a page too.
func TestBarePage(t *testing.T) {
	for _, text := range []string{"", `{"step":1,"loss":0,"lr":0}` + "\n"} {
		page := written(t, folder(t, map[string]string{metrics.TrainingFile: text}))
		if !strings.Contains(page, "no validation was recorded") || !strings.Contains(page, "this device does not tell") {
			t.Errorf("the page of %q does not say what is missing", text)
		}
		if strings.Contains(page, "not recorded") != (text == "") {
			t.Errorf("the page of %q: wrong about the training loss", text)
		}
	}
}

// TestEstimate: where every tenth step was recorded, sums are estimates of all steps.
func TestEstimate(t *testing.T) {
	page := written(t, folder(t, map[string]string{metrics.TrainingFile: `{"step":1,"num_label_tokens":5,"step_time_s":1}
{"step":10,"num_label_tokens":5,"step_time_s":1}
`}))
	for _, want := range []string{"about 50<", "about 10.0 s<"} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is not in the page", want)
		}
	}
}

// TestErrors name the file, and leave no report.
func TestErrors(t *testing.T) {
	for _, c := range []struct {
		file, text, want string
	}{
		{"other.txt", "", metrics.TrainingFile},
		{metrics.TrainingFile, "{}\nnotes\n", "line 2"},
		{metrics.TrainingFile, strings.Repeat(" ", maxLine+1), "line 1"},
		{metrics.ValidationFile, "[]\n", metrics.ValidationFile + ": line 1"},
		{metrics.SamplesFile, "7\n", metrics.SamplesFile + ": line 1"},
		{metrics.EnvironmentFile, "{", metrics.EnvironmentFile},
		{metrics.RecipeFile, strings.Repeat("#", maxSmall+1), metrics.RecipeFile},
	} {
		files := map[string]string{c.file: c.text}
		if c.file != metrics.TrainingFile && c.file != "other.txt" {
			files[metrics.TrainingFile] = training
		}
		dir := folder(t, files)
		if err := Write(dir); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s %.20q: %v, want %q and the folder", c.file, c.text, err, c.want)
		}
		if _, err := os.Stat(filepath.Join(dir, metrics.ReportFile)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: a report was written: %v", c.file, err)
		}
	}
}

func TestAxis(t *testing.T) {
	for _, c := range []struct {
		lo, hi  float64
		toTicks bool
		want    string
	}{
		{0, 1, true, "0 0.5 1"},
		{0.61, 2.6, true, "0.5 1 1.5 2 2.5 3"},
		{1, 8, false, "2 4 6 8"},
		{0, 2e-4, true, "0 5e-05 1e-04 1.5e-04 2e-04"},
		{7, 7, true, "6 6.5 7 7.5 8"},
		{0, 0, true, "0 0.5 1"},
		{-1e-13, 1e-13, true, "-1e-13 -5e-14 0 5e-14 1e-13"},
		{0, 1234567, true, "0 500k 1M 1.5M"},
		{math.Inf(1), math.Inf(-1), true, "0 0.5 1"},
	} {
		a := newAxis(c.lo, c.hi, 4, c.toTicks)
		var got []string
		for _, v := range a.ticks {
			got = append(got, label(v))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%v to %v: ticks %v, want %s", c.lo, c.hi, got, c.want)
		}
	}
}

// TestThin: a spike among many points is still drawn, in its place, and no more points than wanted are.
func TestThin(t *testing.T) {
	points := make([]point, 10_000)
	for i := range points {
		points[i] = point{float64(i), 1}
	}
	points[4321].y, points[77].y = 9, math.NaN()
	got := thin(points)
	if len(got) > maxPoints || !slices.Contains(got, point{4321, 9}) {
		t.Errorf("%d points, or without the spike", len(got))
	}
	if !slices.IsSortedFunc(got, func(a, b point) int { return int(a.x - b.x) }) {
		t.Error("points are out of order")
	}
}

// TestSmooth: the average of a constant is that constant from the first point on, whatever is not finite.
func TestSmooth(t *testing.T) {
	points := make([]point, 200)
	for i := range points {
		points[i] = point{float64(i), 3}
	}
	points[0].y, points[50].y = math.NaN(), math.Inf(1)
	got := smooth(points)
	if len(got) != 199 {
		t.Fatalf("%d points, want all but the first", len(got))
	}
	for _, p := range got {
		if math.Abs(p.y-3) > 1e-12 {
			t.Fatalf("%g at %g, want 3", p.y, p.x)
		}
	}
	if smooth(points[:19]) != nil {
		t.Error("nineteen points are smoothed")
	}
}

// FuzzPage: no records panic the page or put a number into it that is none.
func FuzzPage(f *testing.F) {
	f.Add([]byte(training))
	f.Add([]byte(`{"step":-5,"loss":1e308,"tok_s":-1e308}` + "\n" + `{"step":9000000000000000000,"loss":-1e308,"mem_gib":5}` + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		steps, err := parse[step](strings.NewReader(string(data)))
		if err != nil {
			return
		}
		validations, err := parse[validation](strings.NewReader(string(data)))
		if err != nil {
			return
		}
		var b strings.Builder
		if err := pageTemplate.Execute(&b, newPage(&records{steps: steps, validations: validations})); err != nil {
			t.Fatal(err)
		}
		for _, c := range charts(&records{steps: steps}) {
			for _, l := range c.Lines {
				if strings.ContainsAny(l.Path, "NI") {
					t.Fatalf("%s: path %s", c.Title, l.Path)
				}
			}
		}
	})
}
