package model

// root is the layout of the root group.
type root struct {
	group             Group
	embed, norm, head int    // head == embed when tied
	head8             linear // the head again, as the loss takes it, in 8-bit floats; none if out is 0
	vocab             vocabulary
}

// vocabulary is which rows of the embedding and of the head are here: count of them from number first, of which those
// from number end on, if any, only fill the parts to equal sizes.
type vocabulary struct {
	Axis
	first, count, end int
}

func newVocabulary(cfg Config) vocabulary {
	v, n := vocabulary{Axis: cfg.Split.Tensor, end: cfg.Decoder.Vocab}, max(1, cfg.Split.Tensor.Parts)
	v.count = (v.end + n - 1) / n
	v.first = v.Index * v.count
	return v
}

// part is the rows that are here of a tensor [V,D].
func (v vocabulary) part(tensor string, hidden int) Part {
	p := whole(tensor, v.end, hidden)
	p.From, p.Rows = min(v.first, v.end), max(0, min(v.count, v.end-v.first))
	return p
}

func newRoot(cfg Config) root {
	d := cfg.Decoder
	l := &layout{cfg: cfg, group: Group{Name: "root"}}
	r := root{vocab: newVocabulary(cfg)}
	table := func(tensor string, trained bool) int {
		return l.base(Param{Split: r.vocab.split(), Trainable: trained}, []int{r.vocab.count, d.Hidden}, r.vocab.part(tensor, d.Hidden))
	}
	r.embed = table("model.embed_tokens.weight", cfg.Embed)
	r.norm = l.norm("model.norm.weight", d.Hidden, false)
	r.head = r.embed
	if !d.TiedHead {
		r.head = table("lm_head.weight", cfg.Head)
	}
	if cfg.Float8 && cfg.Head8 {
		weight := l.group.Params[r.head].Parts[0]
		r.head8 = linear{name: "head", in: d.Hidden, out: r.vocab.count}
		l.float8(&r.head8, weight.Tensor+", in 8-bit floats", weight)
	}
	r.group = l.group
	return r
}

// trains tells whether a parameter of the root group, by its index, is trained.
func (r root) trains(i int) bool { return r.group.Params[i].Trainable }
