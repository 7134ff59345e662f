package configs

import (
	"fmt"
	"strconv"
)

// DPSize is a number of data-parallel ranks; DPNone means that it follows from the world size.
type DPSize int

// DPNone leaves the number of data-parallel ranks to the world size. TOML: "none".
const DPNone DPSize = 0

// String gives the value as a recipe spells it, without quotes.
func (s DPSize) String() string {
	if s == DPNone {
		return "none"
	}
	return strconv.Itoa(int(s))
}

// setTOML takes "none" or a positive integer.
func (s *DPSize) setTOML(value any) error {
	switch v := value.(type) {
	case string:
		if v == "none" {
			*s = DPNone
			return nil
		}
	case int64:
		if v >= 1 && v <= 1<<16 {
			*s = DPSize(v)
			return nil
		}
	}
	return fmt.Errorf(`%s given; want "none" or a number of ranks, at least 1`, describe(value))
}

// typeWord says what the key takes.
func (s DPSize) typeWord() string { return `"none" or an integer` }

// tomlText gives the value as TOML.
func (s DPSize) tomlText() string {
	if s == DPNone {
		return `"none"`
	}
	return strconv.Itoa(int(s))
}
