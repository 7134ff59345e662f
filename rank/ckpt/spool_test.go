package ckpt

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"gorun/model/safetensors"
)

// TestSpool: a state whose tensors lie in a spool is saved to the same bytes, and the spool leaves nothing.
func TestSpool(t *testing.T) {
	s := fullState(7)
	path, err := Save(t.Context(), t.TempDir(), s, SaveOptions{})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	d, err := Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	spool, err := d.Spool()
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range [][]safetensors.Tensor{s.Params, s.Moment1, s.Moment2} {
		for i := range list {
			data := bytes.Clone(list[i].Data)
			if list[i].Data, err = spool.Put(data); err != nil {
				t.Fatal(err)
			}
			clear(data) // the spool has its own
		}
	}
	if view, err := spool.Put(nil); err != nil || view != nil {
		t.Errorf("an empty tensor: %v, %v", view, err)
	}
	again, err := d.Save(t.Context(), s, SaveOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{modelFile, optimizerFile} {
		got, err1 := os.ReadFile(filepath.Join(again, name))
		want, err2 := os.ReadFile(filepath.Join(path, name))
		if err1 != nil || err2 != nil || !bytes.Equal(got, want) {
			t.Errorf("%s differs (%v, %v)", name, err1, err2)
		}
	}
	if err := spool.Close(); err != nil {
		t.Error(err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	assertNames(t, dir, "LATEST", "epoch_0_step_7")
	if _, err := spool.Put([]byte{1}); err == nil {
		t.Error("a closed spool takes data")
	}
}

// TestMap: what is mapped is what is loaded.
func TestMap(t *testing.T) {
	for name, want := range map[string]*State{"lora": loraState(3), "full": fullState(4)} {
		path, err := Save(t.Context(), t.TempDir(), want, SaveOptions{})
		if err != nil {
			t.Fatal(err)
		}
		s, err := Map(path)
		if err != nil {
			t.Fatal(err)
		}
		if len(s.files) == 0 {
			t.Errorf("%s: nothing is mapped", name)
		}
		assertState(t, s, want)
		for range 2 {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	if _, err := Map(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a checkpoint that is not there is mapped")
	}
}
