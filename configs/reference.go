package configs

import (
	"bytes"
	"fmt"
	"io"
	"reflect"
	"strings"
)

// referenceHead opens the page.
const referenceHead = `# The recipe, key by key

A recipe is a TOML file. Every key has a default except the model and the data; unknown keys and wrong
types are errors, and all faults are reported at once. ` + "`--set section.key=value`" + ` changes a key on the
command line; quotes around strings may be left out. ` + "`gorun plan RECIPE.toml`" + ` checks a recipe and says what
it would do. The effective recipe is saved with the run; [records.md](records.md) says what else is.

This page is generated from the program's own table: ` + "`go test ./configs -run Reference -rewrite`" + `.

Shipped recipes, to be named instead of a file: %s.
`

// Reference writes the Markdown page of every key with its type, default and meaning: docs/recipe.md.
func Reference(w io.Writer) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, referenceHead, "`"+strings.Join(Names(), "`, `")+"`")
	defaults := reflect.ValueOf(Default()).Elem()
	for _, section := range keysOf(recipeType) {
		if section.typ == datasetMapType {
			referenceValidation(&b, section)
			continue
		}
		referenceSection(&b, section.name, section.doc, defaults.Field(section.index))
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("write the recipe reference: %w", err)
	}
	return nil
}

// referenceSection writes one section and those within it.
func referenceSection(b *bytes.Buffer, path, doc string, v reflect.Value) {
	fmt.Fprintf(b, "\n## [%s]\n\n%s\n\n| key | type | default | meaning |\n|---|---|---|---|\n", path, doc)
	var inner []key
	for _, k := range keysOf(v.Type()) {
		if k.isTable() {
			inner = append(inner, k)
			continue
		}
		def := "`" + tomlValue(v.Field(k.index)) + "`"
		if k.instead != "" {
			def = k.instead
		}
		if path == "validation_dataloader" && k.name == "batch_size" {
			def = "as [dataloader]"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", k.name, referenceType(k), cell(def), cell(k.doc))
	}
	for _, k := range inner {
		referenceSection(b, path+"."+k.name, k.doc, v.Field(k.index))
	}
}

// referenceValidation says what differs from [dataset].
func referenceValidation(b *bytes.Buffer, section key) {
	fmt.Fprintf(b, "\n## [%s]\n\n%s Either one set with its keys here, or several as `[%s.NAME]`. The keys are those of\n[dataset]. Not given, `seq_length`, `on_long`, `on_bad` and `num_workers` are as in [dataset]; so are, for a set of the\nsame kind, `kind`, `compat`, `chat_template`, `columns`, `vocab_size`, `num_samples` and `min_length`. `path_or_id` has no default,\n`split` is \"validation\", `limit_dataset_samples` is 0.\n",
		section.name, section.doc, section.name)
}

// referenceType says what a key takes: its enumeration or type, and range.
func referenceType(k key) string {
	if k.values != nil {
		quoted := make([]string, len(k.values))
		for i, v := range k.values {
			quoted[i] = "`\"" + v + "\"`"
		}
		return strings.Join(quoted, ", ")
	}
	word := strings.TrimPrefix(strings.TrimPrefix(typeWord(k.typ), "an "), "a ")
	if k.bounds != nil && !reflect.PointerTo(k.typ).Implements(setterType) {
		word += " " + k.bounds.text
	}
	return cell(word)
}

// cell keeps a text within its table cell.
func cell(s string) string { return strings.ReplaceAll(s, "|", "\\|") }
