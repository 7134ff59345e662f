// Package infer continues texts: it feeds prompts and tokens to a model.Decoding, picks the next token (greedily or by
// temperature, top-k and top-p) and stops at end-of-sequence ids, a length, or a stop text. It works on token ids;
// callers tokenise. gorun generate, gorun eval and the samples shown by a run use it.
package infer
