package export

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"github.com/gomlx/compute/dtypes"

	"gorun/model/safetensors"
)

// WritePEFT writes the adapter as a folder that PeftModel.from_pretrained loads: adapter_config.json
// with explicit module names and adapter_model.safetensors in float32. Other files in dir stay.
//
// Both files are written in full beside their places before anything is replaced, so a full disk or a
// read-only folder leaves an older adapter in dir as it was. An interruption while the files change
// places leaves the folder without a configuration (which no loader takes for an adapter), never one
// adapter's configuration with another's weights.
func WritePEFT(dir string, a Adapter) error {
	if err := a.Validate(); err != nil {
		return fmt.Errorf("write adapter %s: %w", dir, err)
	}
	if err := writePEFT(dir, &a); err != nil {
		return fmt.Errorf("write adapter %s: %w", dir, err)
	}
	return nil
}

func writePEFT(dir string, a *Adapter) (err error) {
	config, err := configJSON(a)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the folder: %w", err)
	}
	weightsTmp := filepath.Join(dir, ".tmp-"+WeightsFile)
	configTmp := filepath.Join(dir, ".tmp-"+ConfigFile)
	defer func() {
		if err != nil {
			err = errors.Join(err, removeIfThere(weightsTmp), removeIfThere(configTmp))
		}
	}()
	if err := safetensors.Write(weightsTmp, tensors(a), map[string]string{"format": "pt"}); err != nil {
		return fmt.Errorf("%s: %w", WeightsFile, err)
	}
	if err := writeFile(configTmp, config); err != nil {
		return fmt.Errorf("%s: %w", ConfigFile, err)
	}
	configPath := filepath.Join(dir, ConfigFile)
	if err := removeIfThere(configPath); err != nil {
		return fmt.Errorf("replace the older adapter: %w", err)
	}
	if err := os.Rename(weightsTmp, filepath.Join(dir, WeightsFile)); err != nil {
		return err
	}
	if err := os.Rename(configTmp, configPath); err != nil {
		return err
	}
	return syncDir(dir)
}

// tensors returns the adapter's tensors under PEFT's keys: A is [Dim, In], B is [Out, Dim], float32.
func tensors(a *Adapter) []safetensors.Tensor {
	out := make([]safetensors.Tensor, 0, 2*len(a.Modules))
	for i := range a.Modules {
		m := &a.Modules[i]
		dim := a.DimOf(m)
		out = append(out,
			safetensors.Tensor{Name: keyPrefix + AName(m.Name), DType: dtypes.Float32, Shape: []int{dim, m.In}, Data: floatBytes(m.A)},
			safetensors.Tensor{Name: keyPrefix + BName(m.Name), DType: dtypes.Float32, Shape: []int{m.Out, dim}, Data: floatBytes(m.B)})
		if m.Magnitude != nil {
			out = append(out, safetensors.Tensor{Name: keyPrefix + MagnitudeName(m.Name), DType: dtypes.Float32, Shape: []int{m.Out}, Data: floatBytes(m.Magnitude)})
		}
	}
	for _, t := range a.Tables {
		for _, name := range a.tableNames(t) {
			out = append(out, safetensors.Tensor{Name: keyPrefix + name, DType: dtypes.Float32, Shape: []int{t.Rows, t.Cols}, Data: floatBytes(t.Values)})
		}
	}
	return out
}

// floatBytes returns float32 values as little-endian bytes.
func floatBytes(values []float32) []byte {
	out := make([]byte, 4*len(values))
	for i, v := range values {
		binary.LittleEndian.PutUint32(out[4*i:], math.Float32bits(v))
	}
	return out
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// writeFile writes and syncs a new file.
func writeFile(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
