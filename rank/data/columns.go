package data

import (
	"fmt"
	"strconv"
	"strings"

	"gorun/configs"
)

// columnsReader makes samples of records with a question, an answer and maybe a context, under the names that the recipe
// gives. Without a chat template the prompt is context and question with a space after each, as in AutoModel; with one
// the context is the system's message.
func columnsReader(w writer, c configs.Columns) reader {
	return func(origin string, r record) (encode, error) {
		var absent []string
		var errs []error
		field := func(name string) string {
			text, ok, err := r.text(name)
			if err != nil {
				errs = append(errs, err)
			} else if !ok {
				absent = append(absent, fmt.Sprintf("%q", name))
			}
			return text
		}
		p := pair{prompt: field(c.Question) + " ", answer: strings.TrimSpace(field(c.Answer))}
		if c.Context != "" {
			context, _, err := r.text(c.Context) // it may be absent where others have one
			if p.system = context; err != nil {
				errs = append(errs, err)
			}
		}
		if absent != nil {
			errs = append(errs, missing(r, absent, "name the fields that the data has in dataset.columns"))
		}
		return func() ([]Sample, error) { return w.write(p, origin) }, inOneLine(errs)
	}
}

// hellaswagReader makes samples of HellaSwag's records: the context, and the ending that is right.
func hellaswagReader(w writer) reader {
	return func(origin string, r record) (encode, error) {
		context, ok, err := r.text("ctx")
		if err != nil {
			return nil, err
		}
		endings, ok2, err := r.texts("endings")
		if err != nil {
			return nil, err
		}
		label, ok3, err := r.text("label")
		if err != nil {
			return nil, err
		}
		if !ok || !ok2 || !ok3 {
			return nil, missing(r, []string{"ctx, endings or label"}, "a HellaSwag example has all three")
		}
		right, err := strconv.Atoi(label)
		if err != nil || right < 0 || right >= len(endings) {
			return nil, fmt.Errorf("label %q is none of the %d endings (the test split has no labels)", label, len(endings))
		}
		p := pair{prompt: context + " ", answer: strings.TrimSpace(endings[right])}
		return func() ([]Sample, error) { return w.write(p, origin) }, nil
	}
}
