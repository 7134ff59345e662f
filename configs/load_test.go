package configs

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/google/go-cmp/cmp"

	"gorun/tools/skip"
)

// small is a valid recipe to add to.
const small = `
[model]
pretrained_model_name_or_path = "org/model"
[peft]
dim = 4
[dataset]
path_or_id = "org/data"
`

// mustParse parses and fails the test on any fault.
func mustParse(t *testing.T, text string, overrides ...string) *Recipe {
	t.Helper()
	r, err := Parse("recipe.toml", []byte(text), overrides)
	if err != nil {
		t.Fatalf("Parse: %v", err)
	}
	return r
}

func TestParseFillsDefaults(t *testing.T) {
	got := mustParse(t, small)
	want := Default()
	want.Model.PretrainedModelNameOrPath = "org/model"
	want.PEFT.Scheme, want.PEFT.Dim = "lora", 4
	want.Dataset.PathOrID = "org/data"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("recipe (-want +got):\n%s", diff)
	}
	if err := got.Validate(); err != nil {
		t.Errorf("Validate: %v", err)
	}
}

func TestDependentDefaults(t *testing.T) {
	const noPEFT = "[model]\npretrained_model_name_or_path = \"org/model\"\n"
	if got := mustParse(t, noPEFT).PEFT.Scheme; got != "none" {
		t.Errorf("scheme without [peft] = %q, want none: AutoModel trains all weights then", got)
	}
	if got := mustParse(t, noPEFT, "peft.dim=8").PEFT.Scheme; got != "lora" {
		t.Errorf("scheme with --set peft.dim = %q, want lora", got)
	}
	if got := mustParse(t, small, "peft.scheme=none").PEFT.Scheme; got != "none" {
		t.Errorf("scheme = %q, want the given none", got)
	}
	if got := mustParse(t, small, "peft.match_all_linear=true").PEFT.TargetModules; got != nil {
		t.Errorf("target_modules with match_all_linear = %q, want none", got)
	}
	r := mustParse(t, small, "dataloader.batch_size=3")
	if got := r.ValidationDataloader.BatchSize; got != 3 {
		t.Errorf("validation batch_size = %d, want dataloader's 3", got)
	}
	r = mustParse(t, small, "dataloader.batch_size=3", "validation_dataloader.batch_size=5")
	if got := r.ValidationDataloader.BatchSize; got != 5 {
		t.Errorf("validation batch_size = %d, want the given 5", got)
	}
}

func TestValidationSets(t *testing.T) {
	chat := small + "kind = \"chat\"\nseq_length = 64\nchat_template = true\nlimit_dataset_samples = 9\n[dataset.columns]\nmessages = \"turns\"\n"
	one := mustParse(t, chat+"[validation_dataset]\npath_or_id = \"v.jsonl\"\n[validation_dataset.columns]\ntools = \"fns\"\n")
	want := one.Dataset
	want.PathOrID, want.Split, want.LimitDatasetSamples, want.Columns.Tools = "v.jsonl", "validation", 0, "fns"
	if diff := cmp.Diff(map[string]Dataset{DefaultSet: want}, one.ValidationDataset); diff != "" {
		t.Errorf("one set of the same kind takes over the format (-want +got):\n%s", diff)
	}
	two := mustParse(t, chat+"[validation_dataset.a]\npath_or_id = \"org/a\"\n[validation_dataset.b-2]\nkind = \"squad\"\npath_or_id = \"org/b\"\n")
	b := defaultDataset("validation")
	b.PathOrID, b.SeqLength = "org/b", 64
	if diff := cmp.Diff(b, two.ValidationDataset["b-2"]); diff != "" {
		t.Errorf("a set of another kind has that kind's defaults (-want +got):\n%s", diff)
	}
	if got := two.ValidationDataset["a"].Columns.Messages; got != "turns" {
		t.Errorf("set a: messages = %q, want turns", got)
	}
	named := mustParse(t, small, "validation_dataset.x.path_or_id=org/x", "validation_dataset.x.split=test")
	if got := named.ValidationDataset["x"]; got.PathOrID != "org/x" || got.Split != "test" {
		t.Errorf("set x by --set = %+v", got)
	}
	single := mustParse(t, small, "validation_dataset.path_or_id=org/x", "validation_dataset.columns.context=")
	if got := single.ValidationDataset[DefaultSet].PathOrID; got != "org/x" {
		t.Errorf("the only set by --set: path_or_id = %q", got)
	}
	if r := mustParse(t, small+"[validation_dataset]\n"); len(r.ValidationDataset) != 1 {
		t.Errorf("an empty section is a set whose data is missing; got %v", r.ValidationDataset)
	}
}

func TestOverrides(t *testing.T) {
	get := func(set ...string) *Recipe { return mustParse(t, small, set...) }
	for _, c := range []struct {
		name      string
		got, want any
	}{
		{"float", get("optimizer.lr=3e-4").Optimizer.LR, 3e-4},
		{"integer as number", get("optimizer.lr=1").Optimizer.LR, 1.0},
		{"spaces", get(" optimizer.lr = 2e-4 ").Optimizer.LR, 2e-4},
		{"last one wins", get("optimizer.lr=1e-3", "optimizer.lr=2e-3").Optimizer.LR, 2e-3},
		{"list of numbers", get("optimizer.betas=[0.8, 0.95]").Optimizer.Betas, [2]float64{0.8, 0.95}},
		{"bool", get("dataloader.shuffle=true").Dataloader.Shuffle, true},
		{"bare string", get("model.pretrained_model_name_or_path=Qwen/Qwen3-0.6B").Model.PretrainedModelNameOrPath, "Qwen/Qwen3-0.6B"},
		{"quoted string", get(`model.dtype="f32"`).Model.DType, "f32"},
		{"literal string", get(`model.dtype='f32'`).Model.DType, "f32"},
		{"string that looks like a number", get("logging.wandb.name=123").Logging.Wandb.Name, "123"},
		{"string with =", get("logging.wandb.name=a=b").Logging.Wandb.Name, "a=b"},
		{"string with #", get("logging.wandb.name=run #3").Logging.Wandb.Name, "run #3"},
		{"empty string", get("logging.wandb.project=").Logging.Wandb.Project, ""},
		{"nested", get("logging.wandb.project=p").Logging.Wandb.Project, "p"},
		{"TOML list", get(`peft.target_modules=["q_proj", "v_proj"]`).PEFT.TargetModules, []string{"q_proj", "v_proj"}},
		{"list without quotes", get("peft.target_modules=[q_proj, v_proj]").PEFT.TargetModules, []string{"q_proj", "v_proj"}},
		{"list without brackets", get("peft.target_modules=q_proj,*.layers.1.*.v_proj").PEFT.TargetModules, []string{"q_proj", "*.layers.1.*.v_proj"}},
		{"list of one", get("peft.target_modules=q_proj").PEFT.TargetModules, []string{"q_proj"}},
		{"list of one in quotes", get(`peft.target_modules="q_proj"`).PEFT.TargetModules, []string{"q_proj"}},
		{"list of one with spaces", get("generate_samples.prompts=Who are you?").GenerateSamples.Prompts, []string{"Who are you?"}},
		{"empty list", get("peft.exclude_modules=[]").PEFT.ExcludeModules, []string(nil)},
		{"dp_size as number", get("distributed.dp_size=4").Distributed.DPSize, DPSize(4)},
		{"dp_size none", get("distributed.dp_size=none").Distributed.DPSize, DPNone},
		{"values by pattern", get(`peft.dim_pattern={ "*.v_proj" = 8, q_proj = 4 }`).PEFT.DimPattern, ModuleValues{{"*.v_proj", 8}, {"q_proj", 4}}},
		{"no values by pattern", get("peft.alpha_pattern={}").PEFT.AlphaPattern, ModuleValues(nil)},
		{"columns", get("dataset.columns.question=q").Dataset.Columns.Question, "q"},
	} {
		if !reflect.DeepEqual(c.got, c.want) {
			t.Errorf("%s: got %#v, want %#v", c.name, c.got, c.want)
		}
	}
}

// TestFaults holds each message of a wrong recipe: place, field, problem.
func TestFaults(t *testing.T) {
	for _, c := range []struct {
		name, text string
		set        string
		want       string
	}{
		{"unknown key", "[optimizer]\nlearning_rat = 1", "", "recipe.toml:2: optimizer.learning_rat: unknown key; keys here are name, lr, betas, eps, weight_decay, loraplus_lr_ratio"},
		{"nearest key", "[step_scheduler]\n\nmax_step = 1", "", "recipe.toml:3: step_scheduler.max_step: unknown key; did you mean max_steps?"},
		{"case counts", "[optimizer]\nLR = 1.0", "", "recipe.toml:2: optimizer.LR: unknown key; did you mean lr?"},
		{"key of another section", "[model]\nseq_length = 8", "", "recipe.toml:2: model.seq_length: unknown key; seq_length belongs to [dataset]"},
		{"key of AutoModel", "[step_scheduler]\nlocal_batch_size = 8", "", "recipe.toml:2: step_scheduler.local_batch_size: unknown key; use dataloader.batch_size"},
		{"key of PEFT", "[peft]\nlora_alpha = 8", "", "recipe.toml:2: peft.lora_alpha: unknown key; use peft.alpha"},
		{"unknown section", "[optimiser]\nlr = 1.0", "", "recipe.toml:1: optimiser: unknown section; did you mean optimizer?"},
		{"unknown section of sections", "[walrus.tusk]\nlr = 1.0", "", "recipe.toml: walrus: unknown section; sections are step_scheduler, dist_env,"},
		{"section elsewhere", "[wandb]\nproject = 'p'", "", "recipe.toml:1: wandb: unknown section; use [logging.wandb]"},
		{"key without a section", "dim = 8", "", "recipe.toml:1: dim: unknown section; write it under [peft]"},
		{"section as a value", "peft = 8", "", "recipe.toml:1: peft: the integer 8 given; write it as a section, [peft]"},
		{"section as a list", "[[dataset]]\nkind = 'squad'", "", "recipe.toml:1: dataset: a list of tables given; write it as a section, [dataset]"},
		{"inner section as a value", "[logging]\nwandb = 'p'", "", "recipe.toml:2: logging.wandb: the string \"p\" given; it is a section: [logging.wandb]"},
		{"value as a section", "[optimizer.lr]\nx = 1", "", "recipe.toml:1: optimizer.lr: a section given; want a number"},
		{"string for integer", "[peft]\ndim = \"8\"", "", "recipe.toml:2: peft.dim: the string \"8\" given; want an integer"},
		{"float for integer", "[peft]\ndim = 8.5", "", "recipe.toml:2: peft.dim: the number 8.5 given; want an integer"},
		{"integer for bool", "[dataloader]\nshuffle = 1", "", "recipe.toml:2: dataloader.shuffle: the integer 1 given; want true or false"},
		{"bool for string", "[model]\ndtype = true", "", "recipe.toml:2: model.dtype: true given; want a string"},
		{"string for list", "[peft]\ntarget_modules = \"*_proj\"", "", "recipe.toml:2: peft.target_modules: the string \"*_proj\" given; want a list of strings"},
		{"number in list", "[peft]\ntarget_modules = [1]", "", "recipe.toml:2: peft.target_modules: a list of 1 given; want a list of strings"},
		{"betas of three", "[optimizer]\nbetas = [0.9, 0.99, 0.999]", "", "recipe.toml:2: optimizer.betas: a list of 3 given; want a list of 2 numbers"},
		{"date for string", "[model]\ndtype = 2024-01-01", "", "recipe.toml:2: model.dtype: a date or time given; want a string"},
		{"dp_size word", "[distributed]\ndp_size = \"all\"", "", "recipe.toml:2: distributed.dp_size: the string \"all\" given; want \"none\" or a number of ranks, at least 1"},
		{"dp_size zero", "[distributed]\ndp_size = 0", "", "recipe.toml:2: distributed.dp_size: the integer 0 given; want \"none\" or a number of ranks"},
		{"inline table", "optimizer = {lr = 'x'}", "", "recipe.toml:1: optimizer.lr: the string \"x\" given; want a number"},
		{"dotted key", "optimizer.lr = 'x'", "", "recipe.toml:1: optimizer.lr: the string \"x\" given; want a number"},
		{"validation sets both ways", "[validation_dataset]\nsplit = 'a'\n[validation_dataset.b]\nsplit = 'b'", "", "recipe.toml:2: validation_dataset.split: one set has its keys under [validation_dataset], several have them under [validation_dataset.NAME], as b has; not both"},
		{"validation set's name", "[validation_dataset.'a b']\nsplit = 'b'", "", "recipe.toml:1: validation_dataset.a b: the set's name may have letters, digits, _ and - only, at most 64"},
		{"validation set's key", "[validation_dataset]\nsplitt = 'b'", "", "recipe.toml:2: validation_dataset.splitt: unknown key; did you mean split?"},
		{"syntax", "[peft]\ndim = ", "", "recipe.toml:2:6: peft.dim: "},
		{"twice", "[peft]\ndim = 1\ndim = 2", "", "recipe.toml:3:9: peft.dim: Key 'peft.dim' has already been defined."},
		{"not TOML", "step_scheduler:\n  max_steps: 3\n", "", "recipe.toml:1:15: "},

		{"--set without =", "", "optimizer.lr", "--set optimizer.lr: no = in it; write --set section.key=value"},
		{"--set without a section", "", "lr=1", "--set lr=1: no section in it; write --set section.key=value, as in --set optimizer.lr=1e-4"},
		{"--set unknown key", "", "optimizer.lrr=1", "--set optimizer.lrr=1: optimizer.lrr: unknown key; did you mean lr?"},
		{"--set unknown section", "", "optim.lr=1", "--set optim.lr=1: optim: unknown section; sections are"},
		{"--set wrong type", "", "optimizer.lr=fast", "--set optimizer.lr=fast: optimizer.lr: the string \"fast\" given; want a number"},
		{"--set no value", "", "optimizer.lr=", "--set optimizer.lr=: optimizer.lr: no value after the =; want a number"},
		{"--set section", "", "logging.wandb=x", "--set logging.wandb=x: logging.wandb: is a section; set one of its keys: project, entity, name, mode"},
		{"--set below a key", "", "optimizer.lr.x=1", "--set optimizer.lr.x=1: optimizer.lr: is a number and has no keys"},
		{"--set open quote", "", `model.dtype="f32`, `--set model.dtype="f32: model.dtype: the quotes of "f32 do not close as TOML's do`},
		{"--set list for string", "", `model.dtype=["f32"]`, `--set model.dtype=["f32"]: model.dtype: a list of 1 given; want a string`},
		{"--set unclear list", "", "generate_samples.prompts=Hi, you", "--set generate_samples.prompts=Hi, you: generate_samples.prompts: Hi, you is not clear as a list;"},
		{"--set line break", "", "model.dtype=f32\n[x]", "control characters or broken UTF-8 in the value"},
		{"--set over a wrong section", "peft = 8", "peft.dim=8", "--set peft.dim=8: peft: recipe.toml has the integer 8 where a section belongs"},
		{"--set validation set without a key", "", "validation_dataset.big=1", "--set validation_dataset.big=1: validation_dataset.big: unknown key; keys here are kind,"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var sets []string
			if c.set != "" {
				sets = []string{c.set}
			}
			r, err := Parse("recipe.toml", []byte(c.text), sets)
			if err == nil {
				t.Fatalf("no error, got %+v", r)
			}
			if !strings.Contains("\n"+err.Error(), c.want) {
				t.Errorf("got\n%v\nwant within it\n%s", err, c.want)
			}
			var f *Fault
			if !errors.As(err, &f) {
				t.Errorf("%T is no *Fault", err)
			}
		})
	}
}

func TestSyntaxErrorIsWrapped(t *testing.T) {
	_, err := Parse("recipe.toml", []byte("[peft"), nil)
	var at toml.ParseError
	if !errors.As(err, &at) {
		t.Fatalf("%v does not wrap the parser's error", err)
	}
}

// TestUnreadIsNotDefault: a value that cannot be read is no fault of another one that would contradict the default.
func TestUnreadIsNotDefault(t *testing.T) {
	text := "[model]\npretrained_model_name_or_path = \"mock:llama3-8b\"\n[dataset]\nkind = \"mock\"\n[lr_scheduler]\nname = \"cosine\"\nmin_lr = 5e-5\n"
	_, err := Parse("recipe.toml", []byte(text), []string{"optimizer.lr=abc"})
	if err == nil || !strings.Contains(err.Error(), "optimizer.lr") || strings.Contains(err.Error(), "min_lr") {
		t.Errorf("got %v", err)
	}
	r := mustParse(t, text)
	if err := r.Validate(); err == nil || !strings.Contains(err.Error(), "min_lr") {
		t.Errorf("with the default: %v", err)
	}
}

// TestAllFaultsAtOnce: wrong keys, types, overrides, ranges and missing keys come in one error, those of
// the file in its order, and a key with a wrong type is not told twice.
func TestAllFaultsAtOnce(t *testing.T) {
	const text = `[peft]
dim = 0
[optimizer]
lr = "x"
lrr = 1
[model]
pretrained_model_name_or_path = 7
`
	_, err := Parse("recipe.toml", []byte(text), []string{"dataloader.batch_size=z"})
	want := []string{
		`recipe.toml:2: peft.dim: 0 is out of range; want at least 1 and at most 4096`,
		`recipe.toml:4: optimizer.lr: the string "x" given; want a number`,
		`recipe.toml:5: optimizer.lrr: unknown key; did you mean lr?`,
		`recipe.toml:7: model.pretrained_model_name_or_path: the integer 7 given; want a string`,
		`--set dataloader.batch_size=z: dataloader.batch_size: the string "z" given; want an integer`,
		`dataset.path_or_id: missing; name data: a path or a Hub id (ORG/NAME)`,
	}
	if diff := cmp.Diff(strings.Join(want, "\n"), err.Error()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestFaultsOfValidation: what a set takes from [dataset] is told once, there; what it was given itself is told of it.
func TestFaultsOfValidation(t *testing.T) {
	const text = `[model]
pretrained_model_name_or_path = "mock:llama3-8b"
[dataset]
kind = "text"
path_or_id = "org/data"
on_long = "drop"
[dataset.columns]
text = ""
[validation_dataset.mine]
path_or_id = "org/data"
[validation_dataset.other]
path_or_id = "org/data"
on_long = "drop"
[dataloader]
batch_size = 0
`
	_, err := Parse("recipe.toml", []byte(text), []string{"optimizer.nothing=1", "validation_dataset.mine.split=test[:9]"})
	want := []string{
		`recipe.toml:6: dataset.on_long: "drop" is unknown; want one of error, truncate, skip`,
		`recipe.toml:8: dataset.columns.text: empty; kind "text" reads it`,
		`recipe.toml:13: validation_dataset.other.on_long: "drop" is unknown; want one of error, truncate, skip`,
		`recipe.toml:15: dataloader.batch_size: 0 is out of range; want at least 1 and at most 1048576`,
		`--set optimizer.nothing=1: optimizer.nothing: unknown key; keys here are name, lr, betas, eps, weight_decay, loraplus_lr_ratio`,
		`--set validation_dataset.mine.split=test[:9]: validation_dataset.mine.split: "test[:9]" is no split's name, and slices and sums are not read; name one split, and take its first samples by limit_dataset_samples`,
	}
	if diff := cmp.Diff(strings.Join(want, "\n"), err.Error()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "mine.toml")
	if err := os.WriteFile(path, []byte(small), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := Load(path, []string{"peft.dim=5"})
	if err != nil || r.PEFT.Dim != 5 {
		t.Fatalf("Load = %+v, %v", r, err)
	}
	big := filepath.Join(dir, "big.toml")
	if err := os.WriteFile(big, bytes.Repeat([]byte("#"), maxRecipeBytes+1), 0o600); err != nil {
		t.Fatal(err)
	}
	away := []string{"dataset.path_or_id=/scratch/data.jsonl"}
	if _, err := Load(path, away); err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("Load of a recipe with data elsewhere: %v", err)
	}
	if _, err := LoadElsewhere(path, away); err != nil {
		t.Errorf("LoadElsewhere: %v", err)
	}
	if _, err := LoadElsewhere(path, append(away, "peft.dim=0")); err == nil || !strings.Contains(err.Error(), "peft.dim: 0 is out of range") || strings.Contains(err.Error(), "data") {
		t.Errorf("LoadElsewhere of a wrong recipe: %v", err)
	}
	wrong := filepath.Join(dir, "wrong.toml")
	if err := os.WriteFile(wrong, []byte(strings.Replace(small, "dim = 4", `scheme = "qlora"`, 1)+"[optimizer]\nlr = -1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	yaml := filepath.Join(dir, "mine.yaml")
	if err := os.WriteFile(yaml, []byte("model:\n  dtype: bf16\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		dir:                             "is a folder; name the .toml file",
		big:                             "is this the right file?",
		filepath.Join(dir, "no.toml"):   "shipped recipes are demo,",
		filepath.Join(dir, "demo.toml"): "a recipe of that name is shipped with gorun: write demo",
		"llama":                         `no recipe "llama" is shipped; there are demo,`,
		"llama3_2_1b_sqaud_peft":        "did you mean llama3_2_1b_squad_peft?",
		wrong:                           "wrong.toml:5: peft.scheme: \"qlora\" is unknown; did you mean \"lora\"? (lora, none)\n" + wrong + ":9: optimizer.lr: -1 is out of range",
		yaml:                            "recipes are TOML, not YAML: write [model] for model:",
	} {
		_, err := Load(path, nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Load(%s) = %v, want within it %q", path, err, want)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	full := mustParse(t, small, "optimizer.lr=1e22", "optimizer.eps=1e-300", "rng.seed=9007199254740993", "distributed.dp_size=8",
		"peft.exclude_modules=a,b", `peft.dim_pattern={"*.q_proj"=4, "a\"b"=5}`, `logging.wandb.name="tab\t \"q\" \\ \u0001 \u2603 \n"`,
		"validation_dataset.b.path_or_id=org/b", "validation_dataset.a.columns.question=q?", "optimizer.weight_decay=3")
	single := mustParse(t, small, "validation_dataset.path_or_id=org/b", "peft.match_all_linear=true")
	for name, r := range map[string]*Recipe{"default": Default(), "full": full, "single": single} {
		var b bytes.Buffer
		if err := r.Write(&b); err != nil {
			t.Fatal(err)
		}
		back, err := Parse(name, b.Bytes(), nil)
		if err != nil {
			t.Fatalf("%s: %v in\n%s", name, err, b.String())
		}
		if diff := cmp.Diff(r, back); diff != "" {
			t.Errorf("%s (-wrote +read):\n%s", name, diff)
		}
		var again bytes.Buffer
		if err := back.Write(&again); err != nil {
			t.Fatal(err)
		}
		if again.String() != b.String() {
			t.Errorf("%s: a second Write differs", name)
		}
	}
}

func TestWriteReportsFullDisk(t *testing.T) {
	f, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		skip.Because(t, "there is no /dev/full: "+err.Error())
	}
	defer f.Close()
	if err := Default().Write(f); err == nil {
		t.Error("Write to a full disk gave no error")
	}
}
