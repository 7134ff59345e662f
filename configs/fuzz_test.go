package configs

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"
)

// FuzzParse: no recipe and no --set panics Parse, Validate, ResolveAccumulation or Write; what is
// accepted and valid reads back equal from what Write wrote.
func FuzzParse(f *testing.F) {
	for _, name := range Names() {
		text, err := Lookup(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text, "optimizer.lr=1e-4")
	}
	f.Add([]byte(small), "peft.target_modules=[a, b]")
	f.Add([]byte(small), `validation_dataset.x.columns.text="\u0007"`)
	f.Add([]byte("a.b.c = [[1], {x = 2}]\n[[dataset]]\n"), "validation_dataset.x=1")
	f.Add([]byte("[validation_dataset]\ncolumns = {}\nx = {}\n"), "distributed.dp_size=none")
	f.Fuzz(func(t *testing.T, data []byte, set string) {
		r, err := Parse("recipe.toml", data, []string{set})
		if (r == nil) == (err == nil) {
			t.Fatalf("recipe %v with error %v", r, err)
		}
		if err != nil {
			return
		}
		if r.Validate() != nil {
			return
		}
		if acc, err := r.ResolveAccumulation(1); err == nil && acc < 1 {
			t.Fatalf("%d accumulation steps", acc)
		}
		var b bytes.Buffer
		if err := r.Write(&b); err != nil {
			t.Fatal(err)
		}
		back, err := Parse("written", b.Bytes(), nil)
		if err != nil {
			t.Fatalf("%v in what was written:\n%s", err, b.String())
		}
		if !reflect.DeepEqual(r, back) {
			t.Fatalf("wrote %+v\nread %+v", r, back)
		}
	})
}

// TestHostileRecipes: the largest files of the worst shapes neither overflow the stack nor take long.
func TestHostileRecipes(t *testing.T) {
	for name, text := range map[string]string{
		"nested lists":    "x = " + strings.Repeat("[", maxRecipeBytes-4),
		"nested tables":   "x = " + strings.Repeat("{a=", maxRecipeBraces),
		"nested too deep": "x = " + strings.Repeat("{a=", maxRecipeBraces+1),
		"dotted key":      strings.Repeat("a.", maxRecipeDots) + "a=1",
		"dotted table":    "[" + strings.Repeat("a.", maxRecipeDots) + "a]",
		"too many dots":   strings.Repeat("a.", maxRecipeDots+1) + "a=1",
		"many keys":       manyKeys(),
	} {
		start := time.Now()
		if _, err := Parse("recipe.toml", []byte(text), nil); err == nil {
			t.Errorf("%s: no error", name)
		}
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("%s: took %v", name, took)
		} else {
			t.Logf("%s: %v", name, took)
		}
	}
}

// manyKeys fills a recipe with unknown keys.
func manyKeys() string {
	var b strings.Builder
	for i := range maxRecipeBytes / 16 {
		b.WriteString("[optimizer.k")
		for range 4 {
			b.WriteByte(byte('a' + i%26))
			i /= 26
		}
		b.WriteString("]\n")
	}
	return b.String()[:maxRecipeBytes-100]
}
